"""RFC 3339 timestamps: text to microseconds, and the reason where that can't be done. Pure.

The profile: date-time of RFC 3339, section 5.6, with an offset (`Z` or `±hh:mm`; `T` and `Z` in either case), ASCII
digits only. Digits below the microsecond are truncated, because Postgres's timestamptz holds microseconds and its own
rounding could move an event into the next second. No leap second (`:60`) and no `24:00`, since the instant that they
name could not be told apart from the following one. The instant must lie in the years 0001..9999 in UTC.
"""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa

from loader.model import Problem

DTYPE = pl.Datetime("us", "UTC")
# Microseconds since 1970 of 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z.
FIRST = -62_135_596_800_000_000
LAST = 253_402_300_799_999_999
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 # in UTC
_PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

_DATE = r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
_TIME = r"([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?"
_OFFSET = r"([Zz]|[+-]([0-9]{2}):([0-9]{2}))"
_GRAMMAR = rf"^{_DATE}[Tt]{_TIME}{_OFFSET}$"
# The same, with the ranges of RFC 3339 that a pattern can say; chrono would roll `:60` over in silence.
_RANGED = (
    r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
    r"(?:\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
# What Arrow's parser, which is many times faster, reads as the profile means it: days that each such month has, and no
# digits below the microsecond. It refuses a whole column for one text.
_ORDINARY = (
    r"^[0-9]{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|(?:0[13578]|1[02])-31)"
    r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$"
)
_WITH_OFFSET = re.compile(_GRAMMAR.replace("$", r"\Z"))
_WITHOUT_OFFSET = re.compile(rf"^{_DATE}[Tt ]{_TIME}\Z")


def parse(texts: pl.Series) -> pl.Series:
    """Return the instants of `texts` (String) as Datetime("us", "UTC"), null where a text is not in the profile."""
    ordinary = texts.str.contains(_ORDINARY).fill_null(value=False)
    if ordinary.all():
        return in_range(_parse_ordinary(texts)).rename(texts.name)
    others = ~ordinary
    instants = _parse_ordinary(texts.set(others, None)).scatter(others.arg_true(), _parse_any(texts.filter(others)))
    return in_range(instants).rename(texts.name)


def _parse_ordinary(texts: pl.Series) -> pl.Series:
    return pl.Series(texts.to_arrow().cast(pa.timestamp("us", "UTC")), dtype=DTYPE)


def _parse_any(texts: pl.Series) -> pl.Series:
    ranged = texts.set(~texts.str.contains(_RANGED), None)
    return ranged.str.to_datetime("%+", time_unit="us", time_zone="UTC", strict=False)


def in_range(instants: pl.Series) -> pl.Series:
    """Null every instant outside the years 0001..9999, by integer: Python can't hold them to compare."""
    inside = instants.to_physical().is_between(FIRST, LAST)
    return instants if inside.all() else instants.set(~inside, None)


def spell(ticks: int, unit: str) -> str | None:
    """Return `ticks` of a unit since 1970 as RFC 3339 in UTC with all digits, None outside the years 0001..9999."""
    seconds, fraction = divmod(ticks, _PER_SECOND[unit])
    try:
        text = (_EPOCH + timedelta(seconds=seconds)).isoformat()
    except OverflowError:
        return None
    digits = str(_PER_SECOND[unit] + fraction)[1:]
    return f"{text}.{digits}Z" if fraction else f"{text}Z"


def explain(text: str, column: str) -> Problem:
    """Say why `parse` refused `text`."""
    shown = text if len(text) <= 80 else text[:77] + "..."  # noqa: PLR2004
    match = _WITH_OFFSET.match(text)
    if match is None:
        if _WITHOUT_OFFSET.match(text):
            return Problem("time_without_offset", column, f"'{shown}' has no offset: add 'Z' or '±hh:mm'")
        return Problem("bad_timestamp", column, f"'{shown}' is not an RFC 3339 timestamp")
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    if second == 60:  # noqa: PLR2004
        return Problem("leap_second", column, f"'{shown}' is a leap second, which Postgres can't store")
    try:
        # A leap year stands in for year 0, which RFC 3339 allows and Python does not.
        date(year or 4, month, day)
        datetime(2000, 1, 1, hour, minute, second, tzinfo=UTC)
        datetime(2000, 1, 1, int(match[9] or 0), int(match[10] or 0), tzinfo=UTC)
    except ValueError as error:
        return Problem("impossible_time", column, f"'{shown}' does not exist: {error}")
    return Problem("time_out_of_range", column, f"'{shown}' lies outside the years 0001 to 9999 in UTC")
