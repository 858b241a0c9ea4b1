r"""What a `jsonb` column can hold beyond JSON's grammar, found before Postgres has to refuse a whole COPY. Pure.

Sources: PostgreSQL manual, 8.14 (no `\u0000`: text can't hold it) and 8.1.2 (numeric: up to 131072 digits before
the decimal point, up to 16383 after it). Nesting is limited here, so that the verdict on a row does not depend on the
server's `max_stack_depth` or on Python's recursion limit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from loader.characters import Characters, Mask, Places, joined, offsets
from loader.model import Problem

MAX_DEPTH = 500
_MAX_INTEGER_DIGITS = 131_072
_MAX_FRACTION_DIGITS = 16_383
_MAX_EXPONENT = 2**30  # numeric_in() refuses exponents from here on, in a spelling of zero too

# Cheap tests over whole columns; a row that passes them can't hold what is looked for. A number too long for numeric
# has an exponent of so many digits, or else is at least this long.
_BIG_EXPONENT_DIGITS = 4
_MANY_DIGITS = r"[0-9]{500}"
_LONG_NUMBER = 15_000

_NULL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_STRING = r'"(?:[^"\\]|\\.)*"'
_NUMBERS = re.compile(rf"{_STRING}|(-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?)", re.DOTALL)
_BRACKETS = re.compile(rf"{_STRING}|([\[{{])|([\]}}])", re.DOTALL)


def find_problems(texts: pl.Series) -> Iterator[tuple[int, Problem]]:
    """Yield (row index, problem) for each of `texts` (String, grammatical JSON) that jsonb can't hold."""
    column = texts.name
    together = texts.to_arrow()
    bounds, characters = offsets(together), joined(together)
    if (characters == ord("\\")).any():
        for row in texts.str.contains(r"\u0000", literal=True).arg_true():
            if _NULL_ESCAPE.search(texts[row]):
                yield row, Problem("null_character", column, r"holds \u0000, which Postgres can't store")
    lengths = np.diff(bounds)
    exponents = np.searchsorted(bounds - bounds[0], _big_exponents(characters), side="right") - 1
    very_long = _where(texts, lengths >= _LONG_NUMBER, lambda some: some.str.contains(_MANY_DIGITS))
    for row in sorted({*exponents.tolist(), *very_long}):
        unfit = _unfit_number(texts[row])
        if unfit is not None:
            message = f"holds the number {unfit}, too large or too fine for jsonb"
            yield row, Problem("number_out_of_range", column, message)
    for row in _where(texts, lengths > 2 * MAX_DEPTH, _have_many_brackets):
        if depth(texts[row]) > MAX_DEPTH:
            yield row, too_deep(column)


def _where(texts: pl.Series, mask: Mask, holds: Callable[[pl.Series], pl.Series]) -> list[int]:
    """Return the rows of the mask for whose texts something holds."""
    rows = pl.Series(np.flatnonzero(mask))
    return rows.filter(holds(texts.gather(rows))).to_list() if len(rows) else []


def _have_many_brackets(texts: pl.Series) -> pl.Series:
    return texts.str.count_matches("{", literal=True) + texts.str.count_matches("[", literal=True) > MAX_DEPTH


def _big_exponents(characters: Characters) -> Places:
    """Return where the `e` of each exponent of several digits stands, and maybe others that look so."""
    digits = (characters - np.uint8(ord("0"))) < 10  # noqa: PLR2004 # what is below "0" becomes more than that
    places = np.flatnonzero(digits[:-1] & ((characters[1:] | 0x20) == ord("e"))) + 1
    places = places[places + _BIG_EXPONENT_DIGITS < len(characters)]
    first = places + 1 + np.isin(characters[places + 1], [ord("+"), ord("-")])
    for offset in range(_BIG_EXPONENT_DIGITS):
        are_digits = digits[np.minimum(first + offset, len(characters) - 1)]
        places, first = places[are_digits], first[are_digits]
    return places


def too_deep(column: str | None) -> Problem:
    """Return the problem of a value nested deeper than MAX_DEPTH."""
    return Problem("too_deep", column, f"is nested deeper than {MAX_DEPTH} levels")


def depth(text: str) -> int:
    """Return the greatest nesting of arrays and objects in `text`, grammatical JSON."""
    level = deepest = 0
    for match in _BRACKETS.finditer(text):
        if match[1]:
            level += 1
            deepest = max(deepest, level)
        elif match[2]:
            level -= 1
    return deepest


def _unfit_number(text: str) -> str | None:
    """Return a number in `text`, shortened, that numeric can't hold: the same one in whatever order the members are."""
    numbers = (match for match in _NUMBERS.finditer(text) if match[1])
    unfit = [match[1] for match in numbers if not _fits(match[2], match[3], match[4])]
    number = min(unfit, key=lambda number: (len(number), number), default=None)
    return number if number is None or len(number) <= 40 else f"{number[:37]}..."  # noqa: PLR2004


def _fits(integer: str, fraction: str | None, exponent: str | None) -> bool:
    """Say whether numeric can hold a JSON number, given its parts."""
    fraction = fraction or ""
    exponent = exponent or "0"
    if len(exponent.lstrip("+-0")) > len(str(_MAX_EXPONENT)) or abs(int(exponent)) >= _MAX_EXPONENT:
        return False
    shift = int(exponent)
    if max(0, len(fraction) - shift) > _MAX_FRACTION_DIGITS:
        return False
    digits = integer + fraction
    leading_zeros = len(digits) - len(digits.lstrip("0"))
    if leading_zeros == len(digits):
        return True
    return len(integer) - leading_zeros + shift <= _MAX_INTEGER_DIGITS
