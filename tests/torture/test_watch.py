"""`loader watch` while the database goes, while a file is at fault, and while other loaders are at work."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loader import embedded
from tests.conftest import new_database
from tests.support import event
from tests.test_watch import put, watching
from tests.torture.corpus import Maker, drop, ndjson, other
from tests.torture.harness import (
    QUICK_RETRIES,
    SMALL_BLOCKS,
    arguments,
    ask,
    backends,
    check,
    inputs_left,
    is_long,
    standing,
    until,
)
from tests.torture.model import Input

pytestmark = pytest.mark.slow
FILES = 1_000 if is_long() else 200
_CHILD = str(Path(__file__).with_name("crash_child.py"))


def with_set(*settings: str) -> dict[str, Any]:
    """Options of `watching` that set constants of the loader."""
    return {"program": (_CHILD, *(part for setting in settings for part in ("--set", setting)), "--")}


IMPATIENT = (
    *QUICK_RETRIES,
    "loader.operate.outage._FIRST_PAUSE_SECONDS=0.05",
    "loader.operate.outage._LAST_PAUSE_SECONDS=0.2",
    "loader.operate.patience._FIRST_PAUSE_SECONDS=0.5",
    "loader.operate.patience._LAST_PAUSE_SECONDS=2.0",
)


class Server:
    """A server of our own, and a database on it."""

    def __init__(self, folder: Path, database: str) -> None:
        self.database = database
        self._folder = folder

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        """Shut it down: SIGINT ends the sessions first, SIGQUIT is a crash."""
        pid = int((self._folder / "postgres" / "data" / "postmaster.pid").read_text().split("\n")[0])
        os.kill(pid, number)
        until(lambda: not Path(f"/proc/{pid}").exists(), "the server's end")

    def start(self) -> None:
        with embedded.running(self._folder):
            pass  # It stays up for the one that the fixture counts as its user.


@pytest.fixture
def mortal() -> Iterator[Server]:
    folder = Path(tempfile.mkdtemp(prefix="loader-torture-"))
    folder.chmod(0o755)  # The server runs as another user where the tests run as root.
    with embedded.running(folder) as conninfo, new_database(conninfo) as (_, database):
        yield Server(folder, database)
    shutil.rmtree(folder, ignore_errors=True)


def events_in(database: str) -> int:
    return int(ask(database, "SELECT count(*) FROM events")[0][0])


def test_the_database_goes_and_comes_back_between_files(mortal: Server, landing: Path) -> None:
    with watching(landing, mortal.database, **with_set(*IMPATIENT)) as loader:
        put(landing, "a.ndjson", event())
        until(lambda: not inputs_left(landing), "the first file")
        for times in (1, 2):
            before = loader.said.count("files stay where they are")
            mortal.stop()
            for number in range(3):
                put(landing, f"{times}-{number}.ndjson", event())
            loader.until_it_says("files stay where they are", before + 1)
            mortal.start()
            loader.until_it_says("the database can be used again", times)
            until(lambda: not inputs_left(landing), "the files")
        assert loader.end_idle(mortal.database) == 0
    assert events_in(mortal.database) == 7
    assert loader.said.count("the database can be used again") == 2
    assert "Traceback" not in loader.said


def test_an_outage_is_a_line_however_often_it_is_tried(landing: Path) -> None:
    put(landing, "a.ndjson", event())
    with watching(landing, "host=127.0.0.1 port=1 dbname=x user=y", "--quiet", **with_set(*IMPATIENT)) as loader:
        loader.until_it_says("can't connect to database 'x' on 127.0.0.1, port 1, as 'y'")
        before = cpu_ticks(loader.process.pid)
        for number in range(100):  # None of these makes it try any sooner, or say more.
            put(landing, f"{number}.ndjson", event())
        until(lambda: cpu_ticks(loader.process.pid) > before + 10, "some more tries")
        assert loader.said.count("\n") == 1
        assert loader.end() in (0, 130)  # The latter in the middle of a try.
    assert len(inputs_left(landing)) == 101


def cpu_ticks(pid: int) -> int:
    """How much of the processor's time a process took: a sign of life of one that says nothing."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGQUIT])
def test_the_database_goes_in_the_middle_of_a_load(mortal: Server, landing: Path, number: signal.Signals) -> None:
    rows = 60_000
    put(landing, "large.ndjson", *(event(properties={"pad": "x" * 400}) for _ in range(rows)))
    with watching(landing, mortal.database, **with_set(*IMPATIENT)) as loader:
        until(lambda: is_copying(mortal.database), "the load")
        mortal.stop(number)
        loader.until_it_says("files stay where they are")
        mortal.start()
        loader.until_it_says("large.ndjson: loaded: 60,000 rows: 60,000 inserted")
        assert loader.end_idle(mortal.database) == 0
    assert events_in(mortal.database) == rows
    assert inputs_left(landing) == []
    assert "Traceback" not in loader.said


def is_copying(database: str) -> bool:
    query = "SELECT 1 FROM pg_stat_progress_copy WHERE datname = current_database()"
    return bool(ask(database, query))


def test_a_file_that_the_database_fails_at_does_not_stop_the_others(database: str, landing: Path) -> None:
    make = Maker(21)
    ask(
        database,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.user_id = 'poison' THEN RAISE EXCEPTION 'injected' USING ERRCODE = '57014'; END IF;"
        " RETURN NEW; END $$",
    )
    ask(database, "CREATE TRIGGER fail BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION fail()")
    poison = Input("a-poison.ndjson", ndjson(make.event(user_id="poison")))
    files = [Input(f"{number}.ndjson", ndjson(make.event())) for number in range(5)]
    drop(landing, [poison, *files])
    with watching(landing, database, **with_set(*IMPATIENT, "loader.run.BATCH_FILES=1")) as loader:
        until(lambda: inputs_left(landing) == [poison.name], "the other files")
        ask(database, "DROP TRIGGER fail ON events")
        until(lambda: not inputs_left(landing), "the file that was at fault")
        assert loader.end_idle(database) == 0
    check(landing, database, [poison, *files], together=())


def test_a_file_in_another_loaders_hand_is_taken_up_when_that_one_dies(database: str, landing: Path) -> None:
    file = Input("a.ndjson", ndjson(*Maker(22).events(5)))
    drop(landing, [file])
    with (
        standing(landing, database, "ledger written") as other_loader,
        watching(landing, database, **with_set(*IMPATIENT)) as loader,
    ):
        loader.until_it_says("a.ndjson: busy: another loader has this content in hand", 2)
        other_loader.kill()
        loader.until_it_says("a.ndjson: loaded: 5 rows: 5 inserted")
        assert loader.end_idle(database) == 0
    check(landing, database, [file])


def test_run_and_watch_share_a_folder(database: str, landing: Path) -> None:
    """Two that watch, and one after the other that run."""
    make = Maker(23)
    pool = make.events(FILES * 3)
    files = []
    for number in range(FILES):
        lines = [*make.events(5), *make.chance.sample(pool, 20), other(make.chance.choice(pool))]
        files.append(Input(f"{number:04}.ndjson", ndjson(*lines, *[make.bad(number)] * (number % 7 == 0))))
    settings = with_set(*SMALL_BLOCKS, *IMPATIENT, f"loader.run.BATCH_FILES={FILES // 40}")
    with (
        watching(landing, database, **settings) as first,
        watching(landing, database, "--jobs", "2", name="second", **settings) as second,
    ):
        for start in range(0, FILES, FILES // 4):
            drop(landing, files[start : start + FILES // 4])
            subprocess.run(
                [sys.executable, "-m", "loader", *arguments(landing, database)], check=False, stderr=subprocess.DEVNULL
            )
        until(lambda: not inputs_left(landing), "all files")
        assert (first.end_idle(database), second.end()) == (0, 0)
    until(lambda: not backends(database), "the end of all sessions")
    check(landing, database, files, together=())
    for said in (first.said, second.said):
        assert "Traceback" not in said
        assert "deadlock" not in said
