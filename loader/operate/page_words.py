"""Names, numbers and the bins of histograms as the report spells them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from loader.names import printable
from loader.operate.words import duration, size

_MAX_NAME = 120


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


def lateness(seconds: float) -> str:
    """Return how late an event came; what was loaded before it happened has a minus."""
    return f"-{duration(-seconds)}" if seconds < 0 else duration(seconds)


def size_bins(bounds: Sequence[int]) -> list[str]:
    """Return a label for each bin that `bounds` make, the open ones at both ends included."""
    words = [size(bound).replace(".0 ", " ") for bound in bounds]
    return [f"under {words[0]}", *_inner(words), f"{words[-1]} or more"]


def lateness_bins(bounds: Sequence[int]) -> list[str]:
    """Return the same for lateness; the first bound is 0: what lies below it happened after its load."""
    words = [duration(bound) for bound in bounds[1:]]
    return ["in the future", f"under {words[0]}", *_inner(words), f"{words[-1]} or more"]


def _inner(words: Sequence[str]) -> list[str]:
    return [f"{low} to {high}" for low, high in pairwise(words)]
