"""Valid rows -> staging tables, over a connection of their own.

The rows are committed here while another connection merges what was staged before, inside the file's one transaction:
COPY and merge overlap, and still nothing of a file is in `events` before all of it is. The tables are unlogged, and
named after an advisory lock that this session holds: `sweep` drops those whose session is gone, however it died.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import polars as pl
import psycopg
from psycopg import errors, sql

from loader import resources
from loader.contract import PROVENANCE, Contract, Kind
from loader.database import LOCK_CLASS, Connection, compose, identifiers, is_about_a_row, one_line
from loader.encode import encode, in_merge_order
from loader.model import Problem

SCHEMA = "loader_staging"
_PREFIX = "rows_"
# What is staged before it is merged: small enough for COPY and merge to overlap. But each merge by random ids walks the
# whole index of events: for a large one, units are larger. And a transaction holds locks on every staging table until
# it ends, while Postgres has room for some thousands: units also grow with what was staged before, up to what is held
# here to be sorted. 100 GB take some 2100.
_UNIT_BYTES = 8 << 20
_UNITS_FOR_INDEX = 8
_UNITS_FOR_ALL_BEFORE = 32
_MAX_UNIT_BYTES = 48 << 20
# Rows that are encoded at once.
_COPY_BYTES = 4 << 20
# Nobody else uses these tables; only the backend of a loader that was killed may still hold a lock on one for a moment.
_LOCK_TIMEOUT = "5s"


@dataclass(slots=True)
class Unit:
    """Rows staged in one table, to be merged together.

    places: file_id Int64, line Int64 of each row in the table.
    refused: file_id, line, why.
    """

    table: sql.Identifier
    places: pl.DataFrame
    refused: list[tuple[int, int, Problem]] = field(default_factory=list)


class Staging:
    """The staging tables of one load.

    Leaving the context drops them, which must be after the transaction that merged them has ended: it holds locks on
    them until then. Nothing is asked of the session before there is something to stage.
    """

    def __init__(self, session: Callable[[], Connection], contract: Contract) -> None:
        self._session = session
        self._contract = contract
        self._tables: list[sql.Identifier] = []
        self._token = 0
        self._index_bytes = 0

    def __enter__(self) -> Self:
        """Make nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Drop the tables and free the lock; after a lost connection the next sweep does."""
        if not self._token:
            return
        connection = self._session()
        with suppress(psycopg.Error):
            for table in self._tables:
                _drop(connection, table)
            connection.execute("SELECT pg_advisory_unlock(%s, %s)", (LOCK_CLASS, self._token))

    def stage(self, frames: Iterable[pl.DataFrame]) -> Generator[Unit]:
        """COPY frames (Block.frame's columns) in units, and yield each when it is complete."""
        held: list[pl.DataFrame] = []
        held_bytes = staged_bytes = 0
        for frame in frames:
            if frame.is_empty():
                continue
            if not self._token:
                self._begin()
            held.append(frame)
            held_bytes += _size(frame)
            enough = max(_UNIT_BYTES, self._index_bytes // _UNITS_FOR_INDEX, staged_bytes // _UNITS_FOR_ALL_BEFORE)
            if held_bytes >= min(enough, _MAX_UNIT_BYTES):
                yield self._unit(held, held_bytes)
                staged_bytes += held_bytes
                held, held_bytes = [], 0
        if held:
            yield self._unit(held, held_bytes)

    def _unit(self, frames: list[pl.DataFrame], size: int) -> Unit:
        frame = in_merge_order(pl.concat(frames), self._contract)
        frames.clear()
        table = sql.Identifier(SCHEMA, f"{_PREFIX}{self._token}_{len(self._tables)}")
        self._session().execute(compose("create_staging", table=table, columns=column_definitions(self._contract)))
        self._tables.append(table)
        refused: list[tuple[int, int, Problem]] = []
        rows = max(1, frame.height * _COPY_BYTES // size)
        for piece in frame.iter_slices(rows):
            self._copy(piece, table, refused)
        places = frame.select(PROVENANCE)
        if refused:
            gone = pl.DataFrame([place[:2] for place in refused], schema=places.schema, orient="row")
            places = places.join(gone, on=PROVENANCE, how="anti")
        return Unit(table, places, refused)

    def _begin(self) -> None:
        """Take the lock that the tables are named after, and see how large the index on event_id is."""
        connection = self._session()
        row = connection.execute(resources.sql("key_size")).fetchone()
        self._index_bytes = row[0] if row else 0
        connection.execute("SET synchronous_commit = off")  # Staged rows need not survive a crash.
        connection.execute(sql.SQL("SET lock_timeout = {}").format(_LOCK_TIMEOUT))
        self._token = 1 + secrets.randbelow(2**31 - 1)
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, self._token))

    def _copy(self, frame: pl.DataFrame, table: sql.Identifier, refused: list[tuple[int, int, Problem]]) -> None:
        """COPY a frame; where Postgres refuses a row, halve down to it."""
        data = encode(frame, self._contract)
        try:
            copy(self._session(), table, data, self._contract)
        except psycopg.Error as error:
            if not is_about_a_row(error):
                raise
            if frame.height > 1:
                half = frame.height // 2
                self._copy(frame[:half], table, refused)
                self._copy(frame[half:], table, refused)
                return
            problem = Problem("refused_by_postgres", error.diag.column_name, one_line(error))
            refused.append((frame["file_id"][0], frame["line"][0], problem))


def _size(frame: pl.DataFrame) -> int:
    """Return about how many bytes the rows of `frame` have in a file."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    fixed = 8 * (frame.width - len(texts)) * frame.height
    sizes = frame.select(pl.sum_horizontal(pl.col(name).str.len_bytes().sum() for name in texts))
    return fixed + int(sizes.item() or 0) if texts else fixed


def _drop(connection: Connection, table: sql.Identifier) -> None:
    statement = sql.SQL("DROP TABLE IF EXISTS {}").format(table)
    try:
        connection.execute(statement)
    except errors.QueryCanceled:
        connection.execute(statement)  # Ctrl-C cancels what is under way; that was meant for the load.


def copy(connection: Connection, table: sql.Identifier, data: bytes, contract: Contract) -> None:
    """COPY encoded rows into a staging table."""
    query = compose("copy_staging", table=table, columns=identifiers(contract.columns))
    with connection.cursor() as cursor, cursor.copy(query) as stream:
        stream.write(data)


def column_definitions(contract: Contract) -> sql.Composed:
    """Return the contract's columns with their types, as CREATE TABLE takes them."""
    return sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(_type_name(field.kind)))
        for field in contract.fields
    )


def sweep(connection: Connection) -> None:
    """Drop the staging tables of sessions that are gone."""
    for (name,) in connection.execute(resources.sql("list_staging")).fetchall():
        token = name.removeprefix(_PREFIX).partition("_")[0]
        if not (name.startswith(_PREFIX) and token.isdigit()):
            continue
        with suppress(errors.LockNotAvailable), connection.transaction():
            connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(_LOCK_TIMEOUT))
            row = connection.execute("SELECT pg_try_advisory_xact_lock(%s, %s)", (LOCK_CLASS, int(token))).fetchone()
            if row is not None and row[0]:
                connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(SCHEMA, name)))


def _type_name(kind: Kind) -> Any:
    return kind.postgres
