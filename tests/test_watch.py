"""`loader watch`, as a process of its own: what it loads and when, how it ends, and what it outlives."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loader.landing import Compression, Format, LandingFile
from loader.operate import patience
from loader.operate.patience import Patience
from loader.operate.wakeup import Wakeup
from tests.support import Query, event, quarantined, write_ndjson
from tests.torture.harness import backends, until

FAR_AWAY = ("--scan-seconds", "3600")  # Nothing but the first scan and events.
_NO_WATCHDOG = "import sys; sys.modules['watchdog'] = None; from loader.cli import main; sys.exit(main())"


class Watching:
    """A watching loader; what it says on stderr goes to a file, so that it can be read at any time."""

    def __init__(self, process: subprocess.Popen[bytes], words: Path) -> None:
        self.process = process
        self._words = words

    @property
    def said(self) -> str:
        return self._words.read_text()

    def until_it_says(self, text: str, times: int = 1) -> None:
        until(lambda: self.said.count(text) >= times or self.process.poll() is not None, f"{text!r} in {self.said}")
        assert self.said.count(text) >= times, self.said

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=120)

    def end_idle(self, database: str, number: signal.Signals = signal.SIGTERM) -> int:
        """End it when nothing is in hand: an idle one has no session. Looked at twice, since a run has gaps."""
        for _ in range(2):
            until(lambda: not backends(database), "the end of its sessions")
            time.sleep(0.1)
        return self.end(number)


@contextmanager
def watching(
    landing: Path, database: str, *more: str, program: tuple[str, ...] = ("-m", "loader"), name: str = "loader"
) -> Iterator[Watching]:
    """A loader that watches; killed in the end, if it is still there."""
    words = landing.parent / f"{name}.stderr"
    where = ["--landing", str(landing), "--database-url", database, "--settle", "0.2"]
    with words.open("wb") as stderr, (landing.parent / f"{name}.stdout").open("wb") as stdout:
        process = subprocess.Popen([sys.executable, *program, "watch", *where, *more], stdout=stdout, stderr=stderr)
    try:
        yield Watching(process, words)
    finally:
        process.kill()
        process.wait()


def put(landing: Path, name: str, *rows: dict[str, object] | str) -> Path:
    """Drop a file as a good producer does."""
    return write_ndjson(landing / f"{name}.tmp", *rows).rename(landing / name)


def put_large(landing: Path) -> Path:
    """Drop a file that takes a while."""
    return put(landing, "large.ndjson", *(event(properties={"pad": "x" * 400}) for _ in range(60_000)))


@pytest.fixture
def count(query: Query) -> Callable[[], int]:
    """How many events are stored."""
    return lambda: int(query("SELECT count(*) FROM events")[0][0])


@pytest.fixture
def is_merging(query: Query) -> Callable[[], bool]:
    """Say whether a loader is in the middle of a load."""
    statement = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND state = 'active'"
        " AND query LIKE '%COPY events%' AND pid <> pg_backend_pid()"
    )
    return lambda: bool(query(statement))


def test_files_are_loaded_that_were_there_before_and_that_come_in_whatever_way(
    database: str, landing: Path, count: Callable[[], int]
) -> None:
    put(landing, "before.ndjson", event())
    with watching(landing, database, *FAR_AWAY) as loader:
        until(lambda: count() == 1, "the file that was there")
        put(landing, "renamed.ndjson", event())
        until(lambda: count() == 2, "the file that was renamed")
        write_ndjson(landing / "written.ndjson", event())
        until(lambda: count() == 3, "the file that was written")
        os.link(put(landing.parent, "linked.ndjson", event()), landing / "linked.ndjson")
        until(lambda: count() == 4, "the file that was linked")
        loader.until_it_says(": loaded: 1 rows: 1 inserted, 0 duplicates, 0 conflicts, 0 rejected; ", times=4)
        assert loader.end_idle(database) == 0
    assert len(list(landing.glob("archive/*/*"))) == 4


def test_a_file_below_the_folder_is_found_where_that_is_asked_for(
    database: str, landing: Path, count: Callable[[], int]
) -> None:
    with watching(landing, database, "--recursive", *FAR_AWAY) as loader:
        loader.until_it_says("watching")
        (landing / "a" / "b").mkdir(parents=True)
        put(landing / "a" / "b", "deep.ndjson", event())
        until(lambda: count() == 1, "the file below")
        (landing / "c").mkdir()
        put(landing / "c", "flat.ndjson", event())
        until(lambda: count() == 2, "the other file below")


def test_polling_needs_no_events_and_no_watchdog(database: str, landing: Path, count: Callable[[], int]) -> None:
    with watching(landing, database, "--poll", program=("-c", _NO_WATCHDOG)) as loader:
        loader.until_it_says("watching")
        put(landing, "a.ndjson", event())
        until(lambda: count() == 1, "the file")
        assert loader.end_idle(database) == 0


def test_the_scan_finds_what_no_event_tells(database: str, landing: Path, count: Callable[[], int]) -> None:
    """The folder is reached through a link that then leads elsewhere."""
    (landing / "one").mkdir()
    (landing / "two").mkdir()
    link = landing / "link"
    link.symlink_to("one")
    with watching(link, database, "--scan-seconds", "0.5") as loader:
        loader.until_it_says("watching")
        put(landing / "two", "a.ndjson", event())
        link.unlink()
        link.symlink_to("two")
        until(lambda: count() == 1, "the file")


def test_without_watchdog_it_is_said_what_to_do(database: str, landing: Path) -> None:
    with watching(landing, database, program=("-c", _NO_WATCHDOG)) as loader:
        assert loader.process.wait(timeout=120) == 2
        assert "pip install watchdog, or use --poll" in loader.said


@pytest.mark.parametrize("what", ["no folder", "no contract", "no time"])
def test_what_is_wrong_from_the_start_ends_it_at_once(database: str, landing: Path, what: str) -> None:
    more = {"no contract": ["--contracts", str(landing)], "no time": ["--scan-seconds", "0"]}.get(what, [])
    if what == "no folder":
        landing.rmdir()
    with watching(landing, database, *more) as loader:
        assert loader.process.wait(timeout=120) == 2
        assert loader.said.splitlines()[-1].startswith("loader: ")
        assert "Traceback" not in loader.said


def test_json_is_a_line_for_each_file_and_nothing_else(database: str, landing: Path) -> None:
    put(landing, "a.ndjson", event(), "{")
    with watching(landing, database, "--json", "--quiet") as loader:
        loader.until_it_says("a.ndjson: loaded: 2 rows: 1 inserted")
        put(landing, "b.ndjson", event())
        until(lambda: len((landing.parent / "loader.stdout").read_bytes().splitlines()) == 2, "both lines")
        assert loader.end_idle(database) == 0
    lines = [json.loads(line) for line in (landing.parent / "loader.stdout").read_text().splitlines()]
    assert [(line["name"], line["status"], line["rejected"]) for line in lines] == [
        ("a.ndjson", "loaded", 1),
        ("b.ndjson", "loaded", 0),
    ]
    assert loader.said.count("\n") == 1  # Quiet: only trouble.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_between_files_it_ends_well(database: str, landing: Path, number: signal.Signals) -> None:
    put(landing, "a.ndjson", event())
    with watching(landing, database, *FAR_AWAY) as loader:
        loader.until_it_says("a.ndjson: loaded")
        assert loader.end_idle(database, number) == 0
        assert loader.said.endswith("stopped; no file was in hand\n")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_in_a_load_it_rolls_back_and_the_next_one_loads(
    database: str,
    landing: Path,
    count: Callable[[], int],
    is_merging: Callable[[], bool],
    number: signal.Signals,
) -> None:
    path = put_large(landing)
    with watching(landing, database) as loader:
        until(is_merging, "the merge")
        assert loader.end(number) == 130
        assert loader.said.endswith("loader: interrupted; what was not committed is rolled back, its files stay\n")
        assert "Traceback" not in loader.said
    assert count() == 0
    assert path.exists()
    with watching(landing, database):
        until(lambda: count() == 60_000 and not path.exists(), "the next load")


@pytest.mark.slow
def test_killed_in_a_load_the_next_one_loads(
    database: str, landing: Path, count: Callable[[], int], is_merging: Callable[[], bool]
) -> None:
    path = put_large(landing)
    with watching(landing, database) as loader:
        until(is_merging, "the merge")
        assert loader.end(signal.SIGKILL) == -signal.SIGKILL
    assert path.exists()
    # The server may hold the claim of the one that was killed for a while: the file is busy, and tried again.
    with watching(landing, database):
        until(lambda: count() == 60_000 and not path.exists(), "the next load")


@pytest.mark.slow
def test_a_file_that_grows_is_loaded_when_it_is_still(database: str, landing: Path, query: Query) -> None:
    lines = [json.dumps(event()).encode() + b"\n" for _ in range(60)]
    with watching(landing, database, "--settle", "3"):
        with (landing / "slow.ndjson").open("wb", buffering=0) as file:
            for line in lines:  # It takes longer than the settle time, and each line comes in two parts.
                file.write(line[:50])
                time.sleep(0.1)
                file.write(line[50:])
        until(lambda: query("SELECT 1 FROM loader_files"), "the load")
    assert query("SELECT rows_read, rows_inserted FROM loader_files") == [(60, 60)]
    assert quarantined(landing) == []


def test_the_folder_goes_away_and_another_comes(database: str, landing: Path, count: Callable[[], int]) -> None:
    with watching(landing, database, *FAR_AWAY) as loader:
        put(landing, "a.ndjson", event())
        until(lambda: count() == 1, "the first file")
        for times in (1, 2):
            # What is committed is archived next: the folder can't be removed while something comes into it.
            until(lambda: list(landing.glob("archive/*/*.ndjson")), "the file in the archive")
            shutil.rmtree(landing)
            loader.until_it_says("waiting for it", times)
            landing.mkdir()
            loader.until_it_says("is back", times)
            # Only an event can tell of this one.
            put(landing, "b.ndjson", event())
            until(lambda times=times: count() == 1 + times, "the file in the new folder")  # type: ignore[misc]
        assert loader.end_idle(database) == 0
        assert (loader.said.count("waiting for it"), loader.said.count("is back")) == (2, 2)


def test_the_folder_is_moved_away_and_another_is_there_at_once(
    database: str, landing: Path, count: Callable[[], int]
) -> None:
    with watching(landing, database, "--scan-seconds", "0.5") as loader:
        loader.until_it_says("watching")
        landing.rename(landing.parent / "moved")
        landing.mkdir()
        put(landing, "a.ndjson", event())
        until(lambda: count() == 1, "the file in the new folder")


def test_a_bad_file_stops_nobody(database: str, landing: Path, count: Callable[[], int]) -> None:
    (landing / "a.parquet").write_bytes(b"garbage")
    with watching(landing, database, *FAR_AWAY) as loader:
        loader.until_it_says("a.parquet: refused: ")
        put(landing, "b.ndjson", event())
        until(lambda: count() == 1, "the good file")
        assert loader.end_idle(database) == 0


# The parts.


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def seen(name: str, *, age: float = 60, size: int = 1) -> LandingFile:
    mtime_ns = time.time_ns() - int(age * 1e9)
    return LandingFile(Path(name), Format.NDJSON, Compression.NONE, size, mtime_ns, (1, 1))


def test_a_file_is_chosen_when_it_is_still_for_the_settle_time(clock: Clock) -> None:
    chooser = Patience(5, clock)
    old, older, young = seen("b", age=10), seen("c", age=20), seen("a", age=1)
    assert chooser.choose([old, older, young]) == [older, old]
    assert 1003 < chooser.next_look < 1005


def test_a_file_of_the_future_is_chosen_when_it_was_seen_unchanged(clock: Clock) -> None:
    chooser = Patience(5, clock)
    file = seen("a", age=-3600)
    assert chooser.choose([file]) == []
    assert chooser.next_look == 1005
    clock.now += 3
    grown = file._replace(size=2)
    assert chooser.choose([grown]) == []
    assert chooser.next_look == 1008
    clock.now += 5
    assert chooser.choose([grown]) == [grown]


def test_a_file_that_stays_is_left_alone_for_longer_and_longer_until_it_changes(clock: Clock) -> None:
    chooser = Patience(0, clock)
    file = seen("a")
    pauses = []
    for _ in range(9):
        assert chooser.choose([file]) == [file]
        chooser.tried([file])
        assert chooser.choose([file]) == []
        pauses.append(chooser.next_look - clock.now)
        clock.now = chooser.next_look
    assert pauses == [5, 10, 20, 40, 80, 160, 300, 300, 300]
    chooser.choose([file])
    chooser.tried([file])
    changed = file._replace(size=2)
    assert chooser.choose([changed]) == [changed]
    chooser.tried([changed])
    assert chooser.choose([changed]) == []
    assert chooser.next_look - clock.now == 5


def test_what_is_gone_is_forgotten(clock: Clock) -> None:
    chooser = Patience(0, clock)
    files = [seen(str(number)) for number in range(100)]
    chooser.tried(chooser.choose(files))
    assert len(chooser._waits) == 100
    assert chooser.choose([]) == []
    assert chooser._waits == {}


def test_no_more_is_kept_than_the_limits_say(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "_FILES_AT_A_TIME", 10)
    monkeypatch.setattr(patience, "_REMEMBERED", 25)
    chooser = Patience(0, clock)
    files = [seen(f"{number:03}", age=1000 - number) for number in range(100)]
    tried = []
    for _ in range(20):
        chosen = chooser.choose(files)
        assert len(chosen) <= 10
        tried += chosen
        chooser.tried(chosen)
    assert tried == files[:30]
    clock.now = chooser.next_look
    assert chooser.choose(files)[0] == files[0]


def test_a_scan_that_fails_changes_nothing(clock: Clock) -> None:
    chooser = Patience(0, clock)
    file = seen("a")
    chooser.tried(chooser.choose([file]))

    def broken() -> Iterator[LandingFile]:
        yield file
        raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        chooser.choose(broken())
    assert chooser.choose([file]) == []


def test_however_many_events_there_are_they_are_one_byte() -> None:
    with Wakeup() as wakeup:
        for _ in range(100_000):
            wakeup.notify()
        assert os.read(wakeup._reader, 100) == b"\0"
        wakeup.wait(at_least=0, at_most=3600)  # Notified before it began.
        wakeup.notify()
        wakeup.wait(at_least=0, at_most=3600)
        os.kill(os.getpid(), signal.SIGTERM)
        wakeup.wait(at_least=3600, at_most=3600)  # The end waits for nothing.
        assert wakeup.is_end_asked


def test_metrics_are_kept_up_to_date_after_each_load_and_while_there_is_none(landing: Path, database: str) -> None:
    metrics = landing.parent / "loader.prom"
    with watching(landing, database, "--metrics-file", str(metrics), "--scan-seconds", "1") as loader:
        until(metrics.exists, "the first metrics")
        put(landing, "a.ndjson", event(), "{")
        until(lambda: 'outcome="inserted"} 1' in metrics.read_text(), "metrics of the load")
        assert 'code="malformed_json"} 1' in metrics.read_text()
        loader.end_idle(database)


def test_an_outage_calls_for_help_once(landing: Path, database: str) -> None:
    calls = landing.parent / "calls"
    hook = f"sh -c 'echo \"$LOADER_FAILURE\" >> {calls}'"
    put(landing, "a.ndjson", event())
    with watching(landing, f"{database} dbname=is_not_there", "--on-failure", hook) as loader:
        loader.until_it_says("files stay where they are")
        until(calls.exists, "a call")
        time.sleep(2.5)  # the second try comes a second after the first
    assert calls.read_text().count("loader run: exit code 1") == 1


def test_json_logs_have_an_object_for_each_file(landing: Path, database: str) -> None:
    with watching(landing, database, "--log-format", "json") as loader:
        put(landing, "a.ndjson", event())
        loader.until_it_says("file_finished")
        loader.end_idle(database)
        lines = [json.loads(line) for line in loader.said.splitlines()]
    assert [line["file"] for line in lines if line["event"] == "file_finished"] == ["a.ndjson"]
    assert lines[0]["event"] == "watch_started"
