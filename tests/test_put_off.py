"""Rows that are put off are merged before a later row with the key of one of them."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import put_off
from loader.put_off import PutOff, apart, beginnings_of

_KEYS = st.lists(st.integers(0, 40), max_size=30)


def _unit(keys: list[int], line: int = 1) -> pl.DataFrame:
    """Rows in merge order, a key's number in its first bytes."""
    ids = [number.to_bytes(8, "big") * 2 for number in sorted(keys)]
    rows = {"event_id": ids, "file_id": [1] * len(ids), "line": list(range(line, line + len(ids)))}
    return pl.DataFrame(rows, {"event_id": pl.Binary, "file_id": pl.Int64, "line": pl.Int64})


@given(units=st.lists(_KEYS, max_size=4), later=_KEYS)
def test_a_later_row_with_a_key_that_was_put_off_is_never_missed(units: list[list[int]], later: list[int]) -> None:
    waiting = PutOff()
    for keys in units:
        waiting.add(apart(_unit(keys)))
    assert waiting.are_overtaken(beginnings_of(_unit(later))) == bool(
        {key for keys in units for key in keys} & {*later}
    )


def test_all_come_back_in_merge_order_and_once() -> None:
    waiting = PutOff()
    assert waiting.take() is None
    waiting.add(apart(_unit([3, 5])))
    waiting.add(apart(_unit([1, 5], line=10)))
    rows = waiting.take()
    assert rows is not None
    assert rows["line"].to_list() == [10, 1, 2, 11]
    assert waiting.take() is None


@pytest.mark.parametrize(
    ("most_rows", "most_units", "are_many"), [(4, 9, [False, False, True]), (99, 2, [False, True, False])]
)
def test_many_are_so_many_rows_or_units(
    monkeypatch: pytest.MonkeyPatch, most_rows: int, most_units: int, are_many: list[bool]
) -> None:
    monkeypatch.setattr(put_off, "_MOST_ROWS", most_rows)
    monkeypatch.setattr(put_off, "_MOST_UNITS", most_units)
    waiting = PutOff()
    found = []
    for _ in range(3):
        waiting.add(apart(_unit([1, 2])))
        found.append(waiting.are_many)
        if found[-1]:
            waiting.take()
    assert found == are_many
