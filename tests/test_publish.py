"""How rejects get into quarantine, and what happens beside the next load."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from loader import archive, ledger, quarantine
from loader.database import Connection
from loader.model import Problem, Raw, Reject
from tests.support import Load, event, quarantined, write_ndjson

LIMITED = """
import resource, runpy, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
runpy.run_module("loader", run_name="__main__", alter_sys=True)
"""


def _reject(line: int) -> Reject:
    return Reject(1, line, (Problem("malformed_json", None, "x"),), Raw(b"{", 1))


def _synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of files at the moment when they are made durable."""
    sizes: list[int] = []
    really = os.fsync

    def watched(descriptor: int) -> None:
        really(descriptor)
        sizes.append(os.fstat(descriptor).st_size)

    monkeypatch.setattr(os, "fsync", watched)
    return sizes


def test_rejects_that_were_saved_are_not_published_before_they_are_asked_for(tmp_path: Path) -> None:
    with quarantine.RejectFile(tmp_path, "a.ndjson", bytes(32), 1) as rejects:
        rejects.add([_reject(1)])
        rejects.save()
        assert not rejects.path.exists()
    assert list(tmp_path.iterdir()) == []


def test_rejects_that_are_saved_are_made_durable_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with quarantine.RejectFile(tmp_path, "a.ndjson", bytes(32), 1) as rejects:
        rejects.add([_reject(1)])
        rejects.save()
        sizes = _synced(monkeypatch)
        rejects.publish()
    assert sizes == []


def test_rejects_that_come_after_the_others_were_saved_are_durable_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with quarantine.RejectFile(tmp_path, "a.ndjson", bytes(32), 1) as rejects:
        rejects.add([_reject(1)])
        rejects.save()
        sizes = _synced(monkeypatch)
        rejects.add([_reject(2)])
        rejects.publish()
    assert [json.loads(line)["line"] for line in rejects.path.read_bytes().splitlines()] == [1, 2]
    assert sizes == [rejects.path.stat().st_size]


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
