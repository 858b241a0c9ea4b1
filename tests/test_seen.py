"""What a load remembers of the keys that it has met."""

from __future__ import annotations

import os

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
        assert len(keys._recent) + len(keys._older) <= 2_000
