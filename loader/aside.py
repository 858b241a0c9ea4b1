"""Rows of a load that are neither stored nor duplicates, and why: noted in a temporary table, in the transaction."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from loader import resources
from loader.database import Connection
from loader.model import Problem


class SetAside(NamedTuple):
    """A row that is not in `events` and no duplicate, and why."""

    file_id: int
    line: int
    problem: Problem


def add(connection: Connection, row: SetAside) -> None:
    """Set a row aside, where it is no conflict: `tell_apart.sql` does so with those."""
    place = {"file_id": row.file_id, "line": row.line}
    code, column, message = row.problem
    connection.execute(resources.sql("set_row_aside"), {**place, "code": code, "column": column, "message": message})


def rows(connection: Connection) -> Iterator[SetAside]:
    """Yield the rows that were set aside in this transaction, by file and line."""
    with connection.cursor(name="loader_set_aside") as cursor:
        cursor.itersize = 1000
        for file_id, line, code, column, message in cursor.execute(resources.sql("list_set_aside")):
            yield SetAside(file_id, line, Problem(code, column, message))
