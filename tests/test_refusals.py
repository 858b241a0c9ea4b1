"""A database that answers and refuses: every file stays as it was, and is loaded once when the fault is mended."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, NamedTuple

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from loader import cli, resources
from tests.conftest import new_database
from tests.support import Query, event, quarantined, write_ndjson

_PASSWORD = "hunter2-of-the-tests"


class Role(NamedTuple):
    """A role with the rights that the README grants, and no more."""

    name: str
    conninfo: str


class Fault(NamedTuple):
    """What makes the database refuse, what mends it, and what the refusal must contain."""

    breaks: LiteralString
    mends: LiteralString
    says: str = "can't connect to database "
    beside: bool = False  # to be run from another database


FAULTS = {
    "the_role_may_not_log_in": Fault("ALTER ROLE {role} NOLOGIN", "ALTER ROLE {role} LOGIN"),
    "the_password_is_wrong": Fault(
        "ALTER ROLE {role} PASSWORD 'another'", "ALTER ROLE {role} PASSWORD 'hunter2-of-the-tests'"
    ),
    "the_role_may_not_connect": Fault(
        "REVOKE CONNECT ON DATABASE {database} FROM PUBLIC", "GRANT CONNECT ON DATABASE {database} TO PUBLIC"
    ),
    "the_database_does_not_exist": Fault(
        "ALTER DATABASE {database} RENAME TO {other}", "ALTER DATABASE {other} RENAME TO {database}", beside=True
    ),
    "the_role_has_no_connection_left": Fault(
        "ALTER ROLE {role} CONNECTION LIMIT 0", "ALTER ROLE {role} CONNECTION LIMIT -1"
    ),
    "the_database_has_no_connection_left": Fault(
        "ALTER DATABASE {database} CONNECTION LIMIT 0", "ALTER DATABASE {database} CONNECTION LIMIT -1"
    ),
    "the_role_may_not_insert_events": Fault(
        "REVOKE INSERT ON events FROM {role}", "GRANT INSERT ON events TO {role}", "(SQLSTATE 42501)"
    ),
    "the_role_may_not_make_temporary_tables": Fault(
        "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC",
        "GRANT TEMPORARY ON DATABASE {database} TO PUBLIC",
        "(SQLSTATE 42501)",
    ),
    "the_role_may_not_read_the_ledger": Fault(
        "REVOKE SELECT ON loader_files FROM {role}", "GRANT SELECT ON loader_files TO {role}", "(SQLSTATE 42501)"
    ),
    "the_role_may_not_correct_the_ledger": Fault(
        "REVOKE UPDATE ON loader_files FROM {role}", "GRANT UPDATE ON loader_files TO {role}", "(SQLSTATE 42501)"
    ),
    "transactions_are_read_only": Fault(
        "ALTER ROLE {role} IN DATABASE {database} SET default_transaction_read_only = on",
        "ALTER ROLE {role} IN DATABASE {database} RESET default_transaction_read_only",
        "(SQLSTATE 25006)",
    ),
}


@contextmanager
def role_in(database: str) -> Iterator[Role]:
    """A role that lasts as long as the context."""
    name = f"loader_test_role_{uuid.uuid4().hex[:12]}"
    readme = (resources.bundled("sql").parent / "README.md").read_text()
    grants = [line.replace("TO loader;", f"TO {name}") for line in readme.splitlines() if line.startswith("GRANT ")]
    with psycopg.connect(database) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{_PASSWORD}'".encode())
        connection.execute("; ".join(grants).encode())
    try:
        yield Role(name, make_conninfo(database, user=name, password=_PASSWORD))
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(f"DROP OWNED BY {name}; DROP ROLE {name}".encode())


class Refusing(NamedTuple):
    """A migrated database, and a role that loads into it where nothing is broken."""

    owner: str
    name: str
    role: Role


@pytest.fixture(scope="module")
def shared(server: str, template: str) -> Iterator[Refusing]:
    """One for all faults: making a database takes longer than to break and to mend it."""
    with new_database(server, template=template) as (name, owner), role_in(owner) as role:
        yield Refusing(owner, name, role)


@pytest.fixture
def refusing(shared: Refusing) -> Refusing:
    with psycopg.connect(shared.owner, autocommit=True) as connection:
        connection.execute("TRUNCATE events, loader_files")
    return shared


@contextmanager
def broken(fault: Fault, server: str, refusing: Refusing) -> Iterator[None]:
    """Break the database for as long as the context lasts."""
    names = {
        "role": sql.Identifier(refusing.role.name),
        "database": sql.Identifier(refusing.name),
        "other": sql.Identifier(f"{refusing.name}_other"),
    }
    execute(server if fault.beside else refusing.owner, sql.SQL(fault.breaks).format(**names))
    try:
        if fault is FAULTS["the_password_is_wrong"] and can_connect(refusing.role.conninfo):
            pytest.skip("the server asks for no password")
        yield
    finally:
        execute(server if fault.beside else refusing.owner, sql.SQL(fault.mends).format(**names))


def execute(conninfo: str, statement: sql.Composed) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        connection.execute(statement)


def can_connect(conninfo: str) -> bool:
    try:
        psycopg.connect(conninfo).close()
    except psycopg.OperationalError:
        return False
    return True


def fill(landing: Path) -> None:
    """Drop two files; one has a bad row, for which quarantine is written to."""
    write_ndjson(landing / "a.ndjson", event(), "{", event())
    write_ndjson(landing / "b.ndjson", event())


def contents(landing: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in landing.rglob("*") if path.is_file()}


def run(landing: Path, conninfo: str, *arguments: str) -> int:
    where = ["--landing", str(landing), "--database-url", conninfo]
    return cli.main(["run", "--quiet", "--settle", "0", *where, *arguments])


each_fault = pytest.mark.parametrize("fault", [pytest.param(fault, id=name) for name, fault in FAULTS.items()])


@each_fault
def test_a_refusal_is_one_line_and_touches_nothing(
    fault: Fault, server: str, refusing: Refusing, landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(landing)
    before = contents(landing)
    with broken(fault, server, refusing):
        assert run(landing, refusing.role.conninfo) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("loader: ")
    assert captured.err.count("\n") == 1
    assert fault.says in captured.err
    assert _PASSWORD not in captured.err
    assert contents(landing) == before


@each_fault
def test_a_refusal_is_one_json_object(
    fault: Fault, server: str, refusing: Refusing, landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(landing)
    with broken(fault, server, refusing):
        assert run(landing, refusing.role.conninfo, "--json") == 1
    printed = capsys.readouterr().out
    report = json.loads(printed)
    assert (report["files"], report["inserted"], report["exit_code"]) == ([], 0, 1)
    assert fault.says in report["error"]
    assert _PASSWORD not in printed


@each_fault
def test_what_was_refused_is_loaded_once_when_the_fault_is_mended(
    fault: Fault, server: str, refusing: Refusing, landing: Path
) -> None:
    fill(landing)
    with broken(fault, server, refusing):
        assert run(landing, refusing.role.conninfo) == 1
    assert run(landing, refusing.role.conninfo) == 3
    with psycopg.connect(refusing.owner) as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchall() == [(3,)]
        assert connection.execute("SELECT count(*), sum(rows_inserted) FROM loader_files").fetchall() == [(2, 3)]
    assert len(quarantined(landing)) == 1
    assert not list(landing.glob("*.ndjson"))


def test_two_connections_are_enough(refusing: Refusing, landing: Path) -> None:
    fill(landing)
    execute(refusing.owner, sql.SQL("ALTER ROLE {} CONNECTION LIMIT 2").format(sql.Identifier(refusing.role.name)))
    try:
        assert run(landing, refusing.role.conninfo) == 3
    finally:
        execute(refusing.owner, sql.SQL("ALTER ROLE {} CONNECTION LIMIT -1").format(sql.Identifier(refusing.role.name)))


class Disk(NamedTuple):
    """A tablespace with little room, and how to give it more."""

    tablespace: str
    grow: Callable[[], bool]


@pytest.fixture
def small_disk(server: str) -> Iterator[Disk]:
    """A tablespace of 1 MB; to be asked for before `database`, which must be gone before it."""
    with psycopg.connect(server, autocommit=True) as connection:
        (data,) = connection.execute("SELECT current_setting('data_directory')").fetchone() or ("",)
    if os.geteuid() != 0 or not Path(data).is_dir():
        pytest.skip("only root, on the server's own host, can give it a small disk")
    account = Path(data).stat()
    folder = Path(tempfile.mkdtemp(prefix="loader-disk-"))
    name = f"loader_test_disk_{uuid.uuid4().hex[:12]}"
    try:
        options = f"size=1m,mode=700,uid={account.st_uid},gid={account.st_gid}"
        if not mount("-t", "tmpfs", "-o", options, "tmpfs", str(folder)):
            pytest.skip("no disk can be mounted here")
        try:
            execute(server, sql.SQL("CREATE TABLESPACE {} LOCATION {}").format(sql.Identifier(name), str(folder)))
            try:
                execute(server, sql.SQL("GRANT CREATE ON TABLESPACE {} TO PUBLIC").format(sql.Identifier(name)))
                yield Disk(name, lambda: mount("-o", "remount,size=64m", str(folder)))
            finally:
                execute(server, sql.SQL("DROP TABLESPACE {}").format(sql.Identifier(name)))
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True)  # The server may have a file of it open yet.
    finally:
        folder.rmdir()


def mount(*arguments: str) -> bool:
    program = shutil.which("mount")
    return (
        program is not None
        and subprocess.run([program, *arguments], check=False, stderr=subprocess.DEVNULL).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("puts", "known"),
    [
        # Rows are staged where their events are stored already.
        pytest.param("ALTER ROLE {role} SET temp_tablespaces = {disk}", 5_000, id="where rows are staged"),
        pytest.param("ALTER TABLE events SET TABLESPACE {disk}", 0, id="where events are kept"),
    ],
)
def test_a_full_disk_is_one_line_and_the_file_is_loaded_once_there_is_room(
    small_disk: Disk,
    puts: LiteralString,
    known: int,
    database: str,
    landing: Path,
    query: Query,
    capsys: pytest.CaptureFixture[str],
) -> None:
    events = [event(properties={"pad": uuid.uuid4().hex * 8}) for _ in range(5_000)]
    write_ndjson(landing / "known.ndjson", *events[:known])
    assert run(landing, database) == 0
    write_ndjson(landing / "a.ndjson", "{", *events)
    before = contents(landing)
    capsys.readouterr()
    with role_in(database) as role:
        names = {"role": sql.Identifier(role.name), "disk": sql.Identifier(small_disk.tablespace)}
        execute(database, sql.SQL(puts).format(**names))

        assert run(landing, role.conninfo) == 1

        captured = capsys.readouterr().err
        assert captured.count("\n") == 1
        assert "(SQLSTATE 53100)" in captured
        assert contents(landing) == before
        assert query("SELECT count(*) FROM events") == [(known,)]

        assert small_disk.grow()
        assert run(landing, role.conninfo) == 3
        assert query("SELECT count(*) FROM events") == [(5_000,)]
