"""`loader doctor` beside the database: the program, the folders, this machine, the embedded PostgreSQL, the output."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from loader import cli
from loader.operate import checks_embedded, checks_folder, checks_host, checks_program
from loader.operate.checks_program import Host
from loader.operate.findings import Finding
from loader.settings import Settings
from tests.support import event, write_ndjson
from tests.test_environment_faults import NOBODY, mounted, remount

_NEVER = "postgresql://127.0.0.1:1/x"


@pytest.fixture
def host(landing: Path) -> Host:
    return Host(Settings(landing=landing, database_url=_NEVER))


def contents(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


# --- The command -----------------------------------------------------------------------------------------------------


def test_each_check_is_one_line_and_its_remedy_stands_below(
    landing: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    landing.rmdir()
    code = cli.main(["doctor", "--landing", str(landing), "--database-url", database])
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert code == 1
    assert captured.out == ""
    assert f"FAIL  landing: landing folder {landing}: there is none" in lines
    assert f"      mkdir -p {landing}" in lines
    assert all(line.startswith(("ok    ", "note  ", "warn  ", "FAIL  ", "      ")) for line in lines[1:-1])
    assert lines[-1].endswith(" 1 FAIL")


def test_json_is_one_object_on_stdout(landing: Path, database: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.main(["doctor", "--json", "--quiet", "--landing", str(landing), "--database-url", database])
    captured = capsys.readouterr()
    report: dict[str, Any] = json.loads(captured.out)
    assert (code, report["fail"]) == (0, 0)
    assert {"check", "level", "message", "remedy"} == set(report["checks"][0])
    assert report["ok"] + report["note"] + report["warn"] == len(report["checks"])
    assert all(line.startswith(("warn  ", "      ")) for line in captured.err.splitlines())


def test_a_password_never_comes_out(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    url = "postgresql://me:hunter2@127.0.0.1:1/db"
    assert cli.main(["doctor", "--json", "--landing", str(landing), "--database-url", url]) == 1
    captured = capsys.readouterr()
    assert "hunter2" not in captured.out + captured.err


def test_a_doctor_leaves_nothing_behind(landing: Path, database: str, tmp_path: Path) -> None:
    write_ndjson(landing / "a.ndjson", event())
    before = contents(tmp_path)
    assert cli.main(["doctor", "--quiet", "--landing", str(landing), "--database-url", database]) == 0
    assert contents(tmp_path) == before


def test_names_from_outside_are_printed_harmlessly(
    landing: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_ndjson(landing / "a\x1b[2J.ndjson", event())
    os.utime(path, (2**32, 2**32))
    assert cli.main(["doctor", "--landing", str(landing), "--database-url", database]) == 0
    said = capsys.readouterr().err
    assert "\x1b" not in said
    assert "a\\x1b[2J.ndjson" in said


# --- The program -----------------------------------------------------------------------------------------------------


def test_this_environment_is_new_enough(host: Host) -> None:
    finding = checks_program.versions(host)
    assert finding.level == "ok"
    assert "polars" in finding.message


def test_libraries_that_are_too_old_or_missing_are_named(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "importlib.metadata.requires", lambda _: ["polars>=999.1", "nonesuch>=1", "mypy>=999; extra == 'dev'"]
    )
    finding = checks_program.versions(host)
    assert finding.level == "fail"
    assert finding.remedy == "pip install 'polars>=999.1' 'nonesuch>=1'"


@pytest.mark.parametrize(
    ("switch", "level"),
    [
        ("PANDERA_VALIDATION_ENABLED=False", "note"),
        ("PANDERA_VALIDATION_DEPTH=SCHEMA_ONLY", "note"),
        ("PANDERA_VALIDATION_DEPTH=SCHEMA_AND_DATA", "ok"),
        ("PANDERA_VALIDATION_DEPTH=bogus", "fail"),
        ("PANDERA_USE_NARWHALS_BACKEND=True", "fail"),
    ],
)
def test_switches_of_pandera_are_found(switch: str, level: str, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(*switch.split("="))
    assert checks_program.pandera_switches(host).level == level


@pytest.mark.slow
def test_a_switch_that_keeps_pandera_from_being_imported_ends_no_other_check(landing: Path, database: str) -> None:
    command = [sys.executable, "-m", "loader", "doctor", "--landing", str(landing), "--database-url", database]
    environment = os.environ | {"PANDERA_VALIDATION_DEPTH": "bogus"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FAIL  pandera switches: " in done.stderr
    assert "ok    staging: " in done.stderr
    assert "ok    event key: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_contract_that_can_not_be_loaded_is_a_failure_and_ends_no_other_check(
    landing: Path, database: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "events.py").write_text("raise RuntimeError('no')")
    where = ["--landing", str(landing), "--database-url", database, "--contracts", str(tmp_path)]
    assert cli.main(["doctor", *where]) == 1
    said = capsys.readouterr().err
    assert "FAIL  contract: " in said
    assert "FAIL  columns: " in said
    assert "ok    event key: " in said


@pytest.mark.parametrize(
    ("text", "mode", "level"),
    [
        ('database_url = "postgresql://me:hunter2@h/x"', 0o644, "warn"),
        ('database_url = "postgresql://me:hunter2@h/x"', 0o640, "warn"),
        ('database_url = "host=h password=hunter2"', 0o644, "warn"),
        ('database_url = "postgresql://me:hunter2@h/x"', 0o600, "ok"),
        ('database_url = "postgresql://me@h/x"', 0o644, "ok"),
        ("jobs = 2", 0o644, "ok"),
    ],
)
def test_a_password_that_others_can_read_is_found(text: str, mode: int, level: str, host: Host, tmp_path: Path) -> None:
    config = tmp_path / "loader.toml"
    config.write_text(text)
    config.chmod(mode)
    finding = checks_program.settings_file(host._replace(config=config))
    assert finding.level == level
    assert "hunter2" not in str(finding)
    if level == "warn":
        subprocess.run(["sh", "-c", str(finding.remedy)], check=True)
        assert checks_program.settings_file(host._replace(config=config)).level == "ok"


def test_a_password_file_that_libpq_ignores_is_found(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "pgpass"
    path.write_text("h:5432:x:me:hunter2\n")
    path.chmod(0o644)
    monkeypatch.setenv("PGPASSFILE", str(path))
    assert checks_program.password_file(host).level == "warn"
    path.chmod(0o600)
    assert checks_program.password_file(host).level == "ok"


# --- Folders ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("check", [checks_folder.landing, checks_folder.archive, checks_folder.quarantine])
def test_folders_are_tried_out_and_left_as_they_were(check: checks_program.Check, host: Host) -> None:
    assert check(host).level == "ok"
    assert contents(host.settings.landing) == set()


def test_a_landing_that_is_a_file_is_a_failure(host: Host, landing: Path) -> None:
    landing.rmdir()
    landing.touch()
    assert checks_folder.landing(host).level == "fail"


def test_a_read_only_file_system_is_a_failure(host: Host, landing: Path) -> None:
    with mounted(landing, "size=1m"):
        remount(landing, "ro")
        finding = checks_folder.landing(host)
        assert finding.level == "fail"
        assert "Read-only file system" in finding.message
        assert "remount,rw" in str(finding.remedy)


def test_a_full_file_system_is_a_failure(host: Host, landing: Path) -> None:
    with mounted(landing, "size=1m"):
        with (landing / ".ballast").open("wb") as ballast:
            ballast.write(bytes(1 << 20))
        assert checks_folder.quarantine(host).level == "fail"
        assert checks_host.free_space(host).level == "fail"


def test_a_folder_for_temporary_files_that_has_no_room_is_a_warning(
    host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "temporary"
    monkeypatch.setenv("TMPDIR", str(folder))
    assert "no temporary file can be made (No such file or directory)" in checks_host.temporary_space(host).message
    folder.mkdir()
    assert checks_host.temporary_space(host).level == "ok"
    with mounted(folder, "size=1m"):
        finding = checks_host.temporary_space(host)
        assert (finding.level, finding.message.partition(":")[2][:25]) == ("warn", " 1 MB free, 400 MB may be")


@pytest.mark.parametrize("name", ["archive", "quarantine"])
def test_another_file_system_for_archive_or_quarantine_is_a_failure(name: str, host: Host, landing: Path) -> None:
    folder = landing / name
    folder.mkdir()
    with mounted(folder, "size=1m"):
        assert checks_folder.one_file_system(host).level == "fail"
        check = checks_folder.archive if name == "archive" else checks_folder.quarantine
        assert "Invalid cross-device link" in check(host).message
    assert checks_folder.one_file_system(host).level == "ok"


def test_a_file_from_the_future_is_a_warning(host: Host, landing: Path) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    assert checks_folder.waiting_files(host).level == "ok"
    os.utime(path, (time.time() + 3600,) * 2)
    assert checks_folder.waiting_files(host).level == "warn"


_UNPRIVILEGED = """
import os, sys
from pathlib import Path
from loader.operate import checks_folder
from loader.operate.checks_program import Host
from loader.settings import Settings
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
for check in checks_folder.CHECKS:
    finding = check(Host(Settings(landing=Path(sys.argv[1]))))
    print(check.__name__, finding.level, finding.message, finding.remedy, sep="|")
"""


@pytest.fixture
def common() -> Iterator[Path]:
    """A landing folder that everybody may reach, of somebody who isn't root."""
    top = Path(tempfile.mkdtemp(prefix="loader-tests-"))
    top.chmod(0o755)
    folder = top / "landing"
    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    try:
        yield folder
    finally:
        for path in (folder, *folder.glob("*")):
            if path.is_dir():
                path.chmod(0o755)
        shutil.rmtree(top)


def as_nobody(landing: Path) -> dict[str, Finding]:
    """The findings on a folder of an account that isn't root."""
    done = subprocess.run(
        [sys.executable, "-c", _UNPRIVILEGED, str(landing)], capture_output=True, text=True, check=True
    )
    rows = [line.split("|") for line in done.stdout.splitlines()]
    return {name: Finding(level, message, remedy) for name, level, message, remedy in rows}  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["", "archive", "quarantine"])
def test_a_folder_without_rights_is_a_failure_and_the_remedy_mends_it(name: str, common: Path) -> None:
    folder = common / name
    folder.mkdir(exist_ok=True)
    if os.geteuid() == 0:
        os.chown(folder, NOBODY, NOBODY)
    folder.chmod(0o555)
    finding = as_nobody(common)[name or "landing"]
    assert finding.level == "fail"
    assert finding.remedy == f"chmod u+rwx {folder}"
    subprocess.run(["sh", "-c", finding.remedy], check=True)
    assert as_nobody(common)[name or "landing"].level == "ok"


def test_files_that_can_not_be_read_are_named(common: Path) -> None:
    path = write_ndjson(common / "a.ndjson", event())
    path.chmod(0)
    finding = as_nobody(common)["waiting_files"]
    assert finding.level == "fail"
    assert "a.ndjson" in finding.message


@pytest.mark.skipif(os.geteuid() != 0, reason="takes root to give files to others")
def test_files_of_others_in_a_sticky_folder_can_not_be_moved(common: Path) -> None:
    write_ndjson(common / "a.ndjson", event())
    os.chown(common, 0, 0)
    common.chmod(0o1777)
    finding = as_nobody(common)["waiting_files"]
    assert finding.level == "fail"
    assert "sticky" in finding.message


# --- This machine ----------------------------------------------------------------------------------------------------


def test_a_landing_in_memory_is_a_warning(host: Host, landing: Path) -> None:
    with mounted(landing, "size=1m"):
        finding = checks_host.file_system(host)
        assert finding.level == "warn"
        assert "in memory" in finding.message


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "fuse.s3fs", "ceph"])
def test_a_network_file_system_is_known_by_its_name(
    kind: str, host: Host, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = f"/dev/a / ext4 rw 0 0\nsrv:/x {str(landing.parent).replace(' ', chr(92) + '040')} {kind} rw,vers=4 0 0\n"
    monkeypatch.setattr(checks_host, "mounts", lambda _: _mounts(table))
    finding = checks_host.file_system(host)
    assert finding.level == "warn"
    assert kind in finding.message


_mounts: Callable[[str], list[checks_host.Mount]] = checks_host.mounts


def test_the_deepest_mount_and_there_the_last_is_the_one_that_counts(tmp_path: Path) -> None:
    spaced = tmp_path / "a b"
    (spaced / "c").mkdir(parents=True)
    quoted = str(spaced).replace(" ", "\\040")
    known = _mounts(f"a / ext4 rw 0 0\nb {quoted} nfs rw 0 0\nc {quoted} xfs rw 0 0\nd {quoted}x tmpfs rw 0 0\n")
    found = checks_host.mount_of(spaced / "c", known)
    assert found is not None
    assert (found.point, found.kind) == (spaced, "xfs")


def test_a_file_system_with_another_clock_is_a_warning(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks_host.file_clock(host).level == "ok"
    now = time.time
    monkeypatch.setattr("loader.operate.checks_host.time.time", lambda: now() + 60)
    finding = checks_host.file_clock(host)
    assert finding.level == "warn"
    assert "58 s apart" in finding.message


def test_the_limits_of_inotify_are_read_and_tried(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not checks_host._INOTIFY.is_dir():
        pytest.skip("no inotify here")
    assert checks_host.inotify(host).level in ("ok", "note")
    (tmp_path / "max_user_watches").write_text("1\n")
    (tmp_path / "max_user_instances").write_text("1\n")
    monkeypatch.setattr(checks_host, "_INOTIFY", tmp_path)
    finding = checks_host.inotify(host)
    assert finding.level == "warn"
    assert "fs.inotify.max_user_watches=" in str(finding.remedy)


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="takes root on Linux")
def test_an_account_without_an_inotify_instance_left_is_told(common: Path) -> None:
    code = f"""
import ctypes, os, resource
from pathlib import Path
from loader.operate import checks_host
from loader.operate.checks_program import Host
from loader.settings import Settings
limit = int(Path("/proc/sys/fs/inotify/max_user_instances").read_text())
if limit > 2000:
    raise SystemExit("skip")
resource.setrlimit(resource.RLIMIT_NOFILE, (limit + 100, limit + 100))
os.setuid(60123)
while ctypes.CDLL(None).inotify_init1(0) >= 0:
    pass
print(checks_host.inotify(Host(Settings(landing=Path({str(common)!r})))).message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if "skip" in done.stderr:
        pytest.skip("too many instances are allowed")
    assert "no more inotify instance can be had" in done.stdout, done.stderr


# --- The embedded PostgreSQL -----------------------------------------------------------------------------------------


@pytest.fixture
def own(landing: Path, tmp_path: Path) -> Host:
    """No database is named: the embedded one is meant."""
    return Host(Settings(landing=landing, embedded=tmp_path / ".loader"))


def test_an_embedded_server_that_is_not_made_yet_is_a_note_and_is_not_made(own: Host) -> None:
    assert checks_embedded.embedded(own).level == "note"
    assert not own.settings.embedded.exists()


def test_data_of_another_major_version_is_a_failure(own: Host) -> None:
    data = own.settings.embedded / "postgres" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("16\n")
    if os.geteuid() == 0:
        for path in (data, data / "PG_VERSION", data.parent):
            os.chown(path, NOBODY, NOBODY)
        for above in (data, *data.parents[:-1]):
            if above.stat().st_uid in (0, NOBODY) and str(above) not in ("/tmp", "/"):
                above.chmod(0o755)
    finding = checks_embedded.embedded(own)
    assert finding.level == "fail"
    assert "was made by PostgreSQL 16" in finding.message


@pytest.fixture
def home() -> Iterator[Host]:
    """An embedded PostgreSQL that was never started, in a folder that the server's account can reach."""
    top = Path(tempfile.mkdtemp(prefix="loader-tests-"))
    top.chmod(0o755)
    (top / ".loader" / "postgres").mkdir(parents=True)
    try:
        yield Host(Settings(landing=top, embedded=top / ".loader"))
    finally:
        shutil.rmtree(top)


def test_a_server_that_crashed_is_a_note(home: Host) -> None:
    assert checks_embedded.embedded_server(home).message.startswith("the server is down, and ended in order")
    data = home.settings.embedded / "postgres" / "data"
    data.mkdir()
    (data / "postmaster.pid").write_text("1\n")
    if os.geteuid() == 0:
        os.chown(data, NOBODY, NOBODY)
    finding = checks_embedded.embedded_server(home)
    assert finding.level == "note"
    assert "did not end in order" in finding.message


@pytest.mark.parametrize(
    ("held", "says"),
    [
        (["control.lock"], "starting or stopping"),
        (["server.lock"], "nobody uses it"),
        (["server.lock", "users.lock"], "up, and in use"),
    ],
)
def test_who_holds_the_locks_tells_whether_the_server_is_in_use(held: list[str], says: str, home: Host) -> None:
    assert checks_embedded.embedded_server(home).level == "ok"
    files = [(home.settings.embedded / "postgres" / name).open("a+b") for name in held]
    try:
        for file in files:
            fcntl.flock(file, fcntl.LOCK_SH if "users" in file.name else fcntl.LOCK_EX)
        assert says in checks_embedded.embedded_server(home).message
    finally:
        for file in files:
            file.close()
