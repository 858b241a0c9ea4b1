"""Checks of the database: may this role work in it, and is its schema this program's."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from loader import resources
from loader.conninfo import describe
from loader.database import Connection, refuse_pooler
from loader.errors import DatabaseError
from loader.operate.findings import Finding, fail, note, ok, warn, worst
from loader.settings import Settings, names_database

if TYPE_CHECKING:
    from loader.contract import Contract  # brings Pandera, and the environment may keep that from being imported

_CLOCK_SECONDS = 5.0
_OWNERS_MIGRATION = "loader migrate --database-url postgresql://OWNER@HOST/DATABASE   # as the database's owner"


@dataclass(frozen=True, slots=True)
class Server:
    """What the checks of a database are about."""

    settings: Settings
    conninfo: str
    connection: Connection
    contract: Contract | None  # None: it can't be loaded

    def rows(self, name: str, **parameters: object) -> list[tuple[Any, ...]]:
        """Run `sql/<name>.sql` and return its rows."""
        return self.connection.execute(resources.sql(name), parameters or None).fetchall()

    def columns(self) -> list[str] | None:
        """Return the columns that a load writes."""
        from loader.contract import PROVENANCE

        return None if self.contract is None else [*self.contract.columns, *PROVENANCE]


ServerCheck = Callable[[Server], Finding]


def database(server: Server) -> Finding:
    """The database can be reached; older versions than 14 and other encodings than UTF8 are refused before this."""
    info = server.connection.info
    return ok(f"{describe(server.conninfo)}: PostgreSQL {info.parameter_status('server_version')}")


def writable(server: Server) -> Finding:
    """The server takes writes."""
    ((is_standby, is_read_only, _),) = server.rows("doctor_server")
    if is_standby:
        return fail(
            "the server is a standby, which takes no writes",
            "name the primary, or add target_session_attrs=read-write to the connection string",
        )
    if is_read_only:
        return fail(
            "transactions are read-only by default",
            f"ALTER ROLE {_role(server)} IN DATABASE {_database(server)} RESET default_transaction_read_only;\n"
            f"ALTER ROLE {_role(server)} RESET default_transaction_read_only;\n"
            f"ALTER DATABASE {_database(server)} RESET default_transaction_read_only;",
        )
    return ok("the server takes writes")


def pooler(server: Server) -> Finding:
    """No pooler in transaction mode stands in between."""
    try:
        refuse_pooler(server.connection, server.conninfo)
    except DatabaseError as error:
        return fail(str(error), "name the server's own host and port, or set pool_mode = session for this database")
    return ok("a session keeps its backend")


def server_clock(server: Server) -> Finding:
    """The server and this machine tell the same time."""
    before = time.time()
    ((_, _, theirs),) = server.rows("doctor_server")
    apart = max(before - theirs, theirs - time.time(), 0.0)
    if apart > _CLOCK_SECONDS:
        return warn(
            f"the server and this machine are {apart:,.0f} s apart: the ledger's times, which are the server's, "
            "and the archive's days, which are this machine's, don't agree",
            "timedatectl set-ntp true   # on the machine whose clock is wrong",
        )
    return ok(f"the server and this machine are less than {max(1, round(apart))} s apart")


def schema(server: Server) -> Finding:
    """The database's schema is the one that this program knows."""
    from loader import migrate

    try:
        due = migrate.pending(server.connection)
    except DatabaseError as error:
        return fail(str(error), "pip install --upgrade loader" if "newer" in str(error) else None)
    if not due:
        return ok(f"version {migrate.known()[-1].version}")
    names = ", ".join(migration.path.name for migration in due)
    ((role, is_superuser, is_owner, may_create, where, _),) = server.rows("doctor_role")
    is_new = len(due) == len(migrate.known())
    if is_superuser or (may_create and (is_new or is_owner)):
        return note(f"not up to date: {names}; the next run migrates", "loader migrate")
    if is_new:
        return fail(
            f"no tables of the loader are found along the search path, and {role} may not make them in "
            f"{where or 'any schema'}; do they stand in a schema that the search path leaves out, or without USAGE?",
            _OWNERS_MIGRATION,
        )
    return fail(f"not up to date: {names}; {role} may not migrate", _OWNERS_MIGRATION)


def rights(server: Server) -> Finding:
    """The role has the rights that the README grants."""
    ((role, is_superuser, is_owner, *_),) = server.rows("doctor_role")
    rows = server.rows("doctor_rights")
    found = [
        fail(f"{role} lacks {', '.join(lacking)} on {name}", _grant(kind, lacking, name, role))
        for name, kind, lacking, _ in rows
        if lacking
    ]
    # The embedded server has one role, and nobody else can reach it.
    is_ours = not names_database(server.settings)
    if (is_superuser or is_owner) and not is_ours:
        kind = "a superuser" if is_superuser else "the owner of the tables"
        found.append(note(f"{role} is {kind}: a role with no more than the README's grants is safer"))
    elif not is_ours:
        found += [
            note(
                f"{role} has more rights than it needs: {', '.join(spare)} on {name}",
                f"REVOKE {', '.join(spare)} ON {name} FROM {role};",
            )
            for name, _, _, spare in rows
            if spare
        ]
    return worst(found, f"{role} has the rights that it needs")


def connections(server: Server) -> Finding:
    """There are as many connections left as a run opens."""
    needed = server.settings.jobs + 1
    ((of_server, of_database, of_role),) = server.rows("doctor_connections")
    limits = (
        ("the server", of_server, "ALTER SYSTEM SET max_connections = 200;   -- and restart the server"),
        ("the database", of_database, f"ALTER DATABASE {_database(server)} CONNECTION LIMIT -1;"),
        ("the role", of_role, f"ALTER ROLE {_role(server)} CONNECTION LIMIT -1;"),
    )
    found = [
        fail(f"{who} has {max(left, 0)} connections left, a run with --jobs {needed - 1} opens {needed}", remedy)
        for who, left, remedy in limits
        if left is not None and left < needed
    ]
    return worst(found, f"{of_server} left, a run opens {needed}")


def _grant(kind: str, lacking: list[str], name: str, role: str) -> str:
    shown = name if kind == "TABLE" else f"{kind} {name}"
    return f"GRANT {', '.join(lacking)} ON {shown} TO {role};"


def _role(server: Server) -> str:
    return str(server.rows("doctor_role")[0][0])


def _database(server: Server) -> str:
    from psycopg import sql

    return sql.Identifier(server.connection.info.dbname).as_string(server.connection)


CHECKS: list[ServerCheck] = [database, writable, pooler, server_clock, schema, rights, connections]
