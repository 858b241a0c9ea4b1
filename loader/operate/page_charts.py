"""The report's charts, as specifications for Vega-Lite. Pure.

A colour that begins with "--" is a variable of page.css: page.js puts in what it is in the light or in the dark.
Data goes in as values only; no text from files or the database becomes part of an expression.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import date
from typing import Any

from loader.operate.page_data import LATENESS_BOUNDS, SIZE_BOUNDS, CodeDay, Day, EventName, File, LatenessBin, SizeBin
from loader.operate.page_words import lateness_bins, name, size_bins
from loader.operate.words import moment

Spec = dict[str, Any]

CODES_SHOWN = 8
_OTHER = "other"
_LABEL_CHARACTERS = 40
_OUTCOMES = {
    "inserted": "--inserted",
    "duplicates": "--duplicates",
    "conflicts": "--conflicts",
    "rejected": "--rejected",
}
# 1,200,000 as 1.2M; "format" would give all labels of an axis one prefix, as in 0.1k.
_SHORT = {"labelExpr": "format(datum.value, '~s')"}
_DAYS = {
    "labelExpr": "utcFormat(toDate(datum.value), '%b %-d')",
    "labelAngle": 0,
    "labelOverlap": "greedy",
    "labelSeparation": 8,
    "labelPadding": 6,
    "ticks": False,
}
# Rates go up and down by factors.
_RATES = [factor * 10**power for power in range(8) for factor in (1, 3)]
_PALETTE = [f"--code-{number}" for number in range(1, CODES_SHOWN + 1)]


def rows_a_day(days: Sequence[Day], outcomes: Sequence[str] = tuple(_OUTCOMES)) -> Spec:
    """Rows by day and outcome, stacked."""
    values = [
        {"day": f"{row.day}", "outcome": outcome, "rows": getattr(row, outcome), "order": order}
        for row in days
        for order, outcome in enumerate(outcomes)
    ]
    colours = {"domain": list(outcomes), "range": [_OUTCOMES[outcome] for outcome in outcomes]}
    return _stacked(values, "outcome", colours)


def rejects_by_code(codes: Sequence[CodeDay], days: Sequence[Day]) -> Spec:
    """Rows in quarantine by day and code; the rarer codes together."""
    totals: Counter[str] = Counter()
    for row in codes:
        totals[row.code] += row.rows
    shown = [code for code, _ in totals.most_common(CODES_SHOWN)]
    rows: defaultdict[tuple[date, str], int] = defaultdict(int)
    for row in codes:
        rows[row.day, row.code if row.code in shown else _OTHER] += row.rows
    values: list[Spec] = [
        {
            "day": f"{day}",
            "code": name(code),
            "rows": count,
            "order": shown.index(code) if code in shown else len(shown),
        }
        for (day, code), count in rows.items()
    ]
    # Days without a reject keep their place on the axis.
    values += [
        {"day": f"{row.day}", "code": name(shown[0]) if shown else _OTHER, "rows": 0, "order": 0} for row in days
    ]
    domain = [*map(name, shown), *([_OTHER] if len(totals) > len(shown) else [])]
    return _stacked(values, "code", {"domain": domain, "range": [*_PALETTE[: len(shown)], "--code-other"]})


def throughput(files: Sequence[File], days: Sequence[Day]) -> Spec:
    """Rows a second: a dot for each file, a line for the days."""
    dots = [
        {
            "time": file.finished_at.isoformat(),
            "loaded": moment(file.finished_at),
            "file": name(file.name),
            "rows": file.read,
            "rate": rate(file.read, file.seconds),
        }
        for file in files
        if rate(file.read, file.seconds)
    ]
    line = [
        # A day's point stands at its noon.
        {
            "time": f"{row.day}T12:00:00Z",
            "loaded": f"{row.day}",
            "rows": row.read,
            "rate": rate(row.read, row.busy_seconds),
        }
        for row in days
        if rate(row.read, row.busy_seconds)
    ]
    tooltip = [
        {"field": "file"},
        {"field": "loaded", "type": "nominal"},
        {"field": "rows", "format": ","},
        {"field": "rate", "title": "rows/s", "format": ",.0f"},
    ]
    domain = [f"{days[0].day}T00:00:00Z", f"{days[-1].day}T23:59:59Z"]
    x = {
        "field": "time",
        "type": "temporal",
        "title": None,
        "scale": {"type": "utc", "domain": domain},
        "axis": {"format": "%b %-d", "grid": False, "tickCount": {"interval": "day", "step": max(1, len(days) // 10)}},
    }
    y = {
        "field": "rate",
        "type": "quantitative",
        "title": "rows a second",
        "scale": {"type": "log"},
        "axis": _SHORT | {"values": _RATES},
    }
    size = {"field": "rows", "type": "quantitative", "legend": None, "scale": {"type": "sqrt", "range": [12, 220]}}
    return _chart(
        layer=[
            {
                "data": {"values": dots},
                "mark": {"type": "circle", "color": "--inserted", "opacity": 0.55},
                "encoding": {"x": x, "y": y, "size": size, "tooltip": tooltip},
            },
            {
                "data": {"values": line},
                "mark": {"type": "line", "color": "--conflicts", "strokeWidth": 2, "point": {"color": "--conflicts"}},
                "encoding": {"x": x, "y": y, "tooltip": tooltip[1:]},
            },
        ]
    )


def file_sizes(sizes: Sequence[SizeBin]) -> Spec:
    """Files by size."""
    count = {row.bin: row.files for row in sizes}
    return _bins(size_bins(SIZE_BOUNDS), count, "files")


def lateness(rows: Sequence[LatenessBin]) -> Spec:
    """Events by how late they came."""
    count = {row.bin: row.rows for row in rows if row.bin is not None}
    return _bins(lateness_bins(LATENESS_BOUNDS), count, "events")


def event_names(names: Sequence[EventName]) -> Spec:
    """The most frequent event names."""
    bars: dict[str, int] = {}
    for row in names:
        label = name(row.name, _LABEL_CHARACTERS)
        while label in bars:  # made printable and shortened, two names may look alike
            label += "'"
        bars[label] = row.rows
    return _bars([*bars.items()], "name", "events")


def rate(rows: int, seconds: float) -> float:
    """Return rows a second; 0 where there are none."""
    return rows / max(seconds, 0.001) if rows else 0.0


def _stacked(values: list[Spec], field: str, colours: Spec) -> Spec:
    return _chart(
        data={"values": values},
        mark={"type": "bar"},
        encoding={
            "x": {"field": "day", "type": "ordinal", "title": None, "axis": _DAYS},
            "y": {
                "field": "rows",
                "type": "quantitative",
                "aggregate": "sum",
                "title": None,
                "axis": _SHORT | {"tickMinStep": 1},
            },
            "color": {"field": field, "type": "nominal", "scale": colours, "title": None},
            "order": {"field": "order", "type": "quantitative"},
            "tooltip": [
                {"field": "day", "type": "nominal"},
                {"field": field, "type": "nominal"},
                {"field": "rows", "type": "quantitative", "aggregate": "sum", "format": ","},
            ],
        },
    )


def _bins(labels: Sequence[str], count: dict[int, int], noun: str) -> Spec:
    return _bars([(label, count.get(place, 0)) for place, label in enumerate(labels)], "bin", noun)


def _bars(bars: Sequence[tuple[str, int]], field: str, noun: str) -> Spec:
    """One bar a line, in the order given; labels must differ."""
    return _chart(
        data={"values": [{field: label, noun: count} for label, count in bars]},
        height=24 * max(1, len(bars)),
        mark={"type": "bar", "color": "--inserted", "cornerRadiusEnd": 2},
        encoding={
            "y": {"field": field, "type": "nominal", "title": None, "sort": None},
            "x": {"field": noun, "type": "quantitative", "title": None, "axis": _SHORT | {"tickMinStep": 1}},
            "tooltip": [{"field": field, "type": "nominal"}, {"field": noun, "type": "quantitative", "format": ","}],
        },
    )


def _chart(**parts: Any) -> Spec:
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": "container",
        "height": 240,
        "autosize": {"type": "fit-x", "contains": "padding"},
        **parts,
    }
