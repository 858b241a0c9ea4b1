"""Loads are read ahead, part by part; what becomes of one is no matter to the next."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from loader import ahead
from loader.ahead import Checked, Part, Trouble, Validated
from loader.errors import Abandoned, FileUnavailable
from loader.identify import Identified
from loader.item import Item
from loader.landing import Compression, Format, LandingFile
from tests.support import Load, event, write_ndjson

GONE = FileUnavailable("file_vanished", "gone")


def batch(*names: str) -> list[Identified]:
    """Return files of one load; those whose name starts with `-` could not be identified."""
    return [
        Identified(
            LandingFile(Path(name), Format.NDJSON, Compression.NONE, 1, 0, (0, 0)),
            name.encode(),
            GONE if name.startswith("-") else None,
        )
        for name in names
    ]


def part(place: int, rows: int) -> Checked:
    return Checked([(place, rows)], [], pl.DataFrame())


def unit_of(part: Part) -> pl.DataFrame:
    assert isinstance(part, Checked)
    assert part.unit is not None
    return part.unit


def counted(items: Sequence[Item]) -> Generator[Part]:
    """Give for each item a part, with as many rows as its name has letters."""
    for place, item in enumerate(items):
        yield part(place, len(item.outcome.name))


def names(load: ahead.Load) -> list[str]:
    return [item.outcome.name for item in load.items]


@pytest.fixture(params=[1, 3])
def depth(request: pytest.FixtureRequest) -> int:
    """How many parts the reading is ahead."""
    return int(request.param)


def test_each_load_comes_with_its_own_parts(depth: int) -> None:
    with ahead.loads([batch("a", "bb"), batch("ccc"), batch("-", "dddd")], counted, depth=depth) as loads:
        found = [(names(load), [rows.read for rows in load.parts() if isinstance(rows, Checked)]) for load in loads]
    assert found == [(["a", "bb"], [[(0, 1)], [(1, 2)]]), (["ccc"], [[(0, 3)]]), (["-", "dddd"], [[(0, 4)]])]


def test_the_next_load_is_begun_before_this_one_is_over(depth: int) -> None:
    begun: dict[str, threading.Event] = {"a": threading.Event(), "b": threading.Event()}

    def noting(items: Sequence[Item]) -> Generator[Part]:
        begun[items[0].outcome.name].set()
        yield part(0, 1)

    with ahead.loads([batch("a"), batch("b")], noting, depth=depth) as loads:
        assert len(list(next(loads).parts())) == 1
        assert begun["b"].wait(10)


def test_no_part_is_kept_once_the_next_one_is_taken(depth: int) -> None:
    def many(_: Sequence[Item]) -> Generator[Part]:
        for number in range(5):
            yield part(number, 1)

    with ahead.loads([batch("a")], many, depth=depth) as loads:
        load = next(loads)
        frames = [
            weakref.ref(found.unit) for found in load.parts() if isinstance(found, Checked) and found.unit is not None
        ]
        assert [frame() for frame in frames[:-1]] == [None] * 4


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_parts_that_nobody_takes_do_not_get_into_the_next_load(taken: int, depth: int) -> None:
    def many(items: Sequence[Item]) -> Generator[Part]:
        for number in range(5):
            yield part(number, len(items[0].outcome.name))

    with ahead.loads([batch("a"), batch("bb")], many, depth=depth) as loads:
        parts = next(loads).parts()
        for _ in range(taken):
            next(parts)
        assert [found.read for found in next(loads).parts() if isinstance(found, Checked)] == [
            [(number, 2)] for number in range(5)
        ]


def test_a_load_that_is_given_up_is_not_read_to_its_end(depth: int) -> None:
    given: list[int] = []

    def endless(_: Sequence[Item]) -> Generator[Part]:
        while True:
            given.append(len(given))
            yield part(0, 1)

    with ahead.loads([batch("a"), batch("b")], endless, depth=depth) as loads:
        next(next(loads).parts())
        assert names(next(loads)) == ["b"]
    assert len(given) < 10


@pytest.mark.parametrize("error", [GONE, ValueError("x"), pl.exceptions.PanicException("x")])
def test_what_ends_the_reading_of_a_load_is_raised_by_that_load_alone(error: BaseException, depth: int) -> None:
    def failing(items: Sequence[Item]) -> Generator[Part]:
        yield part(0, 1)
        if items[0].outcome.name == "bad":
            raise error
        yield part(0, 2)

    with ahead.loads([batch("bad"), batch("good")], failing, depth=depth) as loads:
        parts = next(loads).parts()
        next(parts)
        with pytest.raises(type(error)):
            next(parts)
        assert len(list(next(loads).parts())) == 2


def test_an_item_with_trouble_does_not_end_its_load(depth: int) -> None:
    def troubled(_: Sequence[Item]) -> Generator[Part]:
        yield Trouble(0, GONE)
        yield part(1, 1)

    with ahead.loads([batch("a", "b")], troubled, depth=depth) as loads:
        trouble, rows = next(loads).parts()
    assert trouble == Trouble(0, GONE)
    assert isinstance(rows, Checked)
    assert rows.read == [(1, 1)]


def test_a_run_that_is_given_up_ends_all_loads(depth: int) -> None:
    def given_up(_: Sequence[Item]) -> Generator[Part]:
        yield part(0, 1)
        raise Abandoned("given up")

    with ahead.loads([batch("a"), batch("b")], given_up, depth=depth) as loads:
        parts = next(loads).parts()
        next(parts)
        with pytest.raises(Abandoned):
            next(parts)


def test_leaving_early_closes_what_is_being_read(depth: int) -> None:
    closed = threading.Event()

    def reading(_: Sequence[Item]) -> Generator[Part]:
        try:
            while True:
                yield part(0, 1)
        finally:
            closed.set()

    def batches() -> Iterator[list[Identified]]:
        yield batch("a")

    with ahead.loads(batches(), reading, depth=depth) as loads:
        next(next(loads).parts())
    assert closed.wait(10)


def test_rows_that_postgres_waits_for_come_in_the_smallest_part(
    load: Load, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That is so of a run's first rows; those of the loads after it are read while Postgres has others to deal with."""
    monkeypatch.setattr("loader.decode.BLOCK_BYTES", 8192)
    monkeypatch.setattr("loader.run.BATCH_FILES", 1)
    parts: list[list[int]] = []
    really = ahead.validated

    def noting(*arguments: Any, **named: Any) -> Generator[Validated | Trouble]:
        parts.append([])
        for found in really(*arguments, **named):
            assert isinstance(found, Validated)
            parts[-1].append(found.valid.height)
            yield found

    monkeypatch.setattr(ahead, "validated", noting)
    for name in "abc":
        write_ndjson(landing / f"{name}.ndjson", *(event() for _ in range(200)))
    _, report = load("--jobs", "1")
    assert report["inserted"] == sum(map(sum, parts)) == 600
    first, *later = parts
    assert len(later) == 2
    assert first[0] < first[1]
    assert all(rows[0] > 1.5 * first[0] for rows in later)
