"""Brings the database's schema to the version that this program knows; safe when two loaders start at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import psycopg
from psycopg import errors

from loader import resources
from loader.contract import PROVENANCE, Contract
from loader.database import LOCK_CLASS, MIGRATION_LOCK, Connection, one_line, reported
from loader.errors import DatabaseError, UsageError

_NAME = re.compile(r"(?P<version>\d{4})_\w+\.sql")


class Migration(NamedTuple):
    """One numbered file of `sql/migrations/`."""

    version: int
    path: Path


def known() -> list[Migration]:
    """Return the program's migrations in order."""
    paths = sorted((resources.bundled("sql") / "migrations").glob("*.sql"))
    return [Migration(int(match["version"]), path) for path in paths if (match := _NAME.fullmatch(path.name))]


def migrate(connection: Connection) -> list[str]:
    """Apply and record what is missing, all in one transaction; return the names of what was applied.

    Raises:
        DatabaseError: the database is newer than the program, or refuses.
    """
    if not pending(connection):
        return []
    applied = []
    try:
        with connection.transaction():
            # Two loaders may start at once: the second waits here, and then finds nothing left to do.
            connection.execute("SELECT pg_advisory_xact_lock(%s, %s)", (LOCK_CLASS, MIGRATION_LOCK))
            connection.execute(resources.sql("create_migrations_table"))
            for migration in pending(connection):
                connection.execute(migration.path.read_bytes())
                connection.execute(
                    "INSERT INTO loader_migrations (version, name) VALUES (%s, %s)",
                    (migration.version, migration.path.name),
                )
                applied.append(migration.path.name)
    except errors.InsufficientPrivilege as error:
        raise DatabaseError(
            f"the schema is not up to date and this role may not change it: {one_line(error)}; "
            "let the database's owner run `loader migrate`"
        ) from error
    except psycopg.Error as error:
        raise DatabaseError(f"migrating: {one_line(error)}") from error
    return applied


def pending(connection: Connection) -> list[Migration]:
    """Return the migrations that the database does not have yet.

    Raises:
        DatabaseError: the database has one that this program does not know.
    """
    with reported("reading the schema's version"):
        row = connection.execute("SELECT to_regclass('loader_migrations') IS NOT NULL").fetchone()
        done = {0}
        if row is not None and row[0]:
            done |= {version for (version,) in connection.execute("SELECT version FROM loader_migrations")}
    migrations = known()
    newest = max(migration.version for migration in migrations)
    if max(done) > newest:
        raise DatabaseError(
            f"the database's schema is version {max(done)}, this loader knows {newest}: install a newer loader"
        )
    return [migration for migration in migrations if migration.version not in done]


def check_events(connection: Connection, contract: Contract) -> None:
    """Make sure that `events` has every column of the contract, in its type.

    Raises:
        UsageError: it lacks one, or has it in another type; the message says how to mend it.
        DatabaseError: the database refuses.
    """
    with reported("reading the columns of events"):
        columns: dict[str, str] = dict(connection.execute(resources.sql("describe_events")).fetchall())
    due = {field.name: field.kind.postgres for field in contract.fields} | dict.fromkeys(PROVENANCE, "bigint")
    full_names = {"timestamptz": "timestamp with time zone"}
    for name, postgres in due.items():
        found = columns.get(name)
        if found is None:
            raise UsageError(
                f"the contract has a field {name} that events lacks: ALTER TABLE events ADD COLUMN {name} {postgres};"
            )
        if found != full_names.get(postgres, postgres):
            raise UsageError(f"the contract says that {name} is {postgres}; in events it is {found}")
