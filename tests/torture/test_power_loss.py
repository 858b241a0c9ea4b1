"""The power goes: of files and names only those are sure to be left that were fsynced. The database has its COMMITs.

No power is cut. What the loader does to its folders is written down, and what a disk may have of it at any instant is
worked out by `disk.py`.
"""

from __future__ import annotations

import hashlib
import json
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.conftest import new_database
from tests.torture.corpus import corpus, drop
from tests.torture.disk import Disk, Record, read
from tests.torture.harness import TWO_THREADS, Child, backends, is_long, recover_and_check, until

pytestmark = pytest.mark.slow
STEP = "changed the disk"
# About as many changes of the disk, fsyncs and COMMITs as loading the corpus takes.
CHANGES = 60
SHARES = (0.0, 0.5, 1.0)
FOLDERS = ARCHIVE, QUARANTINE = Path("archive"), Path("quarantine")
SHA256 = {file.name: file.sha256 for file in corpus()}


class History(NamedTuple):
    """A whole run: what was on the disk before and after it, and what was done in between."""

    before: Disk
    after: Disk
    records: list[Record]

    def moments(self, what: str) -> list[int]:
        return [moment for moment, record in enumerate(self.records) if record.what == what]

    def ledger(self, what: str) -> dict[str, int]:
        """By content: the moment when the COMMIT of its entry was sent ("COMMIT") or answered ("committed")."""
        moments: dict[str, int] = {}
        for entry in self.moments("ledger"):
            of_thread = (at for at in self.moments(what) if self.records[at].thread == self.records[entry].thread)
            moment = next(at for at in of_thread if at > entry)
            moments |= dict.fromkeys((SHA256[name] for name in self.records[entry].files), moment)
        return moments

    def power_cuts(self) -> Iterator[tuple[int, Disk]]:
        """Each moment, with what may be on the disk when the power goes right after it."""
        for moment in range(len(self.records)):
            for share in SHARES:
                yield moment, self.before.after_power_cut(self.records[: moment + 1], share)


@pytest.fixture(scope="module", params=["there", "made", "made by one that died", "there, and two threads"])
def history(
    request: pytest.FixtureRequest, server: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> History:
    """Runs that differ in the folders for archive and quarantine: there before, and durable; or not."""
    landing = tmp_path_factory.mktemp("power") / "landing"
    landing.mkdir()
    drop(landing, corpus())
    without = Disk.of(landing)
    if request.param != "made":
        for folder in FOLDERS:
            (landing / folder).mkdir()
    is_of_dead = request.param == "made by one that died"
    before = without if is_of_dead else Disk.of(landing)
    earlier = [Record("mkdir", (folder,), 0) for folder in FOLDERS] if is_of_dead else []
    journal = landing.with_name("journal")
    options: Mapping[str, Any] = TWO_THREADS if "two threads" in request.param else {}
    with new_database(server, template=template) as (_, database):
        code, _, said = Child(landing, database, step=STEP, mode="count", journal=journal, **options).end()
    assert code == 1, said  # One file is refused.
    return History(before, Disk.of(landing), earlier + read(journal, landing))


def source(path: Path, content: bytes) -> str | None:
    """The content that a file in quarantine is about, None where the path is none of such a file."""
    if path.parent != QUARANTINE or not path.name.endswith((".rejected.ndjson", ".error.json")):
        return None
    sha256: str = json.loads(content.splitlines()[0])["sha256"]
    return sha256


# What was done, in which order.


def test_the_journal_misses_nothing(history: History) -> None:
    assert history.before.after_power_cut(history.records, 1.0).contents() == history.after.contents()


def test_what_goes_to_quarantine_is_whole_on_disk_before_it_has_its_name(history: History) -> None:
    named = {}
    for moment in history.moments("rename"):
        temporary, path = history.records[moment].paths
        if temporary.parent.suffix == ".tmp":
            synced = [record for record in history.records[:moment] if record.what == "fsync"]
            named[path] = next(record.content for record in reversed(synced) if record.paths == (temporary,))
    assert named == {path: content for path, content in history.after.contents().items() if source(path, content)}


def test_no_file_leaves_landing_before_its_fate_is_committed(history: History) -> None:
    committed = history.ledger("committed")
    left = {
        paths[0].name: moment
        for moment in history.moments("rename")
        if (paths := history.records[moment].paths)[0].name in SHA256
    }
    assert len(left) >= len(SHA256) - 1  # One that has another's content may find it in hand.
    assert [name for name, moment in left.items() if moment < committed[SHA256[name]]] == []


# What may be on the disk, at any instant.


def test_each_file_is_in_one_place_wherever_the_power_is_cut(history: History) -> None:
    due = Counter(file.sha256 for file in corpus())
    for moment, disk in history.power_cuts():
        whole = [content for path, content in disk.contents().items() if path.parent.suffix != ".tmp"]
        found = Counter(hashlib.sha256(content).hexdigest() for content in whole)
        assert Counter({sha256: found[sha256] for sha256 in due}) == due, history.records[moment]


def test_what_the_ledger_says_of_quarantine_is_there_wherever_the_power_is_cut(history: History) -> None:
    """From the moment on when the COMMIT is sent: nobody knows when the database has it."""
    due = {
        path: (history.ledger("COMMIT")[sha256], content)
        for path, content in history.after.contents().items()
        if (sha256 := source(path, content)) is not None
    }
    for moment, disk in history.power_cuts():
        found = disk.contents()
        missing = [path for path, (since, content) in due.items() if since <= moment and found.get(path) != content]
        assert missing == [], history.records[moment]


# And then the loader runs again.


class Cut(NamedTuple):
    """When the power goes, and which share of the names that nobody has insisted on the disk has all the same."""

    nth: int
    share: float

    def __str__(self) -> str:
        return f"{self.nth}, {self.share:.0%}"


EACH = [Cut(nth, share) for nth in range(1, CHANGES + 1) for share in SHARES]


@pytest.mark.parametrize("cut", EACH if is_long() else EACH[4::29], ids=str)
def test_the_power_is_cut_and_the_next_run_ends_as_if_nothing_had_happened(
    database: str, landing: Path, cut: Cut
) -> None:
    drop(landing, corpus())
    before = Disk.of(landing)
    journal = landing.with_name("journal")
    code, _, said = Child(landing, database, step=STEP, nth=cut.nth, journal=journal).end()
    assert code in (-signal.SIGKILL, 1), said
    until(lambda: not backends(database), "the end of the sessions")
    before.after_power_cut(read(journal, landing), cut.share).put(landing)
    recover_and_check(landing, database, corpus())
