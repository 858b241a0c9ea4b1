"""kill -9 at any instant, then run again: the result is as if nothing had happened."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support import Query, event, quarantined, write_ndjson

_BAD = '{"event_id":"bad"}'


def _run(landing: Path, database: str, *arguments: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    where = ["--landing", str(landing), "--database-url", database, "--settle", "0"]
    return subprocess.Popen(
        [sys.executable, "-m", "loader", "run", *where, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=stderr,
    )


def _fill(landing: Path) -> set[str]:
    """Drop a large file, small ones, and one that repeats events of theirs; each with a bad row. Return all ids."""
    padding = {"pad": "x" * 400}
    large = [event(properties=padding) for _ in range(40_000)]
    small = [[event() for _ in range(20)] for _ in range(10)]
    write_ndjson(landing / "large.ndjson", *large, _BAD)
    for number, events in enumerate(small):
        write_ndjson(landing / f"small{number}.ndjson", *events, _BAD + " " * number)
    write_ndjson(landing / "repeats.ndjson", *large[::100], *small[0], _BAD + "  \t")
    return {one["event_id"] for one in large + [one for events in small for one in events]}


def _check(landing: Path, query: Query, ids: set[str]) -> None:
    stored = [row[0] for row in query("SELECT event_id::text FROM events")]
    assert len(stored) == len(ids)
    assert set(stored) == ids
    assert sorted((row["source"], row["line"]) for row in quarantined(landing)) == sorted(
        [("large.ndjson", 40_001), ("repeats.ndjson", 421), *((f"small{number}.ndjson", 21) for number in range(10))]
    )
    assert query("SELECT count(*), sum(rows_read), sum(rows_inserted), sum(rows_duplicate) FROM loader_files") == [
        (12, 40_001 + 421 + 210, len(ids), 420)
    ]
    assert len(list(landing.glob("archive/*/*"))) == 12
    leftovers = [path for path in landing.rglob("*") if path.is_file() and path.parent.name != "quarantine"]
    assert all(path.parent.parent.name == "archive" for path in leftovers)
    assert not list(landing.glob("quarantine/.*"))


@pytest.mark.slow
@pytest.mark.parametrize("loaders", [1, 2])
def test_killed_at_random_instants_nothing_is_lost_or_doubled(
    database: str, landing: Path, query: Query, loaders: int
) -> None:
    ids = _fill(landing)
    chance = random.Random(loaders)
    for _ in range(8):
        started = [_run(landing, database) for _ in range(loaders)]
        time.sleep(chance.uniform(0.4, 2.5))
        for process in started:
            process.kill()
            process.wait()
    for _ in range(20):  # A backend of a killed loader may hold its claims for some seconds yet.
        _run(landing, database).wait()
        if not list(landing.glob("*.ndjson")):
            break
        time.sleep(1)
    _run(landing, database).wait()
    _check(landing, query, ids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_told_to_stop_rolls_back_and_says_so(
    database: str, landing: Path, query: Query, number: signal.Signals
) -> None:
    padding = {"pad": "x" * 400}
    path = write_ndjson(landing / "a.ndjson", *(event(properties=padding) for _ in range(60_000)))
    process = _run(landing, database, stderr=subprocess.PIPE)
    while not query(
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
        " AND query LIKE '%COPY events%' AND pid <> pg_backend_pid()"
    ):
        assert process.poll() is None
    process.send_signal(number)
    _, said = process.communicate()
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == (b"loader: interrupted; what was not committed is rolled back, its files stay")
    assert query("SELECT count(*) FROM events") == [(0,)]
    assert path.exists()
    assert _run(landing, database).wait() == 0
    assert query("SELECT count(*) FROM events") == [(60_000,)]


def test_two_loaders_on_one_folder_share_the_work(database: str, landing: Path, query: Query) -> None:
    ids = _fill(landing)
    both = [_run(landing, database) for _ in range(2)]
    assert {process.wait() for process in both} <= {0, 3}
    _run(landing, database).wait()
    _check(landing, query, ids)
