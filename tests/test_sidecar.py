"""Many small files are hashed and moved by a process beside; whatever becomes of it, nothing else does."""

from __future__ import annotations

import codecs
import os
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from loader.errors import FileRefused, FileUnavailable
from loader.identify import Identification, identify
from loader.landing import discover
from loader.sidecar import MANY_FILES, Sidecar
from tests.support import Load, Query, event, is_alive, quarantined, write_ndjson

_HERE = os.getpid()
_ROOT = Path(__file__).parent.parent
# A loader that asks for something, says which process that is done by, and then does nothing any more.
_ASKER = """
import time
from loader.sidecar import MANY_FILES, Sidecar
from tests.test_sidecar import who
with Sidecar(files=MANY_FILES) as beside:
    print(*beside.map(who, [None]), flush=True)
    time.sleep(60)
"""


def who(_: object) -> int:
    """Return the process that this is done by."""
    return os.getpid()


def encoding(_: object) -> str:
    """Return how names of files are spelled where this is done."""
    return codecs.lookup(sys.getfilesystemencoding()).name


def die_unless_at_home(home: int) -> int:
    """End the process that this is done by, unless it is that of the test."""
    if os.getpid() != home:
        os.kill(os.getpid(), signal.SIGKILL)
    return os.getpid()


@pytest.fixture
def many(landing: Path) -> list[str]:
    """As many files as are worth another process, of one event each; every third of them with a second, bad row."""
    ids = []
    for number in range(MANY_FILES + 50):
        row = event()
        ids.append(row["event_id"])
        bad: list[dict[str, Any]] = [event(event_name="")] if number % 3 == 0 else []
        write_ndjson(landing / f"{number:04}.ndjson", row, *bad)
    return sorted(ids)


def assert_loaded(ids: list[str], query: Query, landing: Path) -> None:
    """Each event is stored, each file in the archive, the bad rows in quarantine, and nothing else there."""
    assert [str(row[0]) for row in query("SELECT event_id FROM events ORDER BY event_id::text")] == ids
    assert [path.name for path in landing.iterdir() if path.is_file()] == []
    assert len(list((landing / "archive").rglob("*.ndjson"))) == len(ids)
    assert sorted(row["line"] for row in quarantined(landing)) == [2] * (len(ids) // 3)
    assert list((landing / "quarantine").glob(".*")) == []


def test_few_files_are_dealt_with_here() -> None:
    with Sidecar(files=MANY_FILES - 1) as beside:
        assert list(beside.map(who, [None, None])) == [_HERE, _HERE]


def test_many_files_are_dealt_with_by_one_process_that_ends_with_the_context() -> None:
    with Sidecar(files=MANY_FILES) as beside:
        first, second = [*beside.map(who, [None]), *beside.map(who, [None])]
        assert first == second != _HERE
    assert not is_alive(first)


def test_what_died_beside_is_done_here() -> None:
    with Sidecar(files=MANY_FILES) as beside:
        assert list(beside.map(die_unless_at_home, [_HERE] * 3)) == [_HERE] * 3
        assert list(beside.map(who, [None])) == [_HERE]


def test_what_died_before_it_was_asked_is_done_here() -> None:
    with Sidecar(files=MANY_FILES) as beside:
        (pid,) = beside.map(who, [None])
        os.kill(pid, signal.SIGKILL)
        assert list(beside.map(who, [None])) == [_HERE]


@pytest.mark.parametrize("executable", ["", "/no/such/python", "/bin/false"])
def test_without_another_process_all_is_done_here(monkeypatch: pytest.MonkeyPatch, executable: str) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with Sidecar(files=MANY_FILES) as beside:
        assert list(beside.map(who, [None])) == [_HERE]


def test_it_ends_with_a_loader_that_is_killed() -> None:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", _ASKER], cwd=_ROOT, **pipes) as asker:  # type: ignore[call-overload]
        assert int(asker.stdout.readline()) != asker.pid
        asker.kill()
        # Both have it open; it comes to its end when both have ended.
        assert select.select([asker.stderr], [], [], 30)[0] == [asker.stderr]
        assert asker.stderr.read() == b""


@pytest.mark.parametrize("mode", [0, 1])
def test_it_takes_the_names_of_files_for_what_the_loader_takes_them(mode: int) -> None:
    command = [sys.executable, "-X", f"utf8={mode}", "-c", _ASKER.replace("who", "encoding").replace("60", "0")]
    environment = os.environ | {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(command, capture_output=True, check=True, cwd=_ROOT, env=environment, timeout=60)
    assert done.stdout.decode().strip() == ("utf-8" if mode else "ascii")


def test_ctrl_c_reaches_only_the_loader() -> None:
    with Sidecar(files=MANY_FILES) as beside:
        (pid,) = beside.map(who, [None])
        assert os.getpgid(pid) != os.getpgid(_HERE)


def test_problems_come_back_as_they_are(tmp_path: Path) -> None:
    for name in ("gone", "good", "no.gz"):
        write_ndjson(tmp_path / f"{name.replace('.gz', '')}.ndjson{'.gz' if 'gz' in name else ''}", event())
    files = discover(tmp_path, settle=0, recursive=False)
    next(file for file in files if "gone" in file.path.name).path.unlink()
    with Sidecar(files=MANY_FILES) as beside:
        there = list(beside.map(identify, files))
    here = [identify(file) for file in files]
    assert [found[:2] for found in there] == [found[:2] for found in here]
    assert [str(found.problem) for found in there] == [str(found.problem) for found in here]
    kinds = {found.file.path.name: type(found.problem) for found in there}
    assert kinds == {"gone.ndjson": FileUnavailable, "good.ndjson": type(None), "no.ndjson.gz": FileRefused}


def test_digests_are_the_same_beside(many: list[str], landing: Path) -> None:
    files = discover(landing, settle=0, recursive=False)
    with Sidecar(files=len(many)) as beside, Identification([files], beside, takers=1) as identification:
        (batch,) = identification.batches()
    assert [found.digest for found in batch] == [identify(file).digest for file in files]


def test_many_files_are_loaded(many: list[str], load: Load, query: Query, landing: Path) -> None:
    code, report = load()
    assert (code, report["inserted"], report["rejected"]) == (3, len(many), len(many) // 3)
    assert_loaded(many, query, landing)


@pytest.mark.parametrize("seconds", [0, 0.001, 0.01])
@pytest.mark.parametrize(("what", "nth"), [("_read", 4), ("save", 1), ("give_names", 2), ("archive", 3)])
def test_many_files_are_loaded_though_what_is_beside_dies(
    many: list[str],
    load: Load,
    query: Query,
    landing: Path,
    monkeypatch: pytest.MonkeyPatch,
    what: str,
    nth: int,
    seconds: float,
) -> None:
    ask, asked = Sidecar._ask, 0

    def ask_and_kill(process: subprocess.Popen[bytes], function: Any, arguments: Any) -> Any:
        nonlocal asked
        asked += function.__name__ == what
        if (function.__name__, asked) == (what, nth):
            threading.Timer(seconds, process.kill).start()
        return ask(process, function, arguments)

    monkeypatch.setattr(Sidecar, "_ask", staticmethod(ask_and_kill))
    code, report = load()
    assert (code, report["inserted"], report["rejected"], asked >= nth) == (3, len(many), len(many) // 3, True)
    assert_loaded(many, query, landing)


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.5, 2.0])
@pytest.mark.slow
def test_many_files_are_loaded_once_though_the_loader_is_killed(
    many: list[str], query: Query, database: str, landing: Path, seconds: float
) -> None:
    command = [sys.executable, "-m", "loader", "run", "--settle", "0", "--json", "--quiet"]
    command += ["--database-url", database, "--landing", str(landing)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as killed:
        time.sleep(seconds)
        killed.kill()
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode in (0, 3), done.stderr[-2_000:]
    assert_loaded(many, query, landing)
