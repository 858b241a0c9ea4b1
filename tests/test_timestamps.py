"""Timestamps of RFC 3339: their instants, and what is said where there is none."""

from __future__ import annotations

import polars as pl
import pytest

from loader import timestamps
from loader.model import Problem

DAY = 86_400_000_000
FIRST, LAST = -719_162 * DAY, 2_932_897 * DAY - 1  # 0001-01-01 and the end of 9999-12-31, in microseconds since 1970


def instants(*texts: str | None) -> list[int | None]:
    return timestamps.parse(pl.Series("t", texts, pl.String)).to_physical().to_list()


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01t00:00:00.000001z", 1),
        ("1970-01-01T00:00:00.0000019Z", 1),
        ("1969-12-31T23:59:59.9999999Z", -1),
        ("1970-01-02T00:00:00+23:59", 60_000_000),
        ("1969-12-31T00:00:00-23:59", -60_000_000),
        ("1970-01-01T00:00:00.5-00:00", 500_000),
        ("0001-01-01T00:00:00Z", FIRST),
        ("0000-12-31T23:59:59.999999Z", None),
        ("0000-12-31T23:59:00.000001-00:01", FIRST + 1),
        ("0001-01-01T00:00:59.999999+00:01", None),
        ("9999-12-31T23:59:59.999999Z", LAST),
        ("9999-12-31T23:59:59.9999999Z", LAST),
        ("9999-12-31T23:59:00-00:01", None),
        ("9999-12-31T23:58:59.999999-00:01", LAST),
        ("2016-12-31T23:59:60Z", None),
        ("2024-01-01T24:00:00Z", None),
        ("2023-02-29T00:00:00Z", None),
        ("2024-01-01T00:00:00", None),
    ],
)
def test_a_text_is_an_instant_or_none(text: str, instant: int | None) -> None:
    assert instants(text) == [instant]


def test_each_text_has_its_own_instant() -> None:
    texts = pl.Series("when", ["now", None, "1970-01-01T00:00:01Z"], pl.String)
    parsed = timestamps.parse(texts)
    assert (parsed.name, parsed.dtype) == ("when", pl.Datetime("us", "UTC"))
    assert parsed.to_physical().to_list() == [None, None, 1_000_000]


NO_SUCH = "does not exist"
OUTSIDE = "lies outside the years 0001 to 9999 in UTC"


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("now", "bad_timestamp", "is not an RFC 3339 timestamp"),
        ("2024-01-01T00:00:00Z\n", "bad_timestamp", "is not an RFC 3339 timestamp"),
        ("2024-01-01T00:00:00", "time_without_offset", "has no offset: add 'Z' or '±hh:mm'"),
        ("2024-01-01 00:00:00.5", "time_without_offset", "has no offset: add 'Z' or '±hh:mm'"),
        ("2016-12-31T23:59:60Z", "leap_second", "is a leap second, which Postgres can't store"),
        ("2016-13-99T99:59:60.5+99:99", "leap_second", "is a leap second, which Postgres can't store"),
        ("2023-02-29T00:00:00Z", "impossible_time", f"{NO_SUCH}: day "),
        ("1900-02-29T00:00:00Z", "impossible_time", f"{NO_SUCH}: day "),
        ("2024-04-31T00:00:00Z", "impossible_time", f"{NO_SUCH}: day "),
        ("2024-00-01T00:00:00Z", "impossible_time", f"{NO_SUCH}: month "),
        ("2024-13-01T00:00:00Z", "impossible_time", f"{NO_SUCH}: month "),
        ("0000-13-01T00:00:00Z", "impossible_time", f"{NO_SUCH}: month "),
        ("0000-02-30T00:00:00Z", "impossible_time", f"{NO_SUCH}: day "),
        ("2024-01-01T24:00:00Z", "impossible_time", f"{NO_SUCH}: hour "),
        ("2024-01-01T00:60:00Z", "impossible_time", f"{NO_SUCH}: minute "),
        ("2024-01-01T00:00:61Z", "impossible_time", f"{NO_SUCH}: second "),
        ("2024-01-01T00:00:00+24:00", "impossible_time", f"{NO_SUCH}: hour "),
        ("2024-01-01T00:00:00-00:60", "impossible_time", f"{NO_SUCH}: minute "),
        ("0000-02-29T00:00:00Z", "time_out_of_range", OUTSIDE),
        ("0001-01-01T00:00:00+00:01", "time_out_of_range", OUTSIDE),
        ("9999-12-31T23:59:59-23:59", "time_out_of_range", OUTSIDE),
    ],
)
def test_a_text_that_is_no_instant_says_why(text: str, code: str, message: str) -> None:
    assert instants(text) == [None]
    problem = timestamps.explain(text, "event_time")
    assert (problem.code, problem.column) == (code, "event_time")
    assert problem.message.startswith(f"'{text}' {message}")


@pytest.mark.parametrize(("length", "shown"), [(80, "x" * 80), (81, "x" * 77 + "...")])
def test_a_long_text_is_shortened(length: int, shown: str) -> None:
    message = f"'{shown}' is not an RFC 3339 timestamp"
    assert timestamps.explain("x" * length, "t") == Problem("bad_timestamp", "t", message)
