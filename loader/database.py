"""Connections: how to open one, what every session is set to, and which failures pass by themselves."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any

import psycopg
from psycopg import errors, sql
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Format

from loader import resources
from loader.conninfo import describe, redact, without_quotes
from loader.errors import DatabaseError

Connection = psycopg.Connection[tuple[Any, ...]]

MINIMUM_VERSION = 140_000
_CONNECT_TIMEOUT_SECONDS = 10
LOCK_TIMEOUT = "300s"
_CHECK_INTERVAL = "5s"
# Either side notices within two minutes when the other vanishes; by default, after two hours. (Not tcp_user_timeout: it
# also ends a connection whose COPY waits for a lock.)
_KEEPALIVES = {"idle": 60, "interval": 10, "count": 6}  # seconds, seconds, number
_SEND_BUFFER_BYTES = 2 << 20

# Advisory locks: the loader's own class for the two-key form. File contents use the one-key form.
LOCK_CLASS = 1_869_572_460
MIGRATION_LOCK = 1
LOAD_LOCK = 2

# SQLSTATEs of trouble that is gone when tried again: deadlock, serialization, lock timeout, cancelled, server going
# down or coming up, session or transaction timed out, out of memory (all loads' claims share a table), of connections.
_PASSING = ("40001", "40P01", "55P03", "57014", "57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53200", "53300")
# Those of them that say that another session was in the way.
_COLLISIONS = ("40P01", "55P03")
# SQLSTATE classes of errors that a row's own content can cause: data, integrity, limits, a trigger's RAISE; and
# XX000, which jsonb reports for arrays of too many elements.
_ROW_CLASSES = ("22", "23", "44", "54", "P0")
_ROW_STATES = ("XX000",)


def compose(name: str, **identifiers: sql.Composable) -> sql.Composed:
    """Return `sql/<name>.sql` with its {identifiers} put in, quoted by psycopg."""
    return _template(name).format(**identifiers)


@cache
def _template(name: str) -> sql.SQL:
    # The text comes from the package's own files, never from input.
    return sql.SQL(resources.sql(name).decode())


def identifiers(names: list[str]) -> sql.Composed:
    """Return `names` as a quoted, comma-separated list."""
    return sql.SQL(", ").join(map(sql.Identifier, names))


class UuidArray:
    """A parameter of type uuid[], from UUIDs as 16 bytes each; objects of Python's own take a hundred times as long."""

    __slots__ = ("items",)

    def __init__(self, items: list[bytes]) -> None:
        self.items = items


class _UuidArrayDumper(Dumper):
    """The binary form of an array: PostgreSQL's src/backend/utils/adt/arrayfuncs.c, array_recv."""

    format = Format.BINARY
    oid = 2951  # uuid[]

    def dump(self, obj: UuidArray) -> Buffer:
        dimensions, flags, element, first = 1, 0, 2950, 1
        head = struct.pack("!5i", dimensions, flags, element, len(obj.items), first)
        return b"\x00\x00\x00\x10".join([head, *obj.items])


@contextmanager
def connected(conninfo: str, on_open: Callable[[Connection], object] = lambda _: None) -> Iterator[Connection]:
    """Yield an autocommit connection with the loader's session settings.

    on_open: is given the connection before anything is said over it, so that another thread can end it.

    Raises:
        DatabaseError: it can't be reached, refuses the login, is too old, or isn't UTF-8.
    """
    given = _parsed(conninfo)
    if "PGCONNECT_TIMEOUT" not in os.environ:
        given.setdefault("connect_timeout", _CONNECT_TIMEOUT_SECONDS)
    given.setdefault("application_name", "loader")
    for name, value in _KEEPALIVES.items():
        given.setdefault(f"keepalives_{name}", value)
    try:
        connection = psycopg.connect(make_conninfo("", **given), autocommit=True)
    except psycopg.Error as error:
        raise DatabaseError(f"can't connect to {describe(conninfo)}: {one_line(error)}") from error
    on_open(connection)
    try:
        with reported(f"can't prepare a session on {describe(conninfo)}"):
            _prepare(connection, conninfo)
        yield connection
    finally:
        with suppress(psycopg.Error):
            connection.close()


def _parsed(conninfo: str) -> dict[str, Any]:
    """Return what `conninfo` says.

    Raises:
        DatabaseError: libpq can't parse it, or a part of a password seems to have come to the wrong place.
    """
    try:
        given = conninfo_to_dict(conninfo)
    except (psycopg.Error, UnicodeEncodeError) as error:
        # Nothing is chained: a traceback would quote the whole string.
        reason = "it is not UTF-8" if isinstance(error, UnicodeEncodeError) else without_quotes(one_line(error))
        raise DatabaseError(f"can't connect to {describe(conninfo)}, which can't be parsed: {reason}") from None
    for name in ("host", "hostaddr", "port", "dbname"):
        if "@" in str(given.get(name) or ""):
            raise DatabaseError(
                f"can't connect to {describe(conninfo)}: its {name} holds an @; in a URL's password that is %40"
            )
    return given


def _prepare(connection: Connection, conninfo: str) -> None:
    info = connection.info
    if info.server_version < MINIMUM_VERSION:
        raise DatabaseError(
            f"{describe(conninfo)} is PostgreSQL {info.server_version // 10_000}; 14 is the oldest supported"
        )
    if info.parameter_status("server_encoding") != "UTF8":
        found = info.parameter_status("server_encoding")
        raise DatabaseError(f"{describe(conninfo)} is encoded in {found}; events need a database in UTF8")
    connection.adapters.register_dumper(UuidArray, _UuidArrayDumper)
    _widen(connection)
    keepalives = {f"keepalives_{name}": str(value) for name, value in _KEEPALIVES.items()}
    settings = {"lock_timeout": LOCK_TIMEOUT, "check_interval": _CHECK_INTERVAL, **keepalives}
    try:
        connection.execute(resources.sql("session"), settings)
    except errors.InvalidParameterValue:
        # A server on a platform without POLLRDHUP knows no other value than 0 (manual, 20.3.2).
        connection.execute(resources.sql("session"), settings | {"check_interval": "0"})


def _widen(connection: Connection) -> None:
    """Let more of a COPY be on its way, so that Postgres does not wait for a thread that decodes to let go of the GIL.

    The kernel grants less where its net.core.wmem_max says so. Over TCP it finds the right size itself.
    """
    with socket.socket(fileno=os.dup(connection.fileno())) as own:
        if own.family == getattr(socket, "AF_UNIX", None):
            own.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


def refuse_pooler(connection: Connection, conninfo: str) -> None:
    """Make sure that a session keeps its backend: advisory locks and temporary tables live and die with it.

    Raises:
        DatabaseError: a pooler in transaction mode stands in between.
    """
    if not is_pooled(connection):
        return
    backend = _backend(connection)
    # In transaction mode a pooler lends this session's backend to whoever comes
    # next; the other modes keep it apart.
    with connected(conninfo) as other, other.transaction():
        _backend(other)
        if _backend(connection) != backend:
            raise DatabaseError(
                f"{describe(conninfo)} is a pooler in transaction mode, which the loader can't work through: "
                "connect straight to the server, or through a pool in session mode"
            )


def is_pooled(connection: Connection) -> bool:
    """Say whether there is a pooler in between, which answers with a number of its own at login."""
    return _backend(connection) != connection.info.backend_pid


def _backend(connection: Connection) -> int:
    (pid,) = connection.execute(resources.sql("backend_pid")).fetchone() or (0,)
    return int(pid)


def is_passing(error: psycopg.Error, connection: Connection) -> bool:
    """Say whether trying again may help: the connection was lost, or the server said as much."""
    # Class 08, connection exceptions: of a pooler whose server went away, say.
    if error.sqlstate is None or error.sqlstate.startswith("08"):
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
            connection.closed or connection.broken
        )
    return error.sqlstate in _PASSING


def is_collision(error: psycopg.Error) -> bool:
    """Say whether another session's locks were in the way."""
    return error.sqlstate in _COLLISIONS


def is_about_a_row(error: psycopg.Error) -> bool:
    """Say whether some row's content is what Postgres refused."""
    state = error.sqlstate or ""
    return state.startswith(_ROW_CLASSES) or state in _ROW_STATES


def one_line(error: psycopg.Error) -> str:
    """Return what the server said, on one line and without a password."""
    primary = error.diag.message_primary
    text = primary or " ".join(str(error).split()) or type(error).__name__
    if error.sqlstate and primary:
        text = f"{text} (SQLSTATE {error.sqlstate})"
    return redact(text)


@contextmanager
def reported(doing: str) -> Iterator[None]:
    """Turn an error of the driver into a DatabaseError that says what was being done."""
    try:
        yield
    except psycopg.Error as error:
        raise DatabaseError(f"{doing}: {one_line(error)}") from error
