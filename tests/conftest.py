"""A real PostgreSQL for the tests: the one that DATABASE_URL names, else the embedded one in a temporary folder.

Each test that asks for `database` gets a database of its own, copied from a migrated template.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from loader import cli, embedded, migrate
from loader.database import connected
from loader.operate import page
from tests.pages import Page
from tests.support import Report

SERVER = os.environ.pop("DATABASE_URL", None)
for name in [name for name in os.environ if name.startswith(("LOADER_", "PG"))]:
    del os.environ[name]


def pytest_report_header() -> str:
    return f"postgres: {'the server named by DATABASE_URL' if SERVER else 'embedded'}"


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """A connection string for a database from which others can be made."""
    if SERVER:
        yield SERVER
        return
    folder = Path(tempfile.mkdtemp(prefix="loader-tests-"))
    folder.chmod(0o755)  # The server runs as another user where the tests run as root.
    try:
        with embedded.running(folder) as conninfo:
            yield conninfo
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def template(server: str) -> Iterator[str]:
    """The name of a migrated, empty database."""
    with new_database(server) as (name, conninfo):
        with connected(conninfo) as connection:
            migrate.migrate(connection)
        yield name


@pytest.fixture
def database(server: str, template: str) -> Iterator[str]:
    """A connection string for a migrated, empty database of the test's own."""
    with new_database(server, template=template) as (_, conninfo):
        yield conninfo


@pytest.fixture
def empty_database(server: str) -> Iterator[str]:
    """A connection string for a database without any table."""
    with new_database(server) as (_, conninfo):
        yield conninfo


class new_database:  # noqa: N801 # used like a function
    """A database that lasts as long as the context."""

    def __init__(self, server: str, *, template: str = "template1", options: str = "") -> None:
        self._server = server
        self._name = f"loader_test_{uuid.uuid4().hex[:12]}"
        self._query = f"CREATE DATABASE {{}} TEMPLATE {{}} {options}"
        self._template = template

    def __enter__(self) -> tuple[str, str]:
        self._execute(self._query, sql.Identifier(self._name), sql.Identifier(self._template))
        return self._name, make_conninfo(self._server, dbname=self._name)

    def __exit__(self, *_: object) -> None:
        self._execute("DROP DATABASE {} WITH (FORCE)", sql.Identifier(self._name))

    def _execute(self, query: str, *identifiers: sql.Identifier) -> None:
        with psycopg.connect(self._server, autocommit=True) as connection:
            connection.execute(sql.SQL(query).format(*identifiers))


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    """An empty landing folder."""
    folder = tmp_path / "landing"
    folder.mkdir()
    return folder


@pytest.fixture
def load(database: str, landing: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, Report]]:
    """`loader run` on the test's landing folder and database; returns the exit code and the JSON report."""

    def run(*arguments: str) -> tuple[int, Report]:
        where = ["--landing", str(landing), "--database-url", database]
        code = cli.main(["run", "--json", "--quiet", "--settle", "0", *where, *arguments])
        report: Report = json.loads(capsys.readouterr().out)
        return code, report

    return run


@pytest.fixture
def query(database: str) -> Callable[..., list[tuple[Any, ...]]]:
    """Run a statement on the test's database and return its rows."""

    def run(statement: str, parameters: dict[str, Any] | None = None) -> list[tuple[Any, ...]]:
        with psycopg.connect(database, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), parameters)
            return cursor.fetchall() if cursor.description else []

    return run


@pytest.fixture(scope="session")
def charting_library() -> str:
    """The JavaScript of `loader report`, which takes seconds to make; skips where its extra is not installed."""
    pytest.importorskip("vl_convert")
    return page.charting_library()


@pytest.fixture
def report(
    database: str, landing: Path, tmp_path: Path, charting_library: str, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Page]:
    """`loader report` on the test's landing folder and database; the page is in `page.html`."""
    monkeypatch.setattr(page, "charting_library", lambda: charting_library)

    def run(*arguments: str) -> Page:
        output = tmp_path / "page.html"
        where = ["--landing", str(landing), "--database-url", database]
        assert cli.main(["report", "-o", str(output), *where, *arguments]) == 0
        return Page(output.read_text())

    return run


@pytest.fixture
def ask(database: str, landing: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Run a command that looks at the test's database (and landing folder); returns the exit code and its stdout."""

    def run(command: str, *arguments: str) -> tuple[int, str]:
        where = [] if command == "history" else ["--landing", str(landing)]
        capsys.readouterr()
        code = cli.main([command, "--database-url", database, *where, *arguments])
        return code, capsys.readouterr().out

    return run


@pytest.fixture
def database_session(database: str) -> Any:
    with psycopg.connect(database, autocommit=True) as connection:
        yield connection
