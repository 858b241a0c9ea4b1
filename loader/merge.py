"""Staged rows -> `events`, inside the load's one transaction; what is not inserted is a duplicate or a conflict."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import polars as pl
import psycopg
from psycopg import sql

from loader import resources
from loader.contract import KEY, Contract
from loader.database import Connection, compose, identifiers, is_about_a_row, one_line
from loader.errors import AccountingError
from loader.model import Counts, Problem
from loader.staging import Unit

# Fewer rows than this are not worth another way than the plain one.
_FEW = 100
_Place = tuple[int, int]  # file_id, line


class SetAside(NamedTuple):
    """A staged row that is not in `events` and no duplicate, and why."""

    file_id: int
    line: int
    problem: Problem


class Merger:
    """Merges the units of one load over a connection with an open transaction."""

    def __init__(self, connection: Connection, contract: Contract) -> None:
        self._connection = connection
        self._contract = contract
        self._inserted = 0
        self._key_is_checked = False
        self.left_over: dict[int, Counts] = defaultdict(Counts)  # by file: duplicates, conflicts, rejected

    @property
    def inserted(self) -> int:
        """Rows that Postgres says it inserted, over all files of the load."""
        return self._inserted

    def merge(self, unit: Unit) -> None:
        """Merge all rows of `unit`.

        Raises:
            AccountingError: rows were neither inserted nor found in `events`.
            psycopg.Error: the database fails for another reason than a row's content.
        """
        for file_id, line, problem in unit.refused:
            self._set_aside((file_id, line), problem)
        if len(unit.places) < _FEW or not self._insert_new(unit):
            self._merge_rows(unit, unit.places.sort("file_id", "line"))

    def _insert_new(self, unit: Unit) -> bool:
        """Merge in the quick way; return False, with nothing done, where that can't be."""
        if not self._key_is_checked:  # outside of the savepoint, whose end could give up the lock
            self._connection.execute(resources.sql("check_key"))
            self._key_is_checked = True
        try:
            with self._connection.transaction():
                inserted = self._run("insert_new", unit, unit.places)
        except psycopg.Error as error:
            if not is_about_a_row(error):
                raise
            return False
        self._inserted += inserted
        return True

    def _merge_rows(self, unit: Unit, rows: pl.DataFrame) -> None:
        """Merge `rows` of a unit, by file and line; where Postgres refuses one, halve down to it and set it aside."""
        if rows.is_empty():
            return
        first, last = rows.row(0), rows.row(-1)
        bounds = {"first_file": first[0], "first_line": first[1], "last_file": last[0], "last_line": last[1]}
        try:
            with self._connection.transaction():  # a savepoint: a refused row must not cost the others
                inserted = self._run("merge", unit, rows, bounds)
        except psycopg.Error as error:
            if not is_about_a_row(error):
                raise
            self._halve(unit, rows, error)
            return
        self._inserted += inserted

    def _halve(self, unit: Unit, rows: pl.DataFrame, error: psycopg.Error) -> None:
        if len(rows) == 1:
            problem = Problem("refused_by_postgres", error.diag.column_name, one_line(error))
            self._set_aside(rows.row(0), problem)
            return
        half = len(rows) // 2
        self._merge_rows(unit, rows[:half])
        self._merge_rows(unit, rows[half:])

    def _run(self, name: str, unit: Unit, rows: pl.DataFrame, bounds: dict[str, int] | None = None) -> int:
        """Run a statement that inserts `rows` (file_id, line) of a unit; return how many it inserted."""
        query = compose(name, staging=unit.table, columns=identifiers(self._contract.columns))
        file_ids, lines = self._connection.execute(query, bounds, binary=True).fetchone() or ([], [])
        inserted = pl.DataFrame({"file_id": file_ids, "line": lines}, schema=rows.schema)
        left_over = rows.join(inserted, on=rows.columns, how="anti") if len(inserted) < len(rows) else rows.clear()
        if len(inserted) + len(left_over) != len(rows):
            raise AccountingError(f"{len(inserted)} of {len(rows)} rows inserted, {len(left_over)} left over")
        if not left_over.is_empty():
            self._tell_apart(unit, left_over)
        return len(inserted)

    def _tell_apart(self, unit: Unit, left_over: pl.DataFrame) -> None:
        """Tell duplicates from conflicts among the rows that were not inserted."""
        differences = sql.SQL(", ").join(
            sql.SQL("CASE WHEN s.{0} IS DISTINCT FROM e.{0} THEN {1} END").format(
                sql.Identifier(name), sql.Literal(name)
            )
            for name in self._contract.columns
            if name != KEY
        )
        query = compose("tell_apart", staging=unit.table, differences=differences)
        places = {"file_ids": left_over["file_id"].to_list(), "lines": left_over["line"].to_list()}
        found = self._connection.execute(query, places).fetchall()
        if sum(duplicates + conflicts for _, duplicates, conflicts in found) != len(left_over):
            raise AccountingError(
                f"{len(left_over)} rows were not inserted, but not all of them are in events: "
                "does a trigger on events drop rows, or did somebody delete events just now?"
            )
        for file_id, duplicates, conflicts in found:
            self.left_over[file_id].duplicates += duplicates
            self.left_over[file_id].conflicts += conflicts

    def _set_aside(self, place: _Place, problem: Problem) -> None:
        file_id, line = place
        row = {"file_id": file_id, "line": line, "code": problem.code, "column_name": problem.column}
        self._connection.execute(resources.sql("set_row_aside"), {**row, "message": problem.message})
        self.left_over[file_id].rejected += 1


def prepare(connection: Connection) -> None:
    """Create the session's temporary tables that a merge needs."""
    connection.execute(resources.sql("create_merge_tables"))


def set_aside(connection: Connection) -> Iterator[SetAside]:
    """Yield the rows that were set aside in this transaction, by file and line."""
    with connection.cursor(name="loader_set_aside") as cursor:
        cursor.itersize = 1000
        for file_id, line, code, column, message in cursor.execute(resources.sql("list_set_aside")):
            yield SetAside(file_id, line, Problem(code, column, message))
