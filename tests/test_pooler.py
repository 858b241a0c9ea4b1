"""Behind a real PgBouncer: a session that keeps its backend will do, one that doesn't is refused."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loader import cli
from tests.support import Query, event, write_ndjson
from tests.torture.harness import QUICK_RETRIES, ask, standing, terminate

pytestmark = pytest.mark.skipif(shutil.which("pgbouncer") is None, reason="PgBouncer is not installed")

_SETTINGS = """\
[databases]
* = host={host} port={port} user={user}
[pgbouncer]
listen_addr =
unix_socket_dir = {folder}
listen_port = 6432
auth_type = trust
auth_file = {folder}/users
pool_mode = {mode}
"""


@contextmanager
def pooled(database: str, mode: str) -> Iterator[str]:
    """Yield a connection string that leads through a pooler."""
    given = conninfo_to_dict(database)
    host = Path(str(given.get("host", "")))
    if not host.is_dir():
        pytest.skip("the server has no socket to reach it by")
    folder = Path(tempfile.mkdtemp(prefix="pooler-", dir="/tmp"))  # a socket's path must be short
    folder.chmod(0o777)
    user = given["user"]
    (folder / "users").write_text(f'"{user}" ""\n')
    settings = _SETTINGS.format(host=host, port=given.get("port", 5432), user=user, folder=folder, mode=mode)
    (folder / "settings").write_text(settings)
    account = ["-u", host.owner()] if os.geteuid() == 0 else []
    process = subprocess.Popen(["pgbouncer", *account, str(folder / "settings")], stderr=subprocess.PIPE)
    through = make_conninfo(database, host=str(folder), port=6432)
    try:
        while not (folder / ".s.PGSQL.6432").exists():
            assert process.poll() is None, (process.stderr and process.stderr.read()) or b""
            time.sleep(0.02)
        yield through
    finally:
        process.terminate()
        process.communicate()
        shutil.rmtree(folder)


def test_a_pool_in_transaction_mode_is_refused(
    database: str, landing: Path, query: Query, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    with pooled(database, "transaction") as through:
        code = cli.main(["run", "--settle", "0", "--landing", str(landing), "--database-url", through])
    assert code == 1
    assert "pooler in transaction mode" in capsys.readouterr().err
    assert path.exists()
    assert query("SELECT count(*) FROM events") == [(0,)]


def test_a_pool_in_session_mode_will_do(database: str, landing: Path) -> None:
    write_ndjson(landing / "a.ndjson", event())
    with pooled(database, "session") as through:
        assert cli.main(["run", "--settle", "0", "--landing", str(landing), "--database-url", through]) == 0
        with psycopg.connect(through) as connection:
            assert connection.execute("SELECT count(*) FROM events").fetchone() == (1,)


def test_a_pool_that_loses_its_server_for_a_moment_costs_no_file(database: str, landing: Path) -> None:
    write_ndjson(landing / "a.ndjson", event())
    with (
        pooled(database, "session") as through,
        standing(landing, through, "merged a unit", settings=QUICK_RETRIES) as loader,
    ):
        assert terminate(database) >= 1
        loader.go_on()
        code, _, said = loader.end()
    assert (code, said) == (0, "")
    assert ask(database, "SELECT count(*) FROM events") == [(1,)]
