"""kill -9 at every step of a load, then run again: nothing is lost, nothing is doubled."""

from __future__ import annotations

import random
import signal
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.torture.corpus import Maker, corpus, drop, ndjson
from tests.torture.crash_child import STEPS
from tests.torture.harness import (
    TWO_THREADS,
    Child,
    backends,
    check,
    inputs_left,
    is_long,
    killed_at,
    recover_and_check,
    run,
    some_waits,
    standing,
    until,
)
from tests.torture.model import Input

pytestmark = pytest.mark.slow
# About as many calls and returns of the loader's functions as loading the corpus takes.
CALLS = 12_000
CALLS_OF_TWO_THREADS = 23_000


class At(NamedTuple):
    """The nth time that a step is reached. The corpus makes three loads: small files, a large one, small files."""

    step: str
    nth: int = 1

    def __str__(self) -> str:
        return f"{self.step} ({self.nth})"


# Each step once, mostly where a load was committed before it.
EACH = [
    At("claimed", 2),
    At("decoded a shared block"),
    At("decoded a block", 3),
    At("made the staging table"),
    At("wrote half a block to COPY", 2),
    At("wrote to COPY", 4),
    At("sorted a unit", 3),
    At("copied into events", 2),
    At("staged", 2),
    At("merged, not told apart"),
    At("merged a unit", 3),
    At("merged all", 2),
    At("accounted", 2),
    At("quarantine written, not renamed", 2),
    At("quarantine renamed", 4),
    At("quarantine published", 2),
    At("ledger not written", 2),
    At("ledger written", 2),
    At("COMMIT sent", 2),
    At("committed", 2),
    At("not archived", 3),
    At("made the archive's folder"),
    At("chose a name in the archive", 2),
    At("archived", 2),
    At("refusal: .error.json written, not renamed"),
    At("refusal: .error.json renamed"),
    At("refusal: not in the ledger"),
    At("refusal: in the ledger"),
    At("refusal: moved"),
]
# And again in the other loads, and at their ends.
MORE = [
    *(At(step) for step in ("claimed", "decoded a block", "wrote half a block to COPY", "wrote to COPY")),
    *(
        At(step)
        for step in (
            "sorted a unit",
            "copied into events",
            "staged",
            "merged a unit",
            "merged all",
            "quarantine written, not renamed",
        )
    ),
    *(At(step) for step in ("quarantine renamed", "ledger not written", "ledger written", "committed", "archived")),
    *(At("COMMIT sent", nth) for nth in (1, 3, 4)),
    *(At("merged a unit", nth) for nth in (2, 4)),
    *(At("quarantine renamed", nth) for nth in (2, 3, 5, 6)),
    *(At("archived", nth) for nth in (6, 7, 9)),
    *(At("not archived", nth) for nth in (1, 7, 8)),
]
POINTS = EACH + MORE * is_long()
MIGRATING = [
    At("migration: made its own table"),
    At("migration: applied"),
    At("migration: recorded"),
    At("COMMIT sent"),
]
# A crash, and then a crash of the run that mends it.
TWICE = [
    (At("merged a unit", 2), At("merged all")),
    (At("quarantine renamed", 4), At("quarantine written, not renamed")),
    (At("COMMIT sent", 2), At("not archived")),
    (At("refusal: in the ledger"), At("refusal: .error.json renamed")),
]
# Where another loader comes while this one stands still.
SHARED = [
    At("merged a unit", 2),
    At("quarantine renamed", 2),
    At("not archived", 2),
]


def test_every_step_that_can_be_named_is_tested() -> None:
    tested = {point.step for point in [*POINTS, *MIGRATING, *(point for pair in TWICE for point in pair)]}
    assert tested == STEPS.keys() - {"any call", "changed the disk"}


def test_without_a_crash_the_files_are_loaded_in_their_order(database: str, landing: Path) -> None:
    drop(landing, corpus())
    code, _, said = Child(landing, database).end()
    assert code == 1, said  # One file is refused.
    in_order = [file.name for file in corpus()]
    check(landing, database, corpus(), together=[in_order])


@pytest.mark.parametrize("point", POINTS, ids=str)
def test_killed_at_a_step(database: str, landing: Path, point: At) -> None:
    drop(landing, corpus())
    killed_at(landing, database, *point)
    recover_and_check(landing, database, corpus())


@pytest.mark.parametrize("point", MIGRATING, ids=str)
def test_killed_while_migrating(empty_database: str, landing: Path, point: At) -> None:
    drop(landing, corpus())
    killed_at(landing, empty_database, *point)
    recover_and_check(landing, empty_database, corpus())


@pytest.mark.parametrize(("first", "second"), TWICE, ids=str)
def test_killed_and_killed_again_while_mending(database: str, landing: Path, first: At, second: At) -> None:
    drop(landing, corpus())
    killed_at(landing, database, *first)
    until(lambda: not backends(database), "the end of the killed loader's sessions")
    killed_at(landing, database, *second)
    recover_and_check(landing, database, corpus())


@pytest.mark.parametrize("then", ["is killed", "goes on"])
@pytest.mark.parametrize("point", sorted({*SHARED, *(POINTS if is_long() else ())}), ids=str)
def test_one_stands_at_a_step_while_another_loads(database: str, landing: Path, point: At, then: str) -> None:
    drop(landing, corpus())
    with standing(landing, database, *point) as one:
        another = Child(landing, database, settings=())
        # It takes what it can; where it must wait for the first, that one's end sets it free.
        until(lambda: another.process.poll() is not None or some_waits(database), "the other loader")
        if then == "goes on":
            one.go_on()
            assert one.end()[0] in (0, 1, 3)
        else:
            one.kill()
        assert another.end()[0] in (0, 1, 3)
    recover_and_check(landing, database, corpus(), together=())


@pytest.mark.parametrize("seed", range(200 if is_long() else 3))
def test_killed_at_any_call(database: str, landing: Path, seed: int) -> None:
    """Not at a step that somebody thought of, but at any call of, or return from, any function of the loader."""
    drop(landing, corpus())
    code, _, said = Child(landing, database, step="any call", nth=random.Random(seed).randint(1, CALLS)).end()
    assert code in (-signal.SIGKILL, 1), said
    recover_and_check(landing, database, corpus())


@pytest.mark.parametrize("seed", range(200 if is_long() else 2))
def test_two_loaders_killed_at_any_call(database: str, landing: Path, seed: int) -> None:
    drop(landing, corpus())
    chance = random.Random(seed)
    both = [Child(landing, database, step="any call", nth=chance.randint(1, CALLS)) for _ in range(2)]
    for one in both:
        code, _, said = one.end()
        assert code in (-signal.SIGKILL, 0, 1, 3), said
    recover_and_check(landing, database, corpus(), together=())


# One loader with two threads, each with loads of its own: whatever kills one kills both.


def test_two_threads_load_the_files_in_some_order(database: str, landing: Path) -> None:
    drop(landing, corpus())
    code, _, said = Child(landing, database, **TWO_THREADS).end()
    assert code == 1, said  # One file is refused.
    recover_and_check(landing, database, corpus(), together=())


@pytest.mark.parametrize("point", EACH if is_long() else SHARED, ids=str)
def test_two_threads_killed_at_a_step(database: str, landing: Path, point: At) -> None:
    drop(landing, corpus())
    killed_at(landing, database, *point, **TWO_THREADS)
    recover_and_check(landing, database, corpus(), together=())


@pytest.mark.parametrize("then", ["both are killed", "goes on"])
@pytest.mark.parametrize("point", EACH if is_long() else SHARED[:1], ids=str)
def test_one_thread_stands_at_a_step_while_the_other_loads(database: str, landing: Path, point: At, then: str) -> None:
    drop(landing, corpus())
    with standing(landing, database, *point, **TWO_THREADS) as loader:
        # Two files in hand, two of the next load, and two that are the same as one of them, are not for the other.
        until(lambda: some_waits(database) or len(inputs_left(landing)) <= 6, "the other thread")
        if then == "goes on":
            loader.go_on()
            code, _, said = loader.end()
            assert code == 1, said
        else:
            loader.kill()
    recover_and_check(landing, database, corpus(), together=())


@pytest.mark.parametrize("seed", range(100 if is_long() else 2))
def test_two_threads_killed_at_any_call(database: str, landing: Path, seed: int) -> None:
    drop(landing, corpus())
    nth = random.Random(seed).randint(1, CALLS_OF_TWO_THREADS)
    code, _, said = Child(landing, database, step="any call", nth=nth, **TWO_THREADS).end()
    assert code in (-signal.SIGKILL, 1), said
    recover_and_check(landing, database, corpus(), together=())


def test_killed_and_its_file_renamed(database: str, landing: Path) -> None:
    (file,) = (file for file in corpus() if file.name == "a-first.ndjson")
    drop(landing, [file])
    killed_at(landing, database, "quarantine renamed")
    (landing / file.name).rename(landing / "renamed.ndjson")
    recover_and_check(landing, database, [file._replace(name="renamed.ndjson")])


def test_killed_while_a_file_over_its_budget_is_refused(database: str, landing: Path) -> None:
    file = Input("a.ndjson", ndjson(*Maker(9).events(3), Maker(9).bad(0)))
    drop(landing, [file])
    killed_at(landing, database, "refusal: not in the ledger", more=["--max-rejects", "0"])
    run(landing, database, "--max-rejects", "0")
    rejects = [path.read_text().splitlines() for path in (landing / "quarantine").glob("*.rejected.ndjson")]
    assert [len(rows) for rows in rejects] == [1]
