"""How rows are put together to units, and in what order."""

from __future__ import annotations

import itertools
import random
import uuid
from collections.abc import Iterator

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader import contract, ranges, units
from loader.contract import KEY, PROVENANCE
from loader.seen import SeenKeys
from loader.spill import Spill

TERMS = contract.load()
LARGE = 1 << 40  # bytes of an index
Place = tuple[int, int]


@pytest.fixture(autouse=True)
def _small_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A few thousand rows are many."""
    monkeypatch.setattr(units, "_UNIT_BYTES", 20_000)
    monkeypatch.setattr(units, "_LEAST_HELD_BYTES", 50_000)
    monkeypatch.setattr(units, "_MANY_HELD_BYTES", 200_000)
    monkeypatch.setattr(units, "_MOST_HELD_BYTES", 400_000)
    monkeypatch.setattr(units, "_MOST_HELD_IN_MEMORY_BYTES", 100_000)
    monkeypatch.setattr(units, "_POPPED_BYTES", 20_000)
    monkeypatch.setattr(ranges, "_MAX_POPPED_BYTES", 80_000)


def _frame(keys: list[uuid.UUID], first_line: int = 1) -> pl.DataFrame:
    lines = range(first_line, first_line + len(keys))
    times = pl.Series([0] * len(keys), dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    fields = {name: pl.Series([f"{name} {line}" for line in lines], dtype=pl.String) for name in TERMS.columns}
    fields |= {KEY: pl.Series([str(key) for key in keys], dtype=pl.String), "event_time": times}
    return pl.DataFrame({"file_id": [7] * len(keys), "line": lines} | fields)


def _frames(keys: Iterator[uuid.UUID], count: int, rows: int = 100) -> list[pl.DataFrame]:
    return [_frame(list(itertools.islice(keys, rows)), 1 + rows * number) for number in range(count)]


def _random() -> Iterator[uuid.UUID]:
    generator = random.Random(1)
    return (uuid.UUID(bytes=generator.randbytes(16)) for _ in itertools.count())


def _ascending() -> Iterator[uuid.UUID]:
    return map(uuid.UUID, (f"{number:032x}" for number in itertools.count(1)))


def _units(frames: list[pl.DataFrame], index_bytes: int, *, are_known: bool = False) -> list[pl.DataFrame]:
    seen = SeenKeys()
    seen.expects_known = are_known
    found: list[pl.DataFrame] = []
    with Spill() as spill:
        cut = units.Units(TERMS, seen, spill, index_bytes=index_bytes)
        for frame in frames:
            cut.take(frame)
            found += cut.due()
        return [*found, *cut.due(is_end=True)]


def _spread(unit: pl.DataFrame) -> float:
    """Return what part of all possible keys lies between the unit's first key and its last."""
    return float(unit[KEY][-1][0] - unit[KEY][0][0]) / 256


@settings(deadline=None)
@given(
    frames=st.lists(st.lists(st.integers(0, 30), max_size=40), max_size=12),
    repeats=st.integers(0, 3),
    index_bytes=st.sampled_from([0, LARGE]),
    is_spread=st.booleans(),
)
def test_every_row_comes_once_and_later_rows_with_its_key_come_later_and_marked(
    frames: list[list[int]], repeats: int, index_bytes: int, *, is_spread: bool
) -> None:
    step = 1 << 123 if is_spread else 1
    lines = itertools.accumulate([1, *map(len, frames * 9)])
    given_frames = [
        _frame([uuid.UUID(int=number * step) for number in keys], line)
        for keys, line in zip(frames * (repeats + 1), lines, strict=False)
    ]
    met: dict[bytes, Place] = {}
    places: list[Place] = []
    for unit in _units(given_frames, index_bytes):
        assert unit.rows() == unit.sort(KEY, *PROVENANCE).rows()
        for key, again, *place in unit.select(KEY, units.AGAIN, *PROVENANCE).iter_rows():
            assert again == (key in met)
            assert place > list(met.get(key, (0, 0)))
            met[key] = place[0], place[1]
            places.append(met[key])
    assert len(places) == len(set(places)) == sum(frame.height for frame in given_frames)


def test_rows_are_what_they_were() -> None:
    frames = _frames(_random(), 30)
    loaded = pl.concat(_units(frames, LARGE)).drop(units.AGAIN).sort(*PROVENANCE)
    assert loaded.equals(units.with_binary_ids(pl.concat(frames), TERMS))


def test_while_the_index_is_small_rows_go_as_they_come() -> None:
    frames = _frames(_random(), 50)
    found = _units(frames, 0)
    assert found[0].height == 100  # Postgres waits for the first
    lines = [line for unit in found for line in unit["line"].sort()]
    assert lines == sorted(lines)
    assert max(_spread(unit) for unit in found) > 0.9


def test_with_a_large_index_the_keys_of_a_unit_are_close_to_each_other() -> None:
    found = _units(_frames(_random(), 200), LARGE)
    assert max(_spread(unit) for unit in found) < 0.3
    assert max(unit.height for unit in found) < 1_500


def test_an_index_grows_large_during_a_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_SMALL_INDEX_BYTES", 40 * 2_000)
    found = _units(_frames(_random(), 100), 0)
    assert sum(unit.height for unit in found if _spread(unit) > 0.5) in range(2_000, 2_500)


def test_rows_that_are_stored_already_make_no_index_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "_SMALL_INDEX_BYTES", 40 * 2_000)
    found = _units(_frames(_random(), 100), 0, are_known=True)
    assert sum(unit.height for unit in found if _spread(unit) > 0.5) == 10_000


def test_keys_that_ascend_are_not_held_back() -> None:
    found = _units(_frames(_ascending(), 50), LARGE)
    assert [unit.height for unit in found] == [100] * 50


def test_few_rows_are_one_unit_whatever_the_index() -> None:
    for count in (1, 2, 3):
        assert len(_units(_frames(_random(), count, rows=20), LARGE)) == min(count, 2) - (count > 1)


def test_a_range_that_takes_nearly_all_rows_is_cut_into_units() -> None:
    first = _frames(_random(), 2)
    one_key = [_frame([uuid.UUID(int=5)] * 100, 1_000 * number) for number in range(1, 100)]
    found = _units([*first, *one_key], LARGE)
    assert max(units._size(unit) for unit in found) < 150_000
