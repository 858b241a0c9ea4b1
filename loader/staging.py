"""Valid rows -> binary COPY -> staging tables, over a connection of their own.

The rows are committed here while another connection merges what was staged before, inside the file's one transaction:
COPY and merge overlap, and still nothing of a file is in `events` before all of it is. The tables are unlogged, and
named after an advisory lock that this session holds: `sweep` drops those whose session is gone, however it died.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import pgpq.encoders
import pgpq.schema
import polars as pl
import psycopg
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder
from psycopg import errors, sql

from loader import resources
from loader.contract import PROVENANCE, Contract, Kind
from loader.database import LOCK_CLASS, Connection, compose, identifiers, is_about_a_row, one_line
from loader.model import Problem

SCHEMA = "loader_staging"
_PREFIX = "rows_"
# What is staged before it is merged: small enough for COPY and merge to overlap.
_UNIT_BYTES = 8 << 20
# A transaction holds locks on every staging table until it ends, and Postgres has room for some thousands. So units
# grow with what was staged before: 100 GB take some 230.
_UNITS_FOR_ALL_BEFORE = 32
# Nobody else uses these tables; only the backend of a loader that was killed may still hold a lock on one for a moment.
_LOCK_TIMEOUT = "5s"


@dataclass(slots=True)
class Unit:
    """Rows staged in one table, to be merged together."""

    table: sql.Identifier
    rows: int = 0
    bytes: int = 0
    refused: list[tuple[int, int, Problem]] = field(default_factory=list)  # file_id, line, why


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
        """COPY frames (Block.frame's columns) into units, and yield each when it is full."""
        unit: Unit | None = None
        staged_bytes = 0
        for frame in frames:
            unit = unit or self._new_unit()
            self._copy(frame, unit)
            if unit.bytes >= max(_UNIT_BYTES, staged_bytes // _UNITS_FOR_ALL_BEFORE):
                staged_bytes += unit.bytes
                yield unit
                unit = None
        if unit is not None:
            yield unit

    def _new_unit(self) -> Unit:
        if not self._token:
            self._begin()
        table = sql.Identifier(SCHEMA, f"{_PREFIX}{self._token}_{len(self._tables)}")
        self._session().execute(compose("create_staging", table=table, columns=column_definitions(self._contract)))
        self._tables.append(table)
        return Unit(table)

    def _begin(self) -> None:
        """Take the lock that the tables are named after."""
        connection = self._session()
        connection.execute("SET synchronous_commit = off")  # Staged rows need not survive a crash.
        connection.execute(sql.SQL("SET lock_timeout = {}").format(_LOCK_TIMEOUT))
        self._token = 1 + secrets.randbelow(2**31 - 1)
        connection.execute("SELECT pg_advisory_lock(%s, %s)", (LOCK_CLASS, self._token))

    def _copy(self, frame: pl.DataFrame, unit: Unit) -> None:
        """COPY a frame; where Postgres refuses a row, halve down to it and set it aside."""
        if frame.is_empty():
            return
        data = encode(frame, self._contract)
        try:
            copied = copy(self._session(), unit.table, data, self._contract)
        except psycopg.Error as error:
            if not is_about_a_row(error):
                raise
            if frame.height > 1:
                half = frame.height // 2
                self._copy(frame[:half], unit)
                self._copy(frame[half:], unit)
                return
            problem = Problem("refused_by_postgres", error.diag.column_name, one_line(error))
            unit.refused.append((frame["file_id"][0], frame["line"][0], problem))
            return
        unit.rows += copied
        unit.bytes += len(data)


def _drop(connection: Connection, table: sql.Identifier) -> None:
    statement = sql.SQL("DROP TABLE IF EXISTS {}").format(table)
    try:
        connection.execute(statement)
    except errors.QueryCanceled:
        connection.execute(statement)  # Ctrl-C cancels what is under way; that was meant for the load.


def copy(connection: Connection, table: sql.Identifier, data: bytes, contract: Contract) -> int:
    """COPY encoded rows into a staging table; return how many Postgres took."""
    query = compose("copy_staging", table=table, columns=identifiers(contract.columns))
    with connection.cursor() as cursor:
        with cursor.copy(query) as stream:
            stream.write(data)
        return cursor.rowcount


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


def encode(frame: pl.DataFrame, contract: Contract) -> bytes:
    """Return `frame` (file_id, line and the contract's columns) in the binary COPY format, in COPY's column order."""
    binary_ids = [
        pl.col(field.name).str.replace_all("-", "", literal=True).str.decode("hex").alias(field.name)
        for field in contract.fields
        if field.kind is Kind.UUID
    ]
    table: Any = frame.with_columns(binary_ids).select(*contract.columns, *PROVENANCE).rechunk().to_arrow()
    kinds = {field.name: field.kind for field in contract.fields}
    encoder = ArrowToPostgresBinaryEncoder.new_with_encoders(table.schema, _encoders(table.schema, kinds))
    batches = table.combine_chunks().to_batches()
    return b"".join([encoder.write_header(), *(encoder.write_batch(batch) for batch in batches), encoder.finish()])


def _encoders(schema: pa.Schema, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    encoders: dict[str, Any] = {}
    for column in schema:
        if kinds.get(column.name) is Kind.JSONB:
            jsonb = pgpq.schema.Jsonb()
            encoders[column.name] = pgpq.encoders.LargeStringEncoderBuilder.new_with_output(column, jsonb)
        else:
            encoders[column.name] = ArrowToPostgresBinaryEncoder.infer_encoder(column)
    return encoders


def _type_name(kind: Kind) -> Any:
    return kind.postgres
