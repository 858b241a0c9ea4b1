"""The first rows are read before the database is known, and nothing is left of that where it can't be used."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from loader import ahead, contract, landing
from loader import database as sessions
from loader.ahead import Checked, Part
from loader.errors import Abandoned, DatabaseError
from loader.identify import Identification
from loader.model import Block, Validated
from loader.reading import Reading
from loader.sidecar import Sidecar
from loader.validate import validate
from tests.support import Load, Query, event, write_ndjson

TERMS = contract.load()
UNSORTED = '{"ccc":3,"bb":2,"a":1}'
SECONDS = 30.0  # none of these waits takes as long, unless something is broken


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Whether rows have been validated."""
    happened = threading.Event()

    def noting(block: Block, terms: contract.Contract) -> Validated:
        checked = validate(block, terms)
        happened.set()
        return checked

    monkeypatch.setattr(ahead, "validate", noting)
    return happened


def identification(folder: Path, takers: int = 1) -> Identification:
    files = landing.discover(folder, settle=0, recursive=False)
    return Identification([[file] for file in files], Sidecar(files=len(files)), takers=takers)


@contextmanager
def reading_of(folder: Path, takers: int = 1) -> Iterator[Reading]:
    with identification(folder, takers) as identified:
        yield Reading(TERMS, identified, lambda *_: None, max_line_bytes=1 << 20)


def units(parts: Iterator[Part]) -> list[pl.DataFrame]:
    return [part.unit for part in parts if isinstance(part, Checked) and part.unit is not None]


def rows(parts: Iterator[Part]) -> int:
    return sum(unit.height for unit in units(parts))


def test_rows_are_read_before_the_database_is_looked_at(
    load: Load, landing: Path, query: Query, validated: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ndjson(landing / "a.ndjson", event())
    was_validated: list[bool] = []
    monkeypatch.setattr(sessions, "refuse_pooler", lambda *_: was_validated.append(validated.wait(SECONDS)))
    assert load()[0] == 0
    assert was_validated == [True]
    assert query("SELECT count(*) FROM events") == [(1,)]


def test_where_the_database_cannot_be_used_no_thread_goes_on_reading(
    load: Load, landing: Path, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(*_: object) -> None:
        raise DatabaseError("not this one")

    before = set(threading.enumerate())
    monkeypatch.setattr(sessions, "refuse_pooler", refusing)
    write_ndjson(landing / "a.ndjson", *[event() for _ in range(1000)])
    code, report = load()
    assert (code, report["error"]) == (1, "not this one")
    assert set(threading.enumerate()) <= before
    assert query("SELECT count(*) FROM events") == [(0,)]
    monkeypatch.undo()
    assert load()[0] == 0
    assert query("SELECT count(*) FROM events") == [(1000,)]


@pytest.mark.parametrize(
    ("takers", "expected"),
    [
        pytest.param(1, '{"a":1,"bb":2,"ccc":3}', id="one"),
        pytest.param(2, UNSORTED, id="two"),
    ],
)
@pytest.mark.parametrize("name", ["a.ndjson", "a.parquet"])
def test_keys_are_sorted_unless_several_loads_are_read_at_once(
    tmp_path: Path, name: str, takers: int, expected: str
) -> None:
    events = [event(properties=UNSORTED) for _ in range(100)]
    if name == "a.parquet":
        pl.DataFrame(events).write_parquet(tmp_path / name)
    else:
        write_ndjson(tmp_path / name, *[json.dumps(one).replace(json.dumps(UNSORTED), UNSORTED) for one in events])
    with reading_of(tmp_path, takers) as reading, reading.loads(parts_ahead=1) as (loads, *_):
        reading.know_index(0)
        read = pl.concat(units(next(loads).parts()))
    assert read["properties"].to_list() == [expected] * 100


def test_no_unit_is_cut_before_the_size_of_the_index_is_known(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", event(), event())
    with reading_of(tmp_path) as reading, reading.loads(parts_ahead=1) as (loads,):
        found: list[int] = []
        taking = threading.Thread(target=lambda: found.append(rows(next(loads).parts())))
        taking.start()
        taking.join(0.2)
        assert found == []
        reading.know_index(0)
        taking.join(SECONDS)
        assert found == [2]


def test_who_waits_for_rows_is_told_that_they_are_given_up(tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", event())
    with reading_of(tmp_path) as reading, reading.loads(parts_ahead=1) as (loads,):
        reading.give_up()
        with pytest.raises(Abandoned):
            next(loads)


def test_each_taker_gets_loads_of_its_own(tmp_path: Path) -> None:
    for number in range(6):
        write_ndjson(tmp_path / f"{number}.ndjson", *[event() for _ in range(number)])
    with reading_of(tmp_path, takers=2) as reading, reading.loads(parts_ahead=1) as (one, other):
        reading.know_index(0)
        found = [(load.items[0].file.path.name, rows(load.parts())) for loads in (one, other) for load in loads]
    assert sorted(found) == [(f"{number}.ndjson", number) for number in range(6)]
