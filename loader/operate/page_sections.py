"""The sections of the report: headline numbers, charts, and below each chart a table with its numbers. Pure.

What comes from files or the database goes through `name`, which makes it printable, and then into `page_html`.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from loader.operate import page_charts
from loader.operate import page_html as html
from loader.operate.page_data import FILES_SHOWN, LATENESS_BOUNDS, REFUSED_SHOWN, SIZE_BOUNDS, PageData
from loader.operate.page_waiting import Example, Quarantine
from loader.operate.page_words import lateness, lateness_bins, name, number, share, size_bins
from loader.operate.words import count, duration, moment, size

Charts = dict[str, Any]

_WAITING_SHOWN = 50
_MESSAGE = 300
_RAW = 600


def nothing(quarantine: Quarantine) -> list[str]:
    """The page of a database that nothing was loaded into."""
    words = (
        "<h2>Nothing has been loaded yet</h2>"
        "<p>Drop files into the landing folder and run <code>loader run</code>; then make this page again. "
        "<code>loader simulate</code> writes some events to try it with.</p>"
    )
    return [f"<section>{words}</section>", *_waiting(quarantine, {})]


def everything(data: PageData, quarantine: Quarantine) -> tuple[list[str], Charts]:
    """The sections, and the charts by the id of their place."""
    charts: Charts = {}
    sections = [_tiles(data, quarantine)]
    if not any(day.files for day in data.days):
        sections.append(
            "<section><h2>Nothing was loaded in these days</h2><p>Widen them with <code>--days</code>.</p></section>"
        )
    else:
        sections += _rows(data, charts)
        sections.append(_rejects(data, quarantine, charts))
        sections += [_throughput(data, charts), _sizes(data, charts), *_events(data, charts)]
    sections.append(_refused(data))
    sections += _waiting(quarantine, data.waiting)
    return [section for section in sections if section], charts


def _tiles(data: PageData, quarantine: Quarantine) -> str:
    overview, days = data.overview, data.days
    files, refused = sum(day.files for day in days), sum(day.refused for day in days)
    read, busy = sum(day.read for day in days), sum(day.busy_seconds for day in days)
    waiting = sum(data.waiting.get(file.file_id, 0) for file in quarantine.files)
    last = overview.last_loaded
    ago = f"{duration(int((overview.made_at - last).total_seconds()))} before this page was made" if last else ""
    tiles = [
        html.tile("last-success", "last success", f"{last:%Y-%m-%d %H:%M}" if last else "never", ago),
        html.tile("files", "files loaded", number(files), f"{number(overview.files_ever)} ever"),
        html.tile("read", "rows read", number(read), size(sum(day.size_bytes for day in days))),
    ]
    for outcome in ("inserted", "duplicates", "conflicts", "rejected"):
        rows = sum(getattr(day, outcome) for day in days)
        tiles.append(html.tile(outcome, outcome, number(rows), share(rows, read)))
    tiles += [
        html.tile("rate", "rows a second", number(page_charts.rate(read, busy)), f"in {busy:,.1f} s of loading"),
        html.tile("refused", "files refused", number(refused), "nothing of them loaded", bad=refused > 0),
        html.tile("waiting", "rows in quarantine", number(waiting), f"in {count(len(quarantine.files), 'file')}"),
    ]
    return f'<section class="tiles">{"".join(tiles)}</section>'


def _rows(data: PageData, charts: Charts) -> list[str]:
    charts["chart-rows"] = page_charts.rows_a_day(data.days)
    charts["chart-set-aside"] = page_charts.rows_a_day(data.days, ("duplicates", "conflicts", "rejected"))
    heads = ("day", "files", "read", "inserted", "duplicates", "conflicts", "rejected", "refused files")
    table = html.table(
        "rows",
        heads,
        [
            (f"{day.day}", day.files, day.read, day.inserted, day.duplicates, day.conflicts, day.rejected, day.refused)
            for day in reversed(data.days)
        ],
    )
    return [
        html.section(
            "Rows a day", "By the day on which their file was loaded.", html.chart("chart-rows") + html.details(table)
        ),
        html.section(
            "Rows a day that were not inserted",
            "The same without the inserted ones, which hide them. The numbers are in the table above.",
            html.chart("chart-set-aside"),
        ),
    ]


def _rejects(data: PageData, quarantine: Quarantine, charts: Charts) -> str:
    if not data.codes:
        return html.section("Rejects by code", "No row went to quarantine.", "")
    charts["chart-codes"] = page_charts.rejects_by_code(data.codes, data.days)
    rows: defaultdict[str, int] = defaultdict(int)
    for row in data.codes:
        rows[row.code] += row.rows
    codes = sorted(rows, key=lambda code: (-rows[code], code))
    by_day = html.table(
        "codes-by-day",
        ("day", "code", "rows", "files"),
        [(f"{row.day}", name(row.code), row.rows, row.files) for row in reversed(data.codes)],
    )
    examples = "".join(
        html.details("".join(map(_example, quarantine.examples[code])), f"{name(code)}: {count(rows[code], 'row')}")
        for code in codes
        if code in quarantine.examples
    )
    return html.section(
        "Rejects by code",
        "Rows that went to quarantine. A row with several codes counts under each of them.",
        html.chart("chart-codes")
        + html.details(html.table("codes", ("code", "rows"), [(name(code), rows[code]) for code in codes]) + by_day)
        + (f"<h3>Examples, from the files in quarantine</h3>{examples}" if examples else ""),
    )


def _example(example: Example) -> str:
    column = f", {name(example.column)}" if example.column else ""
    where = f"{name(example.source)}, line {example.line:,}{column}"
    return html.quote(f"{where}: {name(example.message, _MESSAGE)}", name(example.raw, _RAW))


def _throughput(data: PageData, charts: Charts) -> str:
    charts["chart-throughput"] = page_charts.throughput(data.files, data.days)
    by_day = [
        (f"{day.day}", day.read, f"{day.busy_seconds:.2f}", round(page_charts.rate(day.read, day.busy_seconds)))
        for day in reversed(data.days)
        if day.files
    ]
    by_file = [
        (
            name(file.name),
            moment(file.finished_at),
            size(file.size_bytes),
            file.read,
            f"{file.seconds:.2f}",
            round(page_charts.rate(file.read, file.seconds)),
        )
        for file in data.files
    ]
    newest = f" Dots are the newest {FILES_SHOWN} files." if len(data.files) == FILES_SHOWN else ""
    return html.section(
        "Throughput",
        "A dot is a file, the larger the more rows; the line is each day's rows over the time in which anything was "
        f"being loaded. Small files share a load, and each of them shows the time of all.{newest}",
        html.chart("chart-throughput")
        + html.details(
            html.table("throughput", ("day", "rows", "seconds", "rows/s"), by_day)
            + html.table("files", ("file", "loaded", "size", "rows", "seconds", "rows/s"), by_file)
        ),
    )


def _sizes(data: PageData, charts: Charts) -> str:
    charts["chart-sizes"] = page_charts.file_sizes(data.sizes)
    labels = size_bins(SIZE_BOUNDS)
    table = html.table(
        "sizes",
        ("size", "files", "together"),
        [(labels[row.bin], row.files, size(row.size_bytes)) for row in data.sizes],
    )
    return html.section(
        "File sizes",
        "Loaded files, as they lay in the landing folder.",
        html.chart("chart-sizes") + html.details(table),
        half=True,
    )


def _events(data: PageData, charts: Charts) -> list[str]:
    everything_else, total = data.lateness[:-1], data.lateness[-1]
    if not total.rows:
        return []
    charts["chart-lateness"] = page_charts.lateness(everything_else)
    charts["chart-names"] = page_charts.event_names(data.names)
    sample = (
        ""
        if data.percent == 100  # noqa: PLR2004
        else f" Estimated from a sample: {data.percent:.2g}% of the table, {number(total.rows)} of these events."
    )
    median, most, nearly_all = (value or 0.0 for value in total.quantiles or [0.0, 0.0, 0.0])
    labels = lateness_bins(LATENESS_BOUNDS)
    late = html.table(
        "lateness",
        ("late by", "events", "share"),
        [(labels[row.bin], row.rows, share(row.rows, total.rows)) for row in everything_else if row.bin is not None],
    )
    all_rows = data.names[0].all_rows
    names = html.table(
        "names",
        ("event name", "events", "share"),
        [(name(row.name), row.rows, share(row.rows, all_rows)) for row in data.names],
    )
    quantiles = f"median {lateness(median)}, 95% up to {lateness(most)}, 99% up to {lateness(nearly_all)}"
    return [
        html.section(
            "Lateness of events",
            f"From the event's time to the end of its file's load: {quantiles}.{sample}",
            html.chart("chart-lateness") + html.details(late),
            half=True,
        ),
        html.section(
            "Event names",
            f"The {len(data.names)} most frequent of {number(data.names[0].names)}, among these days' loads.{sample}",
            html.chart("chart-names") + html.details(names),
        ),
    ]


def _refused(data: PageData) -> str:
    if not data.refused:
        return ""
    rows = [
        (moment(file.finished_at), name(file.name), name(file.error_code or ""), name(file.first_error or "", _MESSAGE))
        for file in data.refused
    ]
    newest = f" The newest {REFUSED_SHOWN}." if len(rows) == REFUSED_SHOWN else ""
    heads = ("refused", "file", "code", "why")
    return html.section(
        "Refused files", f"Nothing of them was loaded.{newest}", html.table("refused", heads, rows, long=3)
    )


def _waiting(quarantine: Quarantine, rows: dict[int, int]) -> list[str]:
    if not quarantine.files and not quarantine.refusals:
        return []
    files = [
        (name(file.name), rows.get(file.file_id, "not in this ledger"), size(file.size), moment(file.changed))
        for file in quarantine.files[:_WAITING_SHOWN]
    ]
    refusals = [
        (name(refusal.source), name(refusal.code), name(refusal.message, _MESSAGE))
        for refusal in quarantine.refusals[:_WAITING_SHOWN]
    ]
    held, refused = len(quarantine.files), len(quarantine.refusals)
    said = f"{count(held, 'file')} of rejected rows and {count(refused, 'refused file')}"
    more = f" The tables show {_WAITING_SHOWN} of each." if max(held, refused) > _WAITING_SHOWN else ""
    tables = html.table("waiting", ("file of rejects", "rows", "size", "since"), files) if files else ""
    if refusals:
        tables += html.table("waiting-refused", ("refused file", "code", "why"), refusals, long=2)
    return [html.section("Waiting in quarantine", f"{said}.{more}", tables)]
