"""Retention: what goes, what stays, and that nothing is removed that the loader didn't put there."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loader import cli, ledger
from loader.operate.prune import Pruned, prune
from loader.settings import Settings
from tests.support import Load, Query, event, write_ndjson
from tests.test_environment_faults import mounted, remount

Prune = Callable[..., tuple[int, dict[str, Any]]]
_DAY = 86_400


@pytest.fixture
def pruned(database: str, landing: Path, capsys: pytest.CaptureFixture[str]) -> Prune:
    """`loader prune` on the test's landing folder and database; returns the exit code and the JSON."""

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        where = ["--landing", str(landing), "--database-url", database]
        code = cli.main(["prune", "--json", "--quiet", *where, *arguments])
        return code, json.loads(capsys.readouterr().out)

    return run


def archived(load: Load, landing: Path, name: str = "a.ndjson", *, days: int) -> Path:
    """A file that was loaded, in the folder of a day so long ago."""
    path = write_ndjson(landing / name, event())
    assert load(str(path))[0] == 0
    (now,) = (landing / "archive").glob(f"*/{name.partition('.')[0]}.*")
    then = day_folder(landing, days)
    return now.rename(then / now.name)


def day_folder(landing: Path, days: int) -> Path:
    folder = landing / "archive" / (datetime.now(UTC).date() - timedelta(days=days)).isoformat()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def contents(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def later(settings: Settings, days: float, *, delete: bool = True) -> Pruned:
    return prune(settings, delete=delete, now=time.time() + days * _DAY)


# --- Archive ---------------------------------------------------------------------------------------------------------


def test_without_a_setting_nothing_is_pruned(load: Load, landing: Path, pruned: Prune) -> None:
    path = archived(load, landing, days=5000)
    code, report = pruned("--delete")
    assert (code, report["files"], report["folders"]) == (0, 0, [])
    assert path.exists()


def test_a_dry_run_shows_what_would_go_and_touches_nothing(load: Load, landing: Path, pruned: Prune) -> None:
    path = archived(load, landing, days=31)
    code, report = pruned("--archive-days", "30")
    folder = f"archive/{path.parent.name}"
    assert code == 0
    assert report == {
        "deleted": False,
        "files": 1,
        "bytes": path.stat().st_size,
        "folders": [{"folder": folder, "files": 1, "bytes": path.stat().st_size}],
        "removed_folders": [folder],
        "kept": [],
        "failed": [],
    }


def test_old_files_and_their_empty_folders_go_and_young_ones_stay(load: Load, landing: Path, pruned: Prune) -> None:
    old = archived(load, landing, "old.ndjson", days=31)
    young = archived(load, landing, "young.ndjson", days=30)
    code, report = pruned("--archive-days", "30", "--delete")
    assert (code, report["files"], report["deleted"]) == (0, 1, True)
    assert not old.parent.exists()
    assert young.exists()


def test_the_setting_can_come_from_the_environment(
    load: Load, landing: Path, pruned: Prune, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archived(load, landing, days=3)
    monkeypatch.setenv("LOADER_ARCHIVE_DAYS", "2")
    assert pruned("--delete")[1]["files"] == 1
    assert not path.exists()


def test_an_empty_day_folder_goes_only_when_it_is_old(landing: Path, pruned: Prune) -> None:
    old, young = day_folder(landing, 11), day_folder(landing, 0)
    assert pruned("--archive-days", "10", "--delete")[0] == 0
    assert not old.exists()
    assert young.exists()


def test_a_file_that_the_ledger_does_not_know_stays(load: Load, landing: Path, query: Query, pruned: Prune) -> None:
    path = archived(load, landing, days=31)
    query("DELETE FROM loader_files")
    code, report = pruned("--archive-days", "30", "--delete")
    assert (code, report["files"]) == (0, 0)
    assert "ledger" in report["kept"][0]["reason"]
    assert path.exists()


def test_a_file_that_the_ledger_calls_refused_stays(load: Load, landing: Path, query: Query, pruned: Prune) -> None:
    path = archived(load, landing, days=31)
    query("UPDATE loader_files SET status = 'refused'")
    assert pruned("--archive-days", "30", "--delete")[1]["files"] == 0
    assert path.exists()


def test_a_file_that_was_changed_in_the_archive_stays(load: Load, landing: Path, pruned: Prune) -> None:
    path = archived(load, landing, days=31)
    path.write_bytes(path.read_bytes() + b"\n")
    _, report = pruned("--archive-days", "30", "--delete")
    assert "content is not the one" in report["kept"][0]["reason"]
    assert path.exists()


def test_a_file_that_is_exchanged_just_before_it_would_go_stays(
    load: Load, landing: Path, pruned: Prune, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archived(load, landing, days=31)
    before = ledger.loaded

    def exchanged(*arguments: Any) -> Any:
        other = path.with_name("other")
        other.write_bytes(b"not loaded")
        other.replace(path)
        return before(*arguments)

    monkeypatch.setattr(ledger, "loaded", exchanged)
    _, report = pruned("--archive-days", "30", "--delete")
    assert report["kept"][0]["reason"] == "it changed meanwhile"
    assert path.read_bytes() == b"not loaded"


def test_a_second_copy_of_a_loaded_content_goes_too(load: Load, landing: Path, pruned: Prune) -> None:
    path = archived(load, landing, days=31)
    copy = path.with_name(path.name.replace(".ndjson", ".1.ndjson"))
    shutil.copy(path, copy)
    assert pruned("--archive-days", "30", "--delete")[1]["files"] == 2


def test_foreign_files_stay_and_keep_their_folder(load: Load, landing: Path, pruned: Prune) -> None:
    path = archived(load, landing, days=31)
    foreign = [path.with_name(name) for name in ("notes.txt", "a.ndjson", ".a.12345678.ndjson", "12345678.ndjson")]
    for other in foreign:
        shutil.copy(path, other)
    beside = path.parent.parent / "2020-13-01"
    beside.mkdir()
    code, report = pruned("--archive-days", "30", "--delete")
    assert (code, report["files"], report["removed_folders"]) == (0, 1, [])
    assert len(report["kept"]) == len(foreign) + 1
    assert contents(path.parent) == set(foreign)
    assert beside.exists()


def test_symlinks_are_never_followed(load: Load, landing: Path, tmp_path: Path, pruned: Prune) -> None:
    path = archived(load, landing, days=31)
    outside = tmp_path / "outside"
    outside.mkdir()
    target = outside / path.name
    path.rename(target)
    path.symlink_to(target)
    day_folder(landing, 40).rmdir()
    (path.parent.parent / day_name(40)).symlink_to(outside)
    code, report = pruned("--archive-days", "30", "--delete")
    assert (code, report["files"]) == (0, 0)
    assert {kept["path"] for kept in report["kept"]} == {
        f"archive/{day_name(40)}",
        f"archive/{day_name(31)}/{path.name}",
    }
    assert target.exists()
    assert path.is_symlink()


def day_name(days: int) -> str:
    return (datetime.now(UTC).date() - timedelta(days=days)).isoformat()


def test_an_archive_that_is_a_symlink_is_left_alone(load: Load, landing: Path, tmp_path: Path, pruned: Prune) -> None:
    path = archived(load, landing, days=31)
    (landing / "archive").rename(tmp_path / "elsewhere")
    (landing / "archive").symlink_to(tmp_path / "elsewhere")
    code, report = pruned("--archive-days", "30", "--delete")
    assert (code, report["files"], report["kept"][0]["path"]) == (0, 0, "archive")
    assert (tmp_path / "elsewhere" / path.parent.name / path.name).exists()


def test_a_fifo_is_no_file_and_nobody_waits_for_it(load: Load, landing: Path, pruned: Prune) -> None:
    path = archived(load, landing, days=31)
    os.mkfifo(path.with_name("b.12345678.ndjson"))
    _, report = pruned("--archive-days", "30", "--delete")
    assert report["kept"][0]["reason"] == "not a regular file"
    assert report["files"] == 1


def test_a_name_that_could_steer_a_terminal_is_printed_harmlessly(
    database: str, landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (day_folder(landing, 31) / "a\x1b[2J\n.ndjson").touch()
    where = ["--landing", str(landing), "--database-url", database]
    assert cli.main(["prune", "--archive-days", "30", *where]) == 0
    assert "\\x1b[2J\\x0a.ndjson: not a name that the loader gives" in capsys.readouterr().err


def test_a_database_that_is_down_is_exit_code_1_and_removes_nothing(load: Load, landing: Path) -> None:
    path = archived(load, landing, days=31)
    down = ["--database-url", "postgresql://127.0.0.1:1/x", "--landing", str(landing)]
    assert cli.main(["prune", "--archive-days", "30", "--delete", *down]) == 1
    assert path.exists()


def test_what_can_not_be_deleted_is_reported(load: Load, landing: Path, pruned: Prune) -> None:
    with mounted(landing, "size=1m"):
        path = archived(load, landing, days=31)
        remount(landing, "ro")
        code, report = pruned("--archive-days", "30", "--delete")
        assert (code, report["files"], report["removed_folders"]) == (1, 0, [])
        assert report["failed"][0]["path"] == f"archive/{path.parent.name}/{path.name}"
        assert "Read-only file system" in report["failed"][0]["error"]


def test_a_landing_folder_that_is_not_there_is_exit_code_2(tmp_path: Path) -> None:
    assert cli.main(["prune", "--landing", str(tmp_path / "none")]) == 2


@pytest.mark.parametrize("days", ["0", "-1", "99999999"])
def test_senseless_ages_are_exit_code_2(landing: Path, days: str) -> None:
    assert cli.main(["prune", "--landing", str(landing), "--archive-days", days]) == 2


# --- Quarantine ------------------------------------------------------------------------------------------------------


@pytest.fixture
def quarantine(load: Load, landing: Path) -> Path:
    """Quarantine as the loader leaves it: a file of rejects, a refused file, and why it was refused."""
    write_ndjson(landing / "mixed.ndjson", event(), "{")
    refused = landing / "refused.ndjson.gz"
    refused.write_bytes(b"no gzip")
    os.utime(refused, (0, 0))  # A producer may set any time.
    assert load()[0] == 1
    folder = landing / "quarantine"
    assert len(contents(folder)) == 3
    return folder


def test_quarantine_goes_by_age_and_needs_no_database(quarantine: Path, landing: Path) -> None:
    settings = Settings(landing=landing, quarantine_days=10, database_url="postgresql://127.0.0.1:1/x")
    assert later(settings, 11, delete=False).total.files == 3
    assert len(contents(quarantine)) == 3
    assert later(settings, 11).total.files == 3
    assert contents(quarantine) == set()
    assert quarantine.is_dir()


def test_young_quarantine_stays_whatever_time_its_producer_gave_it(quarantine: Path, landing: Path) -> None:
    assert later(Settings(landing=landing, quarantine_days=10), 9).total.files == 0
    assert len(contents(quarantine)) == 3


def test_foreign_files_and_symlinks_in_quarantine_stay(quarantine: Path, landing: Path, tmp_path: Path) -> None:
    target = write_ndjson(tmp_path / "target.12345678.ndjson", event())
    for name in ("mine.rejected.ndjson", "notes.error.json", ".mixed.12345678.1-1.tmp", "a.12345678"):
        (quarantine / name).touch()
    (quarantine / target.name).symlink_to(target)
    (quarantine / "sub.12345678.ndjson").mkdir()
    pruned = later(Settings(landing=landing, quarantine_days=10), 11)
    assert pruned.total.files == 3
    assert len(pruned.kept) == 6
    assert target.exists()


def test_only_what_a_setting_is_about_is_pruned(quarantine: Path, load: Load, landing: Path, database: str) -> None:
    path = archived(load, landing, days=31)
    later(Settings(landing=landing, archive_days=1000, quarantine_days=10, database_url=database), 11)
    assert path.exists()
    assert contents(quarantine) == set()
