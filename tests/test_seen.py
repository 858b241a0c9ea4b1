"""What a load remembers of the keys that it has met."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import seen
from loader.seen import SeenKeys

KEYS = st.integers(0, 40).map(lambda number: number.to_bytes(16, "big"))


def _add(keys: SeenKeys, some: list[bytes]) -> list[bool]:
    return keys.add(pl.Series(some, dtype=pl.Binary)).to_list()


@given(st.lists(st.lists(KEYS, max_size=30), max_size=6))
def test_a_key_is_known_from_the_call_after_the_one_that_added_it(calls: list[list[bytes]]) -> None:
    keys = SeenKeys()
    before: set[bytes] = set()
    for some in calls:
        assert _add(keys, some) == [key in before for key in some]
        before.update(some)


def test_the_latest_keys_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_MAX_KEYS", 1_000)
    keys = SeenKeys()
    calls = [[os.urandom(16) for _ in range(100)] for _ in range(50)]
    for some in calls:
        _add(keys, some)
    assert all(_add(keys, [key for some in calls[-10:] for key in some]))
    assert not any(_add(keys, [key for some in calls[:20] for key in some]))


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_MAX_KEYS", 1_000)
    keys = SeenKeys()
    for _ in range(50):
        _add(keys, [os.urandom(16) for _ in range(300)])
        assert keys._recent.keys + keys._older.keys <= 2_000


def test_few_new_keys_are_taken_for_known_ones() -> None:
    keys = SeenKeys()
    taken = sum(sum(_add(keys, [os.urandom(16) for _ in range(1 << 17)])) for _ in range(8))
    assert taken < (1 << 20) // 1_000


def test_threads_may_share_it() -> None:
    keys = SeenKeys()
    parts = [[number.to_bytes(16, "big") for number in range(start, 40_000, 4)] for start in range(4)]
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda part: [_add(keys, part[place : place + 100]) for place in range(0, 10_000, 100)], parts))
    assert all(_add(keys, [key for part in parts for key in part]))
