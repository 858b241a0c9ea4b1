"""Numbers and names as the report spells them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise

from loader.names import printable

_MAX_NAME = 120
_KIB = 1024
_STEPS = ((365 * 86_400, "y"), (86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def name(text: str, most: int = _MAX_NAME) -> str:
    """Return what a file or an event calls itself, without what could reorder or hide text, and not too long."""
    shown = printable(text)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def number(value: float) -> str:
    """Return 1234567 as 1,234,567."""
    return f"{value:,.0f}"


def share(part: int, whole: int) -> str:
    """Return a part in percent."""
    if not whole:
        return ""
    percent = 100 * part / whole
    if part and percent < 0.01:  # noqa: PLR2004 # what two digits can show
        return "under 0.01%"
    return f"{percent:.2f}%"


def size(value: float) -> str:
    """Return bytes as 28.3 MiB."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < _KIB:
            return f"{value:.0f} {unit}" if unit == "B" or value == int(value) else f"{value:.1f} {unit}"
        value /= _KIB
    return f"{value:,.1f} TiB"


def duration(seconds: float) -> str:
    """Return seconds in their largest unit: 3.5 h."""
    for step, unit in _STEPS:
        if abs(seconds) >= step:
            return f"{seconds / step:.2g} {unit}" if abs(seconds) < 10 * step else f"{seconds / step:,.0f} {unit}"
    return f"{seconds:.0f} s" if seconds == int(seconds) else f"{seconds:.2f} s"


def moment(value: datetime) -> str:
    """Return a time to the second, in UTC, as the sessions of the loader have it."""
    return f"{value:%Y-%m-%d %H:%M:%S}"


def plural(count: int, noun: str) -> str:
    """Return 1 file, 2 files."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def size_bins(bounds: Sequence[int]) -> list[str]:
    """Return a label for each bin that `bounds` make, the open ones at both ends included."""
    inner = [f"{size(low)} to {size(high)}" for low, high in pairwise(bounds)]
    return [f"under {size(bounds[0])}", *inner, f"{size(bounds[-1])} or more"]


def lateness_bins(bounds: Sequence[int]) -> list[str]:
    """The same for lateness; the first bound is 0: what lies below it happened after its load."""
    inner = [f"{duration(low)} to {duration(high)}" for low, high in pairwise(bounds[1:])]
    return ["in the future", f"under {duration(bounds[1])}", *inner, f"{duration(bounds[-1])} or more"]
