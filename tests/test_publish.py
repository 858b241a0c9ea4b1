"""How rejects get into quarantine, and what happens beside the next load."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loader import archive, ledger, scratch
from loader.database import Connection
from loader.model import Problem, Raw, Reject
from loader.publish import Publisher
from loader.quarantine import QuarantineError
from loader.reject_file import RejectFile
from loader.scratch import Scratch, Unnamed, Unsaved
from loader.sidecar import Sidecar
from tests.support import Load, event, quarantined, write_ndjson

LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
runpy.run_module("loader", run_name="__main__", alter_sys=True)
"""


def _reject(line: int, size: int = 1) -> Reject:
    return Reject(1, line, (Problem("malformed_json", None, "x"),), Raw(b"{" * size, size))


def _synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of files at the moment when they are made durable."""
    sizes: list[int] = []
    really = os.fsync

    def watched(descriptor: int) -> None:
        really(descriptor)
        sizes.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", watched)
    return sizes


@pytest.fixture
def publisher(tmp_path: Path) -> Iterator[Publisher]:
    """Of a load that puts rejects into a folder, which has nothing else in it when the load has ended."""
    with Publisher(tmp_path, Sidecar(files=0)) as publisher:
        yield publisher
    assert list(tmp_path.glob(".*")) == []


def _saved(publisher: Publisher, size: int = 1) -> RejectFile:
    """A file of one reject of so many bytes, which is durable."""
    rejects = publisher.file("a.ndjson", bytes(32), 1, None)
    rejects.add([_reject(1, size)])
    publisher.begin()
    publisher.wait()
    return rejects


def test_rejects_that_were_saved_are_not_published_before_they_are_asked_for(
    publisher: Publisher, tmp_path: Path
) -> None:
    rejects = _saved(publisher)
    assert not Path(rejects.path).exists()
    publisher.__exit__(None, None, None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("size", [1, 2_000_000])
def test_rejects_that_are_saved_are_made_durable_once(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    rejects = _saved(publisher, size)
    sizes = _synced(monkeypatch)
    publisher.publish([rejects])
    assert sizes == [tmp_path.stat().st_size]  # the folder: only the name is new


@pytest.mark.parametrize("size", [1, 2_000_000])
def test_rejects_that_come_after_the_others_were_saved_are_durable_too(
    publisher: Publisher, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, size: int
) -> None:
    rejects = _saved(publisher, size)
    sizes = _synced(monkeypatch)
    rejects.add([_reject(2)])
    publisher.publish([rejects])
    path = Path(rejects.path)
    assert [json.loads(line)["line"] for line in path.read_bytes().splitlines()] == [1, 2]
    assert sizes == [path.stat().st_size, tmp_path.stat().st_size]


def test_a_file_without_rejects_is_not_made(publisher: Publisher, tmp_path: Path) -> None:
    rejects = [publisher.file(f"{number}.ndjson", bytes(32), number, None) for number in range(3)]
    rejects[1].add([_reject(1)])
    publisher.begin()
    publisher.publish(rejects)
    assert [path.name for path in tmp_path.glob("*.ndjson")] == [Path(rejects[1].path).name]


def test_what_another_process_has_written_and_named_may_be_written_and_named_again(tmp_path: Path) -> None:
    with Scratch(tmp_path) as place:
        unsaved = Unsaved(place.path, [("1", b"first"), ("2", b"second")])
        scratch.save(unsaved)
        one, two = scratch.save(unsaved)
        assert isinstance(one, int)
        assert isinstance(two, int)
        names = Unnamed(place.path, [("1", one, str(tmp_path / "one")), ("2", two, str(tmp_path / "two"))])
        assert scratch.give_names(names) == scratch.give_names(names) == [None, None]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"one": b"first", "two": b"second"}


def test_why_a_file_can_not_be_written_or_named_is_said_of_each(tmp_path: Path) -> None:
    missing = "No such file or directory"
    with Scratch(tmp_path) as place:
        (Path(place.path) / "a").mkdir()
        refused, inode = scratch.save(Unsaved(place.path, [("a", b""), ("b", b"")]))
        assert refused == "Is a directory"
        assert isinstance(inode, int)
        (tmp_path / "c").touch()  # of another attempt: it is not what was lost
        names = [("b", inode, str(tmp_path / "b")), ("c", 1, str(tmp_path / "c"))]
        assert scratch.give_names(Unnamed(place.path, names)) == [None, missing]
        gone = place.path
        (Path(gone) / "a").rmdir()
    assert scratch.save(Unsaved(gone, [("a", b""), ("b", b"")])) == [missing, missing]
    assert scratch.give_names(Unnamed(gone, names)) == [missing, missing]


def test_a_sweep_leaves_what_is_in_use_and_removes_what_is_left(tmp_path: Path) -> None:
    for left, names in (("left", ["lock", "1"]), ("swept-while-its-loader-died", ["1"]), ("empty", [])):
        folder = tmp_path / f".load-{left}.tmp"
        folder.mkdir()
        for name in names:
            (folder / name).touch()
    foreign = tmp_path / ".foreign.tmp"
    foreign.mkdir()
    with Scratch(tmp_path) as place:
        used = Path(place.path)
        scratch.save(Unsaved(place.path, [("1", b"rejects")]))
        scratch.sweep(tmp_path)
        assert sorted(tmp_path.iterdir()) == sorted([used, foreign])
        assert (used / "1").read_bytes() == b"rejects"


@pytest.mark.parametrize("moment", ["mkdir", "open"])
def test_a_scratch_folder_that_a_sweep_takes_at_once_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    really = getattr(os, moment)
    asked = 0

    def swept(path: str, *arguments: Any, **named: Any) -> Any:
        nonlocal asked
        found = really(path, *arguments, **named)
        asked += moment == "mkdir" or path == "lock"
        if asked == 1:
            asked += 1
            scratch.sweep(tmp_path)
        return found

    monkeypatch.setattr(os, moment, swept)
    with Scratch(tmp_path) as place:
        made = Path(place.path)
        assert [*tmp_path.iterdir()] == [made]
        assert (made / "lock").exists()
    assert asked > 2
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_that_comes_late_leaves_a_folder_that_has_been_locked_since(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sweeps meet at a leftover; before the second locks what the first removed, there is a new lock."""
    left = tmp_path / ".load-left.tmp"
    left.mkdir()
    (left / "lock").touch()
    flock = fcntl.flock

    def late(lock: int, operation: int) -> None:
        monkeypatch.undo()
        (left / "lock").unlink()
        (left / "lock").touch()
        (left / "1").write_bytes(b"rejects")
        flock(lock, operation)

    monkeypatch.setattr(fcntl, "flock", late)
    scratch.sweep(tmp_path)
    assert (left / "1").read_bytes() == b"rejects"


def test_a_folder_that_can_not_be_locked_is_not_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    with Publisher(tmp_path, Sidecar(files=0)) as publisher:
        rejects = publisher.file("a.ndjson", bytes(32), 1, None)
        rejects.add([_reject(1)])
        with pytest.raises(QuarantineError, match=r"a\.00000000\.1\.rejected\.ndjson: No locks available"):
            publisher.publish([rejects])
    assert list(tmp_path.iterdir()) == []


def test_scratch_folders_are_made_where_quarantine_is_whatever_its_path_looks_like(tmp_path: Path) -> None:
    (tmp_path / "real" / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "deep")
    with Scratch(tmp_path / "link" / ".." / "quarantine") as place:
        assert Path(place.path).parent.samefile(tmp_path / "real" / "quarantine")


@pytest.mark.parametrize("is_published", [True, False])
def test_rejects_are_not_kept_in_memory_when_their_load_has_ended(tmp_path: Path, *, is_published: bool) -> None:
    with Publisher(tmp_path, Sidecar(files=0)) as publisher:
        rejects = publisher.file("a.ndjson", bytes(32), 1, None)
        rejects.add([_reject(1)])
        if is_published:
            publisher.publish([rejects])
            assert rejects.content == b""
    assert rejects.content == b""
    assert (rejects.is_empty, rejects.codes) == (False, {"malformed_json": 1})


def test_a_conflict_joins_what_was_rejected_before_it(load: Load, landing: Path) -> None:
    first = event()
    write_ndjson(landing / "a.ndjson", "{", first, first | {"user_id": "another"})
    load()
    assert sorted(row["errors"][0]["code"] for row in quarantined(landing)) == ["conflict", "malformed_json"]


def test_many_files_with_rejects_need_few_descriptors(database: str, landing: Path) -> None:
    for number in range(300):
        write_ndjson(landing / f"{number:03}.ndjson", "{", event())
    command = [sys.executable, "-c", LIMITED, "run", "--settle", "0", "--json"]
    command += ["--database-url", database, "--landing", str(landing)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=120)
    assert done.returncode == 3, done.stderr[-2_000:]
    assert json.loads(done.stdout)["rejected"] == len(quarantined(landing)) == 300
    assert not list((landing / "quarantine").glob(".*"))


def test_files_move_to_the_archive_while_the_next_load_goes_on(
    load: Load, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.run.BATCH_FILES", 1)
    claim, move = ledger.claim, archive.archive
    claimed: list[list[bytes]] = []
    is_second_claimed = threading.Event()
    waited: list[bool] = []

    def noted(connection: Connection, digests: list[bytes]) -> dict[bytes, ledger.Claim]:
        claimed.append(digests)
        if len(claimed) == 2:
            is_second_claimed.set()
        return claim(connection, digests)

    def delayed(loaded: archive.LoadedFile) -> str | None:
        waited.append(is_second_claimed.wait(30))
        return move(loaded)

    monkeypatch.setattr(ledger, "claim", noted)
    monkeypatch.setattr("loader.settle.archive", delayed)
    for number in range(2):
        write_ndjson(landing / f"{number}.ndjson", event())
    _, report = load()
    assert waited == [True, True]
    assert report["inserted"] == 2
    assert [path.name for path in landing.iterdir() if path.is_file()] == []


def test_outcomes_come_in_the_order_of_the_files_refused_ones_included(load: Load, landing: Path) -> None:
    names = [f"{number}.ndjson.gz" if number == 1 else f"{number}.ndjson" for number in range(4)]
    for name in names:
        write_ndjson(landing / name, event())  # no gzip: that one is refused
        os.utime(landing / name, ns=(0, 10**18 + names.index(name)))
    _, report = load("--jobs", "1")
    assert [(file["name"], file["status"]) for file in report["files"]] == [
        (name, "refused" if name.endswith("gz") else "loaded") for name in names
    ]
