"""`loader history`: filters on the ledger, and its entries as a table, as JSON or as CSV."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from io import StringIO
from itertools import chain, islice

from loader.errors import UsageError
from loader.names import printable
from loader.operate.entries import LedgerEntry

# Widths of the columns are those of so many entries; later ones may stand out.
_MEASURED = 1000
_HEADER = ("finished (UTC)", "status", "read", "inserted", "dupl.", "confl.", "rej.", "file")
_AGO = re.compile(r"(\d{1,9})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_SPECIAL = re.compile(r"[!-/:-@\[-`{-~]")  # a backslash before anything else could mean something to Postgres
_SET = re.compile(r"\[(!?)(\]?[^\]]*)\]")


def moment(text: str, *, now: datetime, is_end: bool = False) -> datetime:
    """Return the time that `text` means: `7d` before `now`, or a date or time of ISO 8601, in UTC if it has no offset.

    A date is the start of its day; as an end, the start of the next, so that the day itself is included.

    Raises:
        UsageError: it means none.
    """
    try:
        if ago := _AGO.fullmatch(text):
            return now - timedelta(seconds=int(ago[1]) * _SECONDS[ago[2]])
        found = datetime.fromisoformat(text)
        if is_end and _DAY.fullmatch(text):
            found += timedelta(days=1)
        return found if found.tzinfo else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise UsageError(
            f"{text!r} is no time: give one as 30m, 12h, 7d or 2w (ago), 2024-05-01 or 2024-05-01T12:00:00Z"
        ) from error


def expression(pattern: str) -> str:
    """Return a shell pattern (`*`, `?`, `[a-z]`, `[!a-z]`) as a regular expression of Postgres.

    Raises:
        UsageError: it is none.
    """
    parts = []
    place = 0
    while place < len(pattern):
        character = pattern[place]
        if character == "[" and (group := _SET.match(pattern, place)):
            inside = re.sub(r"([\\\[\]])", r"\\\1", group[2])
            inside = f"\\{inside}" if inside.startswith("^") else inside
            parts.append(f"[{'^' if group[1] else ''}{inside}]")
            place = group.end()
            continue
        parts.append({"*": ".*", "?": "."}.get(character) or _SPECIAL.sub(r"\\\g<0>", character))
        place += 1
    found = f"^(?:{''.join(parts)})$"
    try:
        re.compile(found)
    except re.error as error:
        raise UsageError(f"{pattern!r} is no shell pattern: {error}") from error
    return found


def as_table(found: Iterable[LedgerEntry], *, width: int | None) -> Iterator[str]:
    """Yield a line for each entry, and one for why a file was refused; `width`: where to cut lines off."""
    rows = ((_cells(entry), entry) for entry in found)
    first = list(islice(rows, _MEASURED))
    widths = [max(map(len, column)) for column in zip(_HEADER, *(cells for cells, _ in first), strict=True)]
    if not first:
        return
    yield _line(_HEADER, widths)
    for cells, entry in chain(first, rows):
        yield _cut(_line(cells, widths), width)
        if entry.error_code is not None:
            yield _cut(printable(f"  {entry.error_code}: {entry.first_error}"), width)


def as_json(found: Iterable[LedgerEntry]) -> Iterator[str]:
    """Yield the pieces of one JSON object, an entry each on a line of its own."""
    yield '{"files": ['
    before = "\n"
    for entry in found:
        yield f"{before}{json.dumps(entry.as_json())}"
        before = ",\n"
    yield "\n]}\n"


def as_csv(found: Iterable[LedgerEntry]) -> Iterator[str]:
    """Yield a header and a line for each entry; `reject_codes` is JSON."""
    buffer = StringIO()
    writer = csv.writer(buffer)
    writer.writerow(LedgerEntry._fields)
    for entry in found:
        writer.writerow((entry.as_json() | {"reject_codes": json.dumps(entry.reject_codes)}).values())
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _cells(entry: LedgerEntry) -> tuple[str, ...]:
    counts = (entry.rows_read, entry.rows_inserted, entry.rows_duplicate, entry.rows_conflict, entry.rows_rejected)
    finished = entry.finished_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
    return (finished, entry.status, *(f"{number:,}" for number in counts), printable(entry.name))


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    texts = [cell.ljust(width) for cell, width in zip(cells[:2], widths, strict=False)]
    numbers = [cell.rjust(width) for cell, width in zip(cells[2:-1], widths[2:-1], strict=True)]
    return " ".join([*texts, *numbers, cells[-1]])


def _cut(line: str, width: int | None) -> str:
    return line if width is None or len(line) <= width else f"{line[: width - 1]}…"
