r"""What a `jsonb` column can hold beyond JSON's grammar, found before Postgres has to refuse a whole COPY. Pure.

Sources: PostgreSQL manual, 8.14 (no `\u0000`: text can't hold it) and 8.1.2 (numeric: up to 131072 digits before
the decimal point, up to 16383 after it). Nesting is limited here, so that the verdict on a row does not depend on the
server's `max_stack_depth` or on Python's recursion limit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from loader.model import Problem

MAX_DEPTH = 500
_MAX_INTEGER_DIGITS = 131_072
_MAX_FRACTION_DIGITS = 16_383
_MAX_EXPONENT = 2**30  # numeric_in() refuses exponents from here on, in a spelling of zero too

# Cheap tests over whole columns; a row that passes them can't hold what is looked for. A number too long for numeric
# has an exponent of four digits, or else is at least this long.
_BIG_EXPONENT = r"[0-9][eE][+-]?[0-9]{4}"
_MANY_DIGITS = r"[0-9]{500}"
_LONG_NUMBER = 15_000

_NULL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_STRING = r'"(?:[^"\\]|\\.)*"'
_NUMBERS = re.compile(rf"{_STRING}|(-?([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?)", re.DOTALL)
_BRACKETS = re.compile(rf"{_STRING}|([\[{{])|([\]}}])", re.DOTALL)


def find_problems(texts: pl.Series) -> Iterator[tuple[int, Problem]]:
    """Yield (row index, problem) for each of `texts` (String, grammatical JSON) that jsonb can't hold."""
    column = texts.name
    text = pl.col("t")
    length = text.str.len_bytes()
    frame = texts.rename("t").to_frame().with_row_index("row")
    flags = frame.select(
        null=text.str.contains(r"\u0000", literal=True),
        number=text.str.contains(_BIG_EXPONENT) | ((length >= _LONG_NUMBER) & text.str.contains(_MANY_DIGITS)),
        long=length > 2 * MAX_DEPTH,
    )
    # Most often there is none; to ask first takes a hundredth of the time of an empty filter.
    suspects = {name: frame.filter(flags[name]) if flags[name].any() else frame.clear() for name in flags.columns}
    for row, value in suspects["null"].iter_rows():
        if _NULL_ESCAPE.search(value):
            yield row, Problem("null_character", column, r"holds \u0000, which Postgres can't store")
    for row, value in suspects["number"].iter_rows():
        unfit = _unfit_number(value)
        if unfit is not None:
            message = f"holds the number {unfit}, too large or too fine for jsonb"
            yield row, Problem("number_out_of_range", column, message)
    brackets = text.str.count_matches("{", literal=True) + text.str.count_matches("[", literal=True)
    for row, value in suspects["long"].filter(brackets > MAX_DEPTH).iter_rows():
        if depth(value) > MAX_DEPTH:
            yield row, too_deep(column)


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
