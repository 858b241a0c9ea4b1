"""The single-event way in, for a service that has one event in hand: same contract, same merge."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import polars as pl
import psycopg
from psycopg import sql

from loader import contract, merge, migrate, ndjson, resources, staging
from loader.contract import Contract
from loader.database import Connection, compose, connected, is_about_a_row, one_line
from loader.encode import encode, in_merge_order
from loader.errors import LoaderError
from loader.model import Problem
from loader.run import database
from loader.settings import read
from loader.validate import validate

_TABLE = sql.Identifier("pg_temp", "loader_single")
_PLACE = pl.DataFrame({"file_id": [0], "line": [0]})


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
    and committed by itself where there is none; the schema must be up to date.

    Raises:
        ValidationError: it breaks the contract, Postgres refuses it, or its id is taken by another event ("conflict").
        DatabaseError: the database can't be used.
    """
    row = _checked(event)
    if connection is not None:
        return _store(connection, row)
    with database(read({})) as conninfo, connected(conninfo) as own:
        migrate.migrate(own)
        return _store(own, row)


@cache
def _contract() -> Contract:
    return contract.load(read({}).contracts)


def _checked(event: Mapping[str, Any]) -> bytes:
    """Return the event as one row in the binary COPY format."""
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
    return encode(in_merge_order(checked.valid, terms), terms)


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


def _store(connection: Connection, row: bytes) -> bool:
    terms = _contract()
    try:
        with connection.transaction():
            merge.prepare(connection)
            connection.execute(
                compose("create_single_staging", table=_TABLE, columns=staging.column_definitions(terms))
            )
            staging.copy(connection, _TABLE, row, terms)
            unit = staging.Unit(_TABLE, _PLACE)
            merger = merge.Merger(connection, terms)
            merger.merge(unit)
            aside = [found.problem for found in merge.set_aside(connection)]
            connection.execute(resources.sql("clear_single"))
    except psycopg.Error as error:
        if not is_about_a_row(error):
            raise
        problem = Problem("refused_by_postgres", error.diag.column_name, one_line(error))
        raise ValidationError([problem]) from error
    if aside:
        raise ValidationError(aside)
    return merger.inserted == 1
