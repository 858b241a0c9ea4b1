"""Starts loaders, stops them at a step, lets others recover, and compares what is there with the model."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from loader import cli
from tests.torture import corpus, model
from tests.torture.model import Content, Counts, Fact, Input, Place

_CHILD = Path(__file__).with_name("crash_child.py")
# With these a file of some 100 KB goes the way of one of some 10 MB: several blocks, several units, and after some
# hundred rows the index counts as large.
SMALL_BLOCKS = (
    "loader.decode.BLOCK_BYTES=65536",
    "loader.units._UNIT_BYTES=131072",
    "loader.units._SMALL_INDEX_BYTES=20000",
    "loader.units._LEAST_HELD_BYTES=65536",
    "loader.run._SMALL_FILE_BYTES=32768",
)
# How a loader is started that has several loads for each of two threads.
TWO_THREADS: Mapping[str, Any] = {
    "settings": (*SMALL_BLOCKS, "loader.run.BATCH_FILES=4"),
    "more": ("--jobs", "2"),
}
QUICK_RETRIES = ("loader.session._FIRST_PAUSE_SECONDS=0.05",)
_PATIENCE_SECONDS = 120


def is_long() -> bool:
    """Say whether the long form is asked for."""
    return bool(os.environ.get("LONG_TESTS"))


def arguments(landing: Path, database: str) -> list[str]:
    return ["run", "--quiet", "--settle", "0", "--landing", str(landing), "--database-url", database]


class Child:
    """A loader in a process of its own, which stops at a step."""

    def __init__(
        self,
        landing: Path,
        database: str,
        *,
        step: str | None = None,
        nth: int = 1,
        mode: str = "kill",
        settings: Sequence[str] = SMALL_BLOCKS,
        more: Sequence[str] = (),
        journal: Path | None = None,
    ) -> None:
        command = [sys.executable, str(_CHILD), "--nth", str(nth), "--mode", mode]
        command += ["--step", step] if step else []
        command += ["--journal", str(journal)] if journal else []
        command += [part for setting in settings for part in ("--set", setting)]
        command += ["--", *arguments(landing, database), *more]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def reached(self) -> bool:
        """Wait until it stands at its step; False where it ends without."""
        assert self.process.stdout is not None
        return self.process.stdout.readline() == "reached\n"

    def go_on(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def kill(self) -> None:
        self.process.kill()
        self.end()

    def end(self) -> tuple[int, str, str]:
        """Wait for its end; return its exit code, and what it said on stdout and stderr."""
        out, said = self.process.communicate(timeout=_PATIENCE_SECONDS)
        return self.process.returncode, out, said


@contextmanager
def standing(landing: Path, database: str, step: str, nth: int = 1, **options: Any) -> Iterator[Child]:
    """A loader that stands at a step; killed in the end, if it is still there."""
    child = Child(landing, database, step=step, nth=nth, mode="wait", **options)
    try:
        assert child.reached(), child.end()
        yield child
    finally:
        if child.process.poll() is None:
            child.kill()


def killed_at(landing: Path, database: str, step: str, nth: int = 1, **options: Any) -> None:
    """Run a loader that kills itself at a step, which it must reach."""
    code, _, said = Child(landing, database, step=step, nth=nth, **options).end()
    assert code == -signal.SIGKILL, (code, said)


def run(landing: Path, database: str, *more: str) -> int:
    """Run the real loader, in this process."""
    return cli.main([*arguments(landing, database), *more])


def until(is_so: Callable[[], Any], what: str) -> None:
    """Wait for something that must come."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not is_so():
        assert time.monotonic() < deadline, f"in vain: {what}"
        time.sleep(0.02)


def ask(database: str, query: str, parameters: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
    with psycopg.connect(database, autocommit=True) as connection:
        cursor = connection.execute(query.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


_LOADERS = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'loader'"


def backends(database: str) -> list[int]:
    """The pids of the server's processes for loaders, be these alive or not."""
    return [pid for (pid,) in ask(database, f"SELECT pid {_LOADERS} ORDER BY pid")]


def terminate(database: str, condition: str = "true") -> int:
    """End the sessions of loaders from the server's side, and wait until they are gone; return how many there were."""
    ended = ask(database, f"SELECT pid, pg_terminate_backend(pid) {_LOADERS} AND {condition}")
    pids = {pid for pid, _ in ended}
    until(lambda: not pids & set(backends(database)), "the end of terminated sessions")
    return len(pids)


def some_waits(database: str) -> bool:
    """Say whether a loader's session waits for a lock."""
    return bool(ask(database, f"SELECT 1 {_LOADERS} AND wait_event_type = 'Lock'"))


def inputs_left(landing: Path) -> list[str]:
    return [path.name for path in landing.iterdir() if path.is_file()]


def recover(landing: Path, database: str) -> None:
    """Run the loader until nothing is left to do, as cron would.

    The first run comes at once: the server may still be busy for the loader that was killed, and hold its claims. When
    it has noticed, one further run must do. The last run has a file of its own, and so finds leftovers to sweep away.
    """
    run(landing, database)
    until(lambda: not backends(database), "the end of the sessions of killed loaders")
    if inputs_left(landing):
        run(landing, database)
    assert inputs_left(landing) == []
    corpus.drop(landing, [corpus.last_file()])
    assert run(landing, database) == 0


def check(
    landing: Path,
    database: str,
    files: Sequence[Input],
    *,
    together: Sequence[Sequence[str]] = (corpus.FIRST_LOAD, corpus.LAST_LOAD),
    stored: Mapping[str, Content] | None = None,
) -> None:
    """Compare everything with the model: events, quarantine, ledger, archive, and what must not be there."""
    facts = _events(database)
    winners = {event_id: fact.place.file for event_id, fact in facts.items() if fact.place.file}
    due = model.outcome(model.order_of(files, winners, together), stored)
    assert facts == due.events
    assert _quarantined(landing, files) == due.quarantined
    _check_ledger(landing, database, files, due)
    _check_folders(landing, files, due)
    locks = "SELECT * FROM pg_locks JOIN pg_database AS d ON d.oid = database WHERE datname = current_database()"
    assert ask(database, f"{locks} AND locktype = 'advisory'") == []


def recover_and_check(landing: Path, database: str, files: Sequence[Input], **options: Any) -> None:
    recover(landing, database)
    check(landing, database, [*files, corpus.last_file()], **options)


def _events(database: str) -> dict[str, Fact]:
    rows = ask(
        database,
        "SELECT event_id::text, event_name, event_time, user_id, properties, coalesce(name, file_id::text), line"
        " FROM events LEFT JOIN loader_files USING (file_id)",
    )
    return {
        event_id: Fact(
            Content(event_name, event_time, user_id, model.canonical(properties)),
            Place("" if line == 0 else name, line),
        )
        for event_id, event_name, event_time, user_id, properties, name, line in rows
    }


def _quarantined(landing: Path, files: Sequence[Input]) -> dict[Place, tuple[frozenset[str], Any]]:
    by_name = {file.name: file for file in files}
    rows = {}
    for path in (landing / "quarantine").glob("*.rejected.ndjson"):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            place = Place(row["source"], row["line"])
            assert place not in rows, "a row is in quarantine twice"
            assert place.file in by_name, "a row in quarantine of no file"
            file = by_name[row["source"]]
            assert row["sha256"] == file.sha256
            raw = row["raw"] if file.rows is None else json.loads(row["raw"])
            rows[place] = (frozenset(error["code"] for error in row["errors"]), raw)
    return rows


def _check_ledger(landing: Path, database: str, files: Sequence[Input], due: model.Outcome) -> None:
    rows = ask(
        database,
        "SELECT name, status, encode(sha256, 'hex'), size_bytes, error_code, quarantine, rows_read, rows_inserted,"
        " rows_duplicate, rows_conflict, rows_rejected FROM loader_files",
    )
    by_name = {file.name: file for file in files}
    loaded = {}
    failed = {}
    for name, status, sha256, size, error_code, quarantine, *counts in rows:
        assert (sha256, size) == (by_name[name].sha256, len(by_name[name].content))
        if status == "refused":
            failed[name] = error_code
            continue
        loaded[name] = Counts(*counts)
        in_quarantine = sum(place.file == name for place in due.quarantined)
        assert (quarantine is not None) == bool(in_quarantine)
        if quarantine is not None:
            assert Path(quarantine).parent == landing / "quarantine"
            assert len(Path(quarantine).read_text().splitlines()) == in_quarantine
    assert loaded == due.counts
    assert all(count.read == sum(count[1:]) for count in loaded.values())
    assert failed == {file.name: code for file in files if (code := model.refused(file))}
    assert len(rows) == len({file.sha256 for file in files})


def _check_folders(landing: Path, files: Sequence[Input], due: model.Outcome) -> None:
    """Each input is in one place, beside it nothing but its rejects or the reason for its refusal."""
    expected: Counter[tuple[str, str]] = Counter()
    with_rejects = {place.file for place in due.quarantined}
    for file in files:
        stem = file.name.split(".")[0]
        if code := model.refused(file):
            expected["quarantine", f"{stem} {file.sha256}"] += 1
            expected["quarantine", f"{stem} {code}"] += 1
        else:
            expected["archive", f"{stem} {file.sha256}"] += 1
        if file.name in with_rejects:
            expected["quarantine", f"{stem} rejects"] += 1
    found: Counter[tuple[str, str]] = Counter()
    for path in landing.rglob("*"):
        if not path.is_file():
            continue
        what = Input(path.name, path.read_bytes()).sha256
        if path.name.endswith(".rejected.ndjson"):
            what = "rejects"
        elif path.name.endswith(".error.json"):
            what = json.loads(path.read_bytes())["code"]
        found[path.relative_to(landing).parts[0], f"{path.name.split('.')[0]} {what}"] += 1
    assert found == expected
