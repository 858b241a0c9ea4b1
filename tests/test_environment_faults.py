"""Disks that fill up, rights that are lost, files that change under the loader's hands, clocks that go wrong.

After each fault: nothing is lost, nothing doubled, one line says what is wrong with which file; and once the fault is
mended, the next run leaves everything as if nothing had happened.
"""

from __future__ import annotations

import errno
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from psycopg.conninfo import conninfo_to_dict

from loader import archive, cli, decode, lines, names, opening
from loader import landing as landing_folder
from tests import hostile
from tests.support import Load, Query, Report, event, quarantined, write_ndjson

NOBODY = 65534
BAD = b'{"row":"bad"}'


class Drop:
    """Three files: a clean one, one with a bad row, and one that will be refused."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ids = set()
        for name in ("clean", "mixed"):
            one = event()
            self.ids.add(one["event_id"])
            write_ndjson(folder / f"{name}.ndjson", one, *([BAD] if name == "mixed" else []))
        (folder / "refused.ndjson.gz").write_bytes(b"no gzip")

    def assert_done(self, query: Query) -> None:
        """Everything is as if no fault had ever happened."""
        assert {str(row[0]) for row in query("SELECT event_id FROM events")} == self.ids
        assert query("SELECT name, rows_read, rows_inserted, rows_rejected FROM loader_files ORDER BY name") == [
            ("clean.ndjson", 1, 1, 0),
            ("mixed.ndjson", 2, 1, 1),
            ("refused.ndjson.gz", 0, 0, 0),
        ]
        assert [(row["source"], row["line"]) for row in quarantined(self.folder)] == [("mixed.ndjson", 2)]
        assert sorted(path.name.partition(".")[0] for path in self.folder.glob("archive/*/*")) == ["clean", "mixed"]
        assert sorted(".".join(path.name.split(".")[-2:]) for path in self.folder.glob("quarantine/*")) == [
            "error.json",
            "ndjson.gz",
            "rejected.ndjson",
        ]
        assert not [path for path in self.folder.iterdir() if path.is_file()]


def outcomes(report: Report) -> dict[str, tuple[str, str]]:
    """By file: its status, and the code of its error."""
    return {file["name"]: (file["status"], (file["error"] or "").partition(":")[0]) for file in report["files"]}


def errors(report: Report) -> str:
    """All errors, each of which must be one line."""
    said = [file["error"] for file in report["files"] if file["error"]]
    assert all(hostile.is_safe(error) for error in said)
    return "\n".join(said)


# --- File systems ----------------------------------------------------------------------------------------------------


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """A small file system of its own on `folder`."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a file system takes root on Linux")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no file system can be mounted here: {made.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk up to the last byte; return the file that does it."""
    ballast = folder / ".ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                continue
    return ballast


def test_a_full_disk_keeps_what_needs_quarantine_in_landing(load: Load, query: Query, landing: Path) -> None:
    with mounted(landing, "size=1m"):
        drop = Drop(landing)
        ballast = fill(landing)

        code, report = load()

        assert code == 1
        assert outcomes(report) == {
            "clean.ndjson": ("loaded", ""),
            "mixed.ndjson": ("failed", "failed"),
            "refused.ndjson.gz": ("refused", "not_moved"),
        }
        assert errors(report).count("No space left on device") == 2
        assert query("SELECT count(*) FROM events") == [(1,)]
        assert sorted(path.name for path in landing.glob("quarantine/*")) == []
        ballast.unlink()
        assert load()[0] == 1  # refused is refused
        drop.assert_done(query)


def test_a_disk_that_fills_up_amid_many_rejects_loads_nothing_of_the_file(
    load: Load, query: Query, landing: Path
) -> None:
    with mounted(landing, "size=2m"):
        write_ndjson(landing / "a.ndjson", event(), *[BAD] * 10_000)

        code, report = load()

        assert (code, outcomes(report)) == (1, {"a.ndjson": ("failed", "failed")})
        assert "No space left on device" in errors(report)
        assert query("SELECT count(*) FROM events") == [(0,)]
        assert list(landing.glob("quarantine/.*")) == []
        remount(landing, "size=64m")
        assert load()[0] == 3
        assert len(quarantined(landing)) == 10_000
        assert query("SELECT count(*) FROM events") == [(1,)]


def test_a_disk_without_room_for_the_archive_keeps_the_loaded_file(load: Load, query: Query, landing: Path) -> None:
    with mounted(landing, "size=1m,nr_inodes=20"):
        write_ndjson(landing / "a.ndjson", event())
        ballast = landing / ".ballast"
        ballast.mkdir()
        for number in range(20):
            try:
                (ballast / str(number)).touch()
            except OSError:
                break

        code, report = load()

        assert (code, outcomes(report)) == (1, {"a.ndjson": ("loaded", "not_moved")})
        assert "No space left on device" in errors(report)
        shutil.rmtree(ballast)
        code, report = load()
        assert (code, outcomes(report)["a.ndjson"][0]) == (0, "skipped")
        assert query("SELECT count(*) FROM events") == [(1,)]
        assert len(list(landing.glob("archive/*/a.*"))) == 1


def test_a_landing_folder_that_became_read_only_loses_nothing(load: Load, query: Query, landing: Path) -> None:
    with mounted(landing, "size=1m"):
        drop = Drop(landing)
        remount(landing, "ro")

        code, report = load()

        assert code == 1
        assert outcomes(report) == {
            "clean.ndjson": ("loaded", "not_moved"),
            "mixed.ndjson": ("failed", "failed"),
            "refused.ndjson.gz": ("refused", "not_moved"),
        }
        assert errors(report).count("Read-only file system") == 3
        remount(landing, "rw")
        load()
        drop.assert_done(query)


def elsewhere() -> Path:
    """A folder on another file system than temporary files."""
    for candidate in (Path("/dev/shm"), Path("/run"), Path.home()):
        if os.access(candidate, os.W_OK) and candidate.stat().st_dev != Path(tempfile.gettempdir()).stat().st_dev:
            return Path(tempfile.mkdtemp(prefix="loader-tests-", dir=candidate))
    pytest.skip("there is but one file system to write to")


@contextmanager
def by_mount(folder: Path) -> Iterator[None]:
    folder.mkdir()
    with mounted(folder, "size=1m"):
        yield


@contextmanager
def by_symlink(folder: Path) -> Iterator[None]:
    target = elsewhere()
    try:
        folder.symlink_to(target)
        yield
    finally:
        folder.unlink()
        shutil.rmtree(target)


@pytest.mark.parametrize("other_file_system", [by_mount, by_symlink])
def test_an_archive_on_another_file_system_takes_no_file_and_says_so(
    load: Load, query: Query, landing: Path, other_file_system: Callable[[Path], Any]
) -> None:
    drop = Drop(landing)
    with other_file_system(landing / "archive"):
        code, report = load()
        assert code == 1
        assert outcomes(report)["clean.ndjson"] == ("loaded", "not_moved")
        assert outcomes(report)["mixed.ndjson"] == ("loaded", "not_moved")
        assert errors(report).count("Invalid cross-device link") == 2
        assert list(landing.glob("archive/*/*")) == []
        code, report = load()  # Nor does it the second time; nothing is loaded twice.
        assert (code, report["inserted"]) == (1, 0)
    shutil.rmtree(landing / "archive", ignore_errors=True)
    assert load()[0] == 0
    drop.assert_done(query)


@pytest.mark.parametrize("other_file_system", [by_mount, by_symlink])
def test_a_quarantine_on_another_file_system_takes_rows_but_no_file(
    load: Load, query: Query, landing: Path, other_file_system: Callable[[Path], Any]
) -> None:
    Drop(landing)
    with other_file_system(landing / "quarantine"):
        code, report = load()
        assert code == 1
        assert outcomes(report)["refused.ndjson.gz"] == ("refused", "not_moved")
        assert "Invalid cross-device link" in errors(report)
        assert [(row["source"], row["line"]) for row in quarantined(landing)] == [("mixed.ndjson", 2)]
        assert (landing / "refused.ndjson.gz").exists()
    shutil.rmtree(landing / "quarantine", ignore_errors=True)
    assert load()[0] == 1
    assert len(list((landing / "quarantine").glob("refused.*.ndjson.gz"))) == 1
    assert query("SELECT count(*) FROM events") == [(2,)]


# --- Rights ----------------------------------------------------------------------------------------------------------

# Everything is imported before root's rights are given up: the interpreter may lie where nobody else may look.
_UNPRIVILEGED = """
import os, sys
import loader.archive, loader.cli, loader.landing, loader.names, loader.pipeline, loader.progress, loader.run
import loader.workers, pandera.polars
from loader import contract, resources
for path in resources.bundled("sql").rglob("*.sql"):
    path.read_bytes()
import encodings.idna, hashlib, json, psycopg
from loader import ndjson, validate
rows = ndjson.Rows()
decoder = ndjson.Decoder(contract.load(), max_line_bytes=1024)
decoder.add(rows, b"{}", file_id=1, first_line=1)
validate.validate(decoder.block(rows), contract.load())
user = int(sys.argv[1])
if user != os.geteuid():
    os.setgroups([])
    os.setgid(65534)
    os.setuid(user)
sys.exit(loader.cli.main(sys.argv[2:]))
"""


@pytest.fixture
def user(database: str) -> int:
    """An account that isn't root's and may connect: where the tests run as root, the one of the embedded server."""
    if os.geteuid() != 0:
        return os.geteuid()
    host = str(conninfo_to_dict(database).get("host", ""))
    owner = Path(host).stat().st_uid if host.startswith("/") else 0
    return owner or NOBODY


@pytest.fixture
def common(user: int) -> Iterator[Path]:
    """A landing folder that `user` may reach and owns."""
    folder = Path(tempfile.mkdtemp(prefix="loader-tests-"))
    folder.chmod(0o755)
    inside = folder / "landing"
    inside.mkdir()
    os.chown(inside, user, -1)
    try:
        yield inside
    finally:
        for path in (inside, *inside.rglob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(folder)


Unprivileged = Callable[..., tuple[int, Report, str]]


@pytest.fixture
def load_unprivileged(database: str, common: Path, user: int) -> Unprivileged:
    """`loader run` by a user who isn't root: exit code, report, stderr."""

    def run(*arguments: str) -> tuple[int, Report, str]:
        for path in common.rglob("*"):
            os.chown(path, user, -1)
        where = ["--landing", str(common), "--database-url", database]
        command = ["run", "--json", "--quiet", "--settle", "0", *where, *arguments]
        done = subprocess.run(
            [sys.executable, "-c", _UNPRIVILEGED, str(user), *command], capture_output=True, text=True, check=False
        )
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, json.loads(done.stdout or "{}"), done.stderr

    return run


def test_a_landing_folder_that_may_not_be_read_is_exit_code_2(load_unprivileged: Unprivileged, common: Path) -> None:
    common.chmod(0)
    code, report, said = load_unprivileged()
    assert (code, report) == (2, {})
    assert said == f"loader: landing folder {common}: Permission denied\n"


def test_a_file_that_may_not_be_read_stays_and_stops_no_other(
    load_unprivileged: Unprivileged, query: Query, common: Path
) -> None:
    drop = Drop(common)
    (common / "mixed.ndjson").chmod(0)
    code, report, said = load_unprivileged()
    assert code == 1
    assert outcomes(report) == {
        "clean.ndjson": ("loaded", ""),
        "mixed.ndjson": ("failed", "file_unreadable"),
        "refused.ndjson.gz": ("refused", "wrong_extension"),
    }
    assert "mixed.ndjson: failed: file_unreadable: the file can't be opened: Permission denied\n" in said
    (common / "mixed.ndjson").chmod(0o644)
    assert load_unprivileged()[0] == 3
    drop.assert_done(query)


def test_a_landing_folder_that_may_not_be_written_to_keeps_its_files(
    load_unprivileged: Unprivileged, query: Query, common: Path
) -> None:
    drop = Drop(common)
    common.chmod(0o555)
    code, report, _ = load_unprivileged()
    assert code == 1
    assert outcomes(report) == {
        "clean.ndjson": ("loaded", "not_moved"),
        "mixed.ndjson": ("failed", "failed"),
        "refused.ndjson.gz": ("refused", "not_moved"),
    }
    assert errors(report).count("Permission denied") == 3
    common.chmod(0o755)
    load_unprivileged()
    drop.assert_done(query)


def test_an_archive_that_may_not_be_written_to_keeps_loaded_files_in_landing(
    load_unprivileged: Unprivileged, query: Query, common: Path
) -> None:
    drop = Drop(common)
    (common / "archive").mkdir(mode=0o555)
    code, report, _ = load_unprivileged()
    assert code == 1
    assert outcomes(report)["clean.ndjson"] == outcomes(report)["mixed.ndjson"] == ("loaded", "not_moved")
    (common / "archive").chmod(0o755)
    assert load_unprivileged()[0] == 0
    drop.assert_done(query)


@pytest.mark.parametrize("mode", [0o555, 0])
def test_a_quarantine_that_may_not_be_written_to_keeps_what_needs_it_in_landing(
    load_unprivileged: Unprivileged, query: Query, common: Path, mode: int
) -> None:
    drop = Drop(common)
    (common / "quarantine").mkdir()
    (common / "quarantine").chmod(mode)
    code, report, _ = load_unprivileged()
    assert code == 1
    assert outcomes(report) == {
        "clean.ndjson": ("loaded", ""),
        "mixed.ndjson": ("failed", "failed"),
        "refused.ndjson.gz": ("refused", "not_moved"),
    }
    assert errors(report).count("Permission denied") == 2
    (common / "quarantine").chmod(0o755)
    load_unprivileged()
    drop.assert_done(query)


def test_a_folder_below_landing_that_may_not_be_read_stops_no_other(
    load_unprivileged: Unprivileged, query: Query, common: Path
) -> None:
    write_ndjson(common / "a.ndjson", event())
    (common / "closed").mkdir()
    (common / "closed").chmod(0)
    load_unprivileged("--recursive")
    assert query("SELECT count(*) FROM events") == [(1,)]


# --- Files that change while they are read ---------------------------------------------------------------------------


def meanwhile(monkeypatch: pytest.MonkeyPatch, action: Callable[[], object], *, reading: int = 1) -> None:
    """Do something to a file between its opening and the first read of its rows, when it is read for that time."""
    whole = lines.chunks
    readings = count(1)

    def chunks(*arguments: Any, **options: Any) -> Any:
        if next(readings) == reading:
            action()
        return whole(*arguments, **options)

    monkeypatch.setattr(decode, "chunks", chunks)


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 30)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(hostile.many(1))


def overwrite(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.write(hostile.many(1))
        file.truncate(size)
    os.utime(path, ns=(0, 0))


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("change", [truncate, append, overwrite, empty])
def test_a_file_that_is_changed_while_it_is_read_is_left_for_the_next_run(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    path = write_ndjson(landing / "a.ndjson", *(event() for _ in range(3)))
    write_ndjson(landing / "beside.ndjson", event(user_id="beside"))
    meanwhile(monkeypatch, lambda: change(path))

    code, report = load()

    assert (code, outcomes(report)["a.ndjson"]) == (1, ("failed", "file_changed"))
    assert outcomes(report)["beside.ndjson"] == ("loaded", "")
    assert query("SELECT user_id FROM events") == [("beside",)]
    assert list(landing.glob("quarantine/*")) == []
    monkeypatch.undo()
    content = path.read_bytes()
    _, report = load()
    assert outcomes(report) == {"a.ndjson": ("loaded", "")}
    assert report["read"] == len(content.splitlines())
    assert next(landing.glob("archive/*/a.*")).read_bytes() == content


@pytest.mark.parametrize("change", [truncate])
def test_a_gzip_that_is_changed_while_it_is_read_is_left_for_the_next_run(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    content = gzip.compress(hostile.many(3000))
    path = landing / "a.ndjson.gz"
    path.write_bytes(content)
    meanwhile(monkeypatch, lambda: change(path))
    code, report = load()
    assert (code, outcomes(report)) == (1, {"a.ndjson.gz": ("failed", "file_changed")})
    assert list(landing.glob("quarantine/*")) == []
    assert query("SELECT count(*) FROM loader_files") == [(0,)]


def test_a_gzip_that_was_changed_while_it_was_read_is_loaded_once_it_is_whole(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = gzip.compress(hostile.many(300))
    path = landing / "a.ndjson.gz"
    path.write_bytes(content)
    meanwhile(monkeypatch, lambda: truncate(path))
    assert load()[0] == 1
    monkeypatch.undo()
    path.write_bytes(content)
    assert load()[1]["inserted"] == 300
    assert query("SELECT count(*) FROM events") == [(300,)]


def test_a_file_that_is_deleted_while_it_is_read_is_loaded_from_the_open_handle(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    meanwhile(monkeypatch, path.unlink)
    code, report = load()
    assert (code, outcomes(report)) == (0, {"a.ndjson": ("loaded", "")})
    assert query("SELECT count(*) FROM events") == [(1,)]
    assert list(landing.glob("archive/*/*")) == []


def test_a_file_that_is_deleted_before_its_conflicts_are_read_again_loads_nothing(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = event()
    content = write_ndjson(landing / "a.ndjson", one, one | {"user_id": "another"}).read_bytes()
    meanwhile(monkeypatch, (landing / "a.ndjson").unlink)
    _, report = load()
    assert outcomes(report) == {"a.ndjson": ("busy", "another loader took it, or its producer")}
    assert query("SELECT count(*) FROM events") == [(0,)]
    assert list(landing.glob("quarantine/*")) == []
    monkeypatch.undo()
    (landing / "a.ndjson").write_bytes(content)
    code, report = load()
    assert (code, report["inserted"], report["conflicts"]) == (3, 1, 1)


def test_a_file_that_is_changed_while_its_conflicts_are_read_again_loads_nothing(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decode, "BLOCK_BYTES", 1_000)
    one = event()
    path = write_ndjson(landing / "a.ndjson", one, one | {"user_id": "another"}, *(event() for _ in range(50)))
    changed = path.read_bytes().replace(b"another", b"changed")
    meanwhile(monkeypatch, lambda: path.write_bytes(changed), reading=2)
    code, report = load()
    assert (code, outcomes(report)) == (1, {"a.ndjson": ("failed", "file_changed")})
    assert query("SELECT count(*) FROM events") == [(0,)]
    assert list(landing.glob("quarantine/*")) == []


def test_a_file_that_is_replaced_while_it_is_read_is_loaded_and_so_is_the_new_one(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    new = write_ndjson(landing / "new.tmp", event())
    meanwhile(monkeypatch, lambda: new.rename(path))
    assert load()[1]["inserted"] == 1
    assert path.exists()
    monkeypatch.undo()
    assert load()[1]["inserted"] == 1
    assert query("SELECT count(*) FROM events") == [(2,)]


def test_a_file_that_is_replaced_between_its_discovery_and_its_opening_is_left_for_the_next_run(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    found = landing_folder.discover(landing, settle=0, recursive=False)
    write_ndjson(landing / "new.tmp", event()).rename(path)
    monkeypatch.setattr(landing_folder, "discover", lambda *_, **__: found)
    code, report = load()
    assert (code, outcomes(report)) == (1, {"a.ndjson": ("failed", "file_changed")})
    monkeypatch.undo()
    assert load()[1]["inserted"] == 1
    assert query("SELECT count(*) FROM events") == [(1,)]


@pytest.mark.parametrize("replacement", ["fifo", "symlink", "folder"])
def test_a_file_that_became_something_else_is_not_opened(
    load: Load, landing: Path, monkeypatch: pytest.MonkeyPatch, replacement: str
) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    found = landing_folder.discover(landing, settle=0, recursive=False)
    target = path.rename(landing / "target")
    {"fifo": os.mkfifo, "symlink": lambda link: link.symlink_to(target), "folder": Path.mkdir}[replacement](path)
    monkeypatch.setattr(landing_folder, "discover", lambda *_, **__: found)
    code, report = load()
    assert (code, report["inserted"]) == (1, 0)
    assert outcomes(report)["a.ndjson"][0] == "failed"
    assert target.exists()


def test_a_landing_folder_that_is_removed_during_a_run_ends_it_quietly(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, bad = event(), BAD
    for name in ("a", "b"):
        write_ndjson(landing / f"{name}.ndjson", one | {"user_id": name}, bad)
    away = landing.with_name("away")
    meanwhile(monkeypatch, lambda: landing.rename(away))
    _, report = load()
    assert {status for status, _ in outcomes(report).values()} <= {"busy", "loaded", "failed"}
    monkeypatch.undo()
    for path in away.glob("*.ndjson"):
        landing.mkdir(exist_ok=True)
        path.rename(landing / path.name)
    load()
    assert query("SELECT count(*) FROM events") == [(1,)]
    assert sorted((row["source"], row["line"]) for row in quarantined(landing)) == [
        ("a.ndjson", 2),
        ("b.ndjson", 1),
        ("b.ndjson", 2),
    ]


# --- Clocks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "mtime", [0, -1, -(2**31), 1, 2**31, 2**32, 253_402_300_800], ids=lambda mtime: f"{mtime} s since 1970"
)
def test_a_file_of_any_time_is_loaded(load: Load, landing: Path, mtime: int) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    os.utime(path, (mtime, mtime))
    assert load("--settle", "0.01")[1]["inserted"] == 1
    assert len(list(landing.glob("archive/*/a.*"))) == 1


@pytest.mark.parametrize("years", [-60, -1, 100])
def test_a_clock_that_jumps_changes_no_outcome(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    drop = Drop(landing)
    there = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: there() + years * 31_557_600 * 10**9)
    assert load("--settle", "0.01")[0] == 1
    drop.assert_done(query)


def test_a_clock_that_jumps_back_between_two_runs_loads_nothing_twice(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = write_ndjson(landing / "a.ndjson", event()).read_bytes()
    load()
    there = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: there() - 10**18)
    (landing / "a.ndjson").write_bytes(content)
    assert outcomes(load("--settle", "0.01")[1])["a.ndjson"][0] == "skipped"
    assert query("SELECT count(*) FROM events") == [(1,)]


# --- Names that are taken --------------------------------------------------------------------------------------------


def today(landing: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The archive's folder of today, which is made to be a certain day."""

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Clock:
            return cls(2024, 5, 1, tzinfo=tz)

    monkeypatch.setattr(archive, "datetime", Clock)
    folder = landing / "archive" / "2024-05-01"
    folder.mkdir(parents=True)
    return folder


def test_a_file_never_replaces_what_has_its_name_in_the_archive(
    load: Load, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    found = landing_folder.discover(landing, settle=0, recursive=False)[0]
    with opening.opened_as_found(found) as file:
        digest = opening.fingerprint(file)
    folder = today(landing, monkeypatch)
    taken = [names.stored_name(path.name, digest, ".ndjson", number) for number in range(3)]
    (folder / taken[0]).write_text("another file")
    (folder / taken[1]).mkdir()
    (folder / taken[2]).write_text("one more")
    assert load()[0] == 0
    assert (folder / taken[0]).read_text() == "another file"
    assert (folder / taken[2]).read_text() == "one more"
    assert (folder / names.stored_name(path.name, digest, ".ndjson", 3)).is_file()


@pytest.mark.parametrize("taken", ["archive", "archive/2024-05-01"])
def test_a_file_where_the_archive_should_be_keeps_loaded_files_in_landing(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    drop = Drop(landing)
    folder = today(landing, monkeypatch)
    folder.rmdir()
    if taken == "archive":
        folder.parent.rmdir()
    (landing / taken).write_text("a file")
    code, report = load()
    assert code == 1
    assert outcomes(report)["clean.ndjson"] == ("loaded", "not_moved")
    (landing / taken).unlink()
    assert load()[0] == 0
    drop.assert_done(query)


@pytest.fixture
def lost(landing: Path) -> Path:
    """A file with one event, which its file system is about to lose."""
    return write_ndjson(landing / "lost.ndjson", event())


def opened_as(path: Path) -> Callable[[int], bool]:
    """Say of an open file whether it is the one that is at `path` now."""
    inode, fstat = path.stat().st_ino, os.fstat
    return lambda descriptor: fstat(descriptor).st_ino == inode


def assert_only_it_failed(load: Load, query: Query, drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files beside it are dealt with; it is loaded once the file system is back."""
    _, report = load()
    assert outcomes(report) == {
        "clean.ndjson": ("loaded", ""),
        "lost.ndjson": ("failed", "file_unreadable"),
        "mixed.ndjson": ("loaded", ""),
        "refused.ndjson.gz": ("refused", "wrong_extension"),
    }
    monkeypatch.undo()
    code, report = load()
    assert (code, outcomes(report)) == (0, {"lost.ndjson": ("loaded", "")})
    assert query("SELECT count(*) FROM events") == [(len(drop.ids) + 1,)]


@pytest.mark.parametrize("look", range(1, 5))
def test_a_file_that_can_no_longer_be_looked_at_costs_no_other(
    load: Load, query: Query, landing: Path, lost: Path, monkeypatch: pytest.MonkeyPatch, look: int
) -> None:
    drop = Drop(landing)
    fstat, is_lost = os.fstat, opened_as(lost)
    looks = 0

    def look_at(descriptor: int) -> os.stat_result:
        nonlocal looks
        looks += is_lost(descriptor)
        if is_lost(descriptor) and looks >= look:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return fstat(descriptor)

    monkeypatch.setattr(os, "fstat", look_at)
    assert_only_it_failed(load, query, drop, monkeypatch)


def test_a_file_whose_first_bytes_cannot_be_read_costs_no_other(
    load: Load, query: Query, landing: Path, lost: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = Drop(landing)
    is_lost = opened_as(lost)

    class Failing(FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if is_lost(self.fileno()):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

    monkeypatch.setattr(opening, "FileIO", Failing)
    monkeypatch.setattr(opening, "_AT_ONCE_BYTES", 1)
    assert_only_it_failed(load, query, drop, monkeypatch)


def test_a_small_file_that_cannot_be_read_costs_no_other(
    load: Load, query: Query, landing: Path, lost: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = Drop(landing)
    read, is_lost = os.read, opened_as(lost)

    def fail_to_read(descriptor: int, size: int, /) -> bytes:
        if is_lost(descriptor):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read(descriptor, size)

    monkeypatch.setattr(os, "read", fail_to_read)
    assert_only_it_failed(load, query, drop, monkeypatch)


def test_a_small_file_is_read_to_its_end_however_little_each_read_returns(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ndjson(landing / "a.ndjson", *[event() for _ in range(20)])
    read = os.read
    monkeypatch.setattr(os, "read", lambda descriptor, size: read(descriptor, min(size, 100)))
    assert load()[0] == 0
    assert query("SELECT count(*) FROM events") == [(20,)]


@pytest.mark.parametrize("read", [2, 3, 6, 12, 18])
def test_a_parquet_file_that_can_no_longer_be_read_is_not_taken_for_a_damaged_one(
    load: Load, landing: Path, monkeypatch: pytest.MonkeyPatch, read: int
) -> None:
    pl.DataFrame([event(properties="{}")]).write_parquet(landing / "a.parquet")
    reads = 0

    class Failing(FileIO):
        def read(self, size: int | None = -1, /) -> bytes:
            nonlocal reads
            reads += 1
            if reads >= read:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(size)

    monkeypatch.setattr(opening, "FileIO", Failing)
    monkeypatch.setattr(opening, "_AT_ONCE_BYTES", 1)
    _, report = load()
    assert outcomes(report) == {"a.parquet": ("failed", "file_unreadable")}
    monkeypatch.undo()
    assert load()[0] == 0


def test_a_file_that_cannot_be_closed_was_read_all_the_same(
    load: Load, query: Query, lost: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a file system of a program's own that has gone away."""
    close, is_lost = os.close, opened_as(lost)

    def fail_to_close(descriptor: int) -> None:
        fails = is_lost(descriptor)
        close(descriptor)
        if fails:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))

    monkeypatch.setattr(os, "close", fail_to_close)
    code, report = load()
    assert (code, outcomes(report)) == (0, {"lost.ndjson": ("loaded", "")})
    assert query("SELECT count(*) FROM events") == [(1,)]


# Two contents whose SHA-256 begin with the same eight digits: 1eb9c94b.
ALIKE = [b'{"row":20358}', b'{"row":39225}']


def test_contents_whose_hashes_begin_alike_keep_their_rejects_apart(load: Load, landing: Path) -> None:
    for content in ALIKE:
        write_ndjson(landing / "a.ndjson", content)
        assert load()[0] == 3
    assert sorted(row["raw"].encode() for row in quarantined(landing)) == ALIKE


def test_a_crash_after_the_commit_is_mended_by_the_next_run(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop = Drop(landing)

    def fail(_: archive.LoadedFile) -> str:
        return "the lights went out"

    from loader import settle

    monkeypatch.setattr(settle, "archive", fail)
    code, report = load()
    assert (code, outcomes(report)["clean.ndjson"]) == (1, ("loaded", "not_moved"))
    monkeypatch.undo()
    assert load()[0] == 0
    drop.assert_done(query)


def test_a_run_by_hand_on_a_file_elsewhere_leaves_it_there(database: str, tmp_path: Path, query: Query) -> None:
    path = write_ndjson(tmp_path / "a.ndjson", event())
    where = ["--landing", str(tmp_path / "nowhere"), "--database-url", database]
    assert cli.main(["run", "--quiet", *where, str(path)]) == 0
    assert path.exists()
    assert query("SELECT count(*) FROM events") == [(1,)]
