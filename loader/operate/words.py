"""Numbers as a person reads them. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from loader.names import printable

_COLUMNS = 80
_TITLE_COLUMNS = 12
_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))
_BYTES = ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB"))


def count(number: int, noun: str) -> str:
    """Return `1 file`, `1,234 files`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"


def size(number: int) -> str:
    """Return `12 bytes`, `28.3 MB`."""
    unit, name = next((pair for pair in _BYTES if number >= pair[0]), (1, ""))
    return f"{number / unit:,.1f} {name}" if name else count(number, "byte")


def duration(seconds: float) -> str:
    """Return `12 s`, `3 min`, `5 h`, `2 d`; whole units, as few as say it."""
    unit, name = next((pair for pair in _UNITS if seconds >= 2 * pair[0]), (1, "s"))
    return f"{seconds / unit:,.0f} {name}"


def moment(when: datetime) -> str:
    """Return a time of the database in UTC, to the second."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def tally(counts: dict[str, int]) -> str:
    """Return `2 loaded, 1 refused`, the largest first; what is 0 is left out."""
    some = sorted(((number, name) for name, number in counts.items() if number), key=lambda pair: (-pair[0], pair[1]))
    return ", ".join(f"{number:,} {name}" for number, name in some)


def section(title: str, texts: Sequence[str], *, wrap: bool = True) -> Iterator[str]:
    """Yield lines with `title` before the first; what does not fit on 80 columns goes on below, if `wrap`."""
    for text in map(printable, texts):
        room = _COLUMNS - _TITLE_COLUMNS
        fits = len(text) <= room or not wrap
        hanging = " " * (len(text) - len(text.lstrip()) + 2)
        pieces = (
            [text]
            if fits
            else textwrap.wrap(text, room, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)
        )
        for piece in pieces:
            yield f"{title:<{_TITLE_COLUMNS}}{piece}"
            title = ""
