"""The server that all contenders load into: databases made anew for each run, and what the server spent on it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from os import sysconf
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from loader import migrate

_PREFIX = "loader_bench_"
_SCRATCH = f"{_PREFIX}run"
_TICKS = sysconf("SC_CLK_TCK")
_QUIET_SECONDS = 0.3  # until the backends of a contender that has ended are reaped


@dataclass(frozen=True, slots=True)
class Usage:
    """What the server has spent so far; `cpu` (seconds) is None where it runs on another machine."""

    wal: int  # bytes
    cpu: float | None


class Server:
    """A server with the right to create databases."""

    def __init__(self, conninfo: str) -> None:
        self._conninfo = conninfo
        self._connection = psycopg.connect(conninfo, autocommit=True)

    def close(self) -> None:
        """Drop every database that was made here."""
        found = self._connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", (f"{_PREFIX}%",))
        for (name,) in found.fetchall():
            self._drop(name)
        self._connection.close()

    def describe(self) -> dict[str, str]:
        """Return the version and the settings that matter."""
        names = ["server_version", "shared_buffers", "work_mem", "max_wal_size", "wal_level", "wal_compression"]
        names += ["fsync", "synchronous_commit", "full_page_writes", "checkpoint_timeout"]
        query = "SELECT name, current_setting(name) FROM unnest(%s::text[]) AS name"
        return dict(self._connection.execute(query, (names,)).fetchall())

    def template(self, name: str) -> tuple[str, bool]:
        """Return the conninfo of the template `name` with an empty `events`, and whether it was made just now."""
        database = f"{_PREFIX}{name}"
        known = self._connection.execute("SELECT FROM pg_database WHERE datname = %s", (database,)).fetchone()
        conninfo = make_conninfo(self._conninfo, dbname=database)
        if known is None:
            self._connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
            with psycopg.connect(conninfo, autocommit=True) as connection:
                migrate.migrate(connection)
        return conninfo, known is None

    def fresh(self, template: str) -> str:
        """Return the conninfo of a new copy of a template; the one before is gone."""
        self._drop(_SCRATCH)
        query = sql.SQL("CREATE DATABASE {} TEMPLATE {} {}").format(
            sql.Identifier(_SCRATCH),
            sql.Identifier(f"{_PREFIX}{template}"),
            sql.SQL("STRATEGY file_copy" if self._connection.info.server_version >= 150000 else ""),
        )
        self._connection.execute(query)
        self._connection.execute("CHECKPOINT")
        return make_conninfo(self._conninfo, dbname=_SCRATCH)

    def usage(self) -> Usage:
        """Measure after the backends of whoever was at work are gone."""
        others = """
            SELECT FROM pg_stat_activity
            WHERE datname LIKE %s AND backend_type = 'client backend' AND pid <> pg_backend_pid()
        """
        while self._connection.execute(others, (f"{_PREFIX}%",)).fetchone() is not None:  # a row without columns
            time.sleep(_QUIET_SECONDS / 10)
        time.sleep(_QUIET_SECONDS)
        row = self._connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return Usage(int(row[0]), self._cpu())

    def _cpu(self) -> float | None:
        """Add up the processes of the server, those included that have ended."""
        backend = Path("/proc", str(self._connection.info.backend_pid), "stat")
        if (self._connection.info.host and not self._connection.info.host.startswith("/")) or not backend.exists():
            return None
        postmaster = _stat(backend)[1]
        ticks = 0
        for process in Path("/proc").glob("[0-9]*/stat"):
            try:
                pid, parent, own, ended = _stat(process)
            except (FileNotFoundError, ProcessLookupError):
                continue
            if pid == postmaster:
                ticks += own + ended
            elif parent == postmaster:
                ticks += own
        return ticks / _TICKS

    def _drop(self, name: str) -> None:
        self._connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def _stat(path: Path) -> tuple[int, int, int, int]:
    """Return pid, parent's pid, own ticks, ticks of children that have ended (proc(5))."""
    pid, _, rest = path.read_text().partition(" (")
    fields = rest.rpartition(") ")[2].split()
    return int(pid), int(fields[1]), int(fields[11]) + int(fields[12]), int(fields[13]) + int(fields[14])
