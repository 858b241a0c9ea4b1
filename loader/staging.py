"""Rows -> `events` or the session's staging table, in COPY's binary format.

The staging table is temporary: it lives and dies with its session, and nobody else can see it.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from loader import resources
from loader.aside import SetAside
from loader.contract import PROVENANCE, Contract, Kind
from loader.database import Connection, compose, identifiers, is_about_a_row, one_line
from loader.encode import encode
from loader.model import Problem
from loader.prefetch import prefetched


def prepare(connection: Connection, contract: Contract) -> None:
    """Create the session's temporary tables."""
    columns = sql.SQL(", ").join(
        sql.SQL("{} {}").format(sql.Identifier(field.name), sql.SQL(_type_name(field.kind)))
        for field in contract.fields
    )
    # Several commands can't be prepared, which a caller's connection may want of every statement.
    connection.execute(compose("create_staging", columns=columns), prepare=False)


def clear(connection: Connection) -> None:
    """Empty the staging table."""
    connection.execute(resources.sql("clear_staging"))


def copy_into_events(
    connection: Connection,
    rows: pl.DataFrame,
    contract: Contract,
    where: pl.Series,
    encoded: Generator[bytes] | None = None,
) -> int:
    """COPY those rows (`in_merge_order`) that `where` has straight into `events`; return how many Postgres stored.

    encoded: these rows, where they have been encoded ahead.

    Raises:
        psycopg.Error: the database refuses; one row that it refuses is enough.
    """
    return _copy(connection, "copy_events", encoded or encode(rows, contract, where), contract)


def stage(connection: Connection, rows: pl.DataFrame, contract: Contract) -> list[SetAside]:
    """COPY rows (`in_merge_order`) into the staging table, in their order; return those that Postgres refused.

    Where it refuses one, halve down to it.

    Raises:
        psycopg.Error: the database fails for another reason than a row's content.
    """
    try:
        with connection.transaction():  # a savepoint: a refused row must not cost the others
            _copy(connection, "copy_staging", encode(rows, contract), contract)
    except psycopg.Error as error:
        if not is_about_a_row(error):
            raise
        if rows.height > 1:
            half = rows.height // 2
            return stage(connection, rows[:half], contract) + stage(connection, rows[half:], contract)
        file_id, line = rows.select(PROVENANCE).row(0)
        return [SetAside(file_id, line, refusal(error))]
    return []


def refusal(error: psycopg.Error) -> Problem:
    """Say why Postgres refused a row."""
    return Problem("refused_by_postgres", error.diag.column_name, one_line(error))


def _copy(connection: Connection, name: str, encoded: Generator[bytes], contract: Contract) -> int:
    query = compose(name, columns=identifiers(contract.columns))
    with connection.cursor() as cursor:
        with prefetched(encoded, depth=3) as pieces, cursor.copy(query) as stream:
            for piece in pieces:
                stream.write(piece)
        return cursor.rowcount


def _type_name(kind: Kind) -> Any:
    return kind.postgres
