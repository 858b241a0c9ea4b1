"""The single-event way in, for a service that has one event in hand: same contract, same merge."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import polars as pl
import psycopg
from psycopg.rows import tuple_row

from loader import aside, contract, merge, migrate, ndjson, resources, staging
from loader.contract import Contract
from loader.database import Connection, connected, is_about_a_row, one_line
from loader.errors import LoaderError
from loader.model import Problem
from loader.run import database
from loader.settings import read
from loader.units import in_merge_order, with_binary_ids
from loader.validate import validate


class ValidationError(LoaderError, ValueError):
    """Raised for an event that is not stored; `problems` holds every reason (code, column, message)."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("; ".join(f"{p.column or 'event'}: {p.code}: {p.message}" for p in problems))
        self.problems = problems


def validate_event(event: Mapping[str, Any]) -> None:
    """Check one event against the contract; no database.

    Args:
        event: JSON types only (dict with str keys, list, str, int, float, bool, None), as `json.loads` returns them.

    Raises:
        ValidationError: it breaks the contract.
    """
    _checked(event)


def ingest_event(event: Mapping[str, Any], *, connection: psycopg.Connection[Any] | None = None) -> bool:
    """Store one event; return True if it was new, False if the same event is stored already.

    Without a `connection` the database that the settings name is used: its schema is brought up to date, and a
    connection opened and closed, for each call. With one, the event is part of its transaction where there is one,
    with whose end its deferred constraints are checked, and committed by itself where there is none; the schema must be
    up to date.

    Raises:
        ValidationError: it breaks the contract, Postgres refuses it, or its id is taken by another event ("conflict").
        DatabaseError: the database can't be used.
    """
    row = _checked(event)
    if connection is not None:
        with _plain(connection) as borrowed:
            return _store(borrowed, row)
    with database(read({})) as conninfo, connected(conninfo) as own:
        migrate.migrate(own)
        return _store(own, row)


@cache
def _contract() -> Contract:
    return contract.load(read({}).contracts)


def _checked(event: Mapping[str, Any]) -> pl.DataFrame:
    """Return the event as a unit of one row."""
    terms = _contract()
    try:
        _require_text_keys(event)
        line = json.dumps(event, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ValidationError([Problem("not_json", None, f"the event is not plain JSON: {error}")]) from error
    rows = ndjson.Rows()
    ndjson.Decoder(terms, max_line_bytes=max(len(line), 1)).add(rows, line, file_id=0, first_line=0)
    checked = validate(ndjson.Decoder(terms, max_line_bytes=len(line)).block(rows), terms)
    if checked.rejects:
        raise ValidationError(list(checked.rejects[0].problems))
    return in_merge_order(with_binary_ids(checked.valid, terms))


def _require_text_keys(value: object) -> None:
    """Refuse what json.dumps would turn into text in silence."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is not a string")
            _require_text_keys(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _require_text_keys(item)


@contextmanager
def _plain(connection: psycopg.Connection[Any]) -> Iterator[Connection]:
    """Lend the caller's connection with the cursors and rows that the loader's queries are written for."""
    given = connection.cursor_factory, connection.row_factory
    connection.cursor_factory, connection.row_factory = psycopg.Cursor, tuple_row
    try:
        yield connection
    finally:
        connection.cursor_factory, connection.row_factory = given


def _store(connection: Connection, row: pl.DataFrame) -> bool:
    terms = _contract()
    try:
        with connection.transaction():
            staging.prepare(connection, terms)
            merger = merge.Merger(connection, terms)
            merger.merge(row)
            problems = [row.problem for row in aside.rows(connection)]
            # A caller's transaction may go on to the next event: nothing of this one stays.
            connection.execute(resources.sql("clear_set_aside"))
    except psycopg.Error as error:
        if not is_about_a_row(error):
            raise
        problem = Problem("refused_by_postgres", error.diag.column_name, one_line(error))
        raise ValidationError([problem]) from error
    if problems:
        raise ValidationError(problems)
    return merger.inserted == 1
