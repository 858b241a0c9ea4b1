"""Staged rows against `events`: which of them are stored already, and whether just so."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl
import psycopg
from psycopg import sql

from loader import staging
from loader.contract import KEY, Contract, Field, Kind
from loader.database import Connection, compose


class Found(NamedTuple):
    """How many of a file's rows are stored already, just so (duplicates) or with another content (conflicts)."""

    file_id: int
    duplicates: int
    conflicts: int


def rows(found: list[Found]) -> int:
    """Return how many rows these are."""
    return sum(file.duplicates + file.conflicts for file in found)


def tell_apart(connection: Connection, contract: Contract, *, none_inserted: bool) -> list[Found]:
    """Compare staged rows that were not inserted with what is stored; set the conflicts aside.

    none_inserted: none of those that are staged was.
    """
    differences = sql.SQL(", ").join(
        sql.SQL("CASE WHEN s.{0} IS DISTINCT FROM e.{0} THEN {1} END").format(sql.Identifier(name), sql.Literal(name))
        for name in contract.columns
        if name != KEY
    )
    query = compose("tell_apart", differences=differences)
    return [Found(*row) for row in connection.execute(query, {"none_inserted": none_inserted})]


def find_all(connection: Connection, unit: pl.DataFrame, contract: Contract) -> list[Found] | None:
    """Stage a unit (`units.in_merge_order`) and tell its rows apart; None, with nothing done, where one is not stored.

    A file that was loaded before comes unit by unit: to compare its rows is enough, without asking twice before.

    Raises:
        psycopg.Error: the database fails for another reason than a row's content.
    """
    found: list[Found] = []
    with connection.transaction():
        staging.clear(connection)
        if not staging.stage(connection, unit, contract):
            are_same = _count_same(connection, contract) == unit.height
            found = _duplicates(unit) if are_same else tell_apart(connection, contract, none_inserted=True)
        if rows(found) != unit.height:
            raise psycopg.Rollback
    return found if rows(found) == unit.height else None


def _duplicates(unit: pl.DataFrame) -> list[Found]:
    return [Found(file_id, height, 0) for file_id, height in unit["file_id"].value_counts().iter_rows()]


def _count_same(connection: Connection, contract: Contract) -> int:
    """Count the staged rows that are stored just so."""
    query = compose("count_same", are_same=sql.SQL(" AND ").join(map(_are_same, contract.fields)))
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def _are_same(field: Field) -> sql.Composed:
    same = sql.SQL("s.{0} IS NOT DISTINCT FROM e.{0}")
    if field.kind is Kind.JSONB:  # What is the same byte by byte need not be walked through.
        same = sql.SQL("(record_image_eq(ROW(s.{0}), ROW(e.{0})) OR s.{0} IS NOT DISTINCT FROM e.{0})")
    return same.format(sql.Identifier(field.name))
