"""Units whose rows are most likely all stored, compared over a second session, while the load's own does others."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

import polars as pl
import psycopg

from loader import compare
from loader.compare import Found
from loader.contract import Contract
from loader.database import Connection
from loader.errors import DatabaseError


class Comparer:
    """Looks at one unit at a time; the context is left when it is not at work any more.

    It only ever says of a unit that all its rows are stored, just so, which nothing that the load does can change.
    Whatever else it finds, or that it can't look, is nothing: the load's own session has to deal with the unit.
    """

    def __init__(self, connect: Callable[[], Connection], contract: Contract) -> None:
        """`connect` gives the session, each time the same; it is called from a thread."""
        self._connect = connect
        self._contract = contract
        self._pool = ThreadPoolExecutor(1, "loader-compare")
        self._unit: pl.DataFrame | None = None
        self._looking: Future[list[Found] | None] | None = None
        self._is_useful = True

    def __enter__(self) -> Self:
        """Connect to nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what it is at."""
        self._pool.shutdown()

    def take(self, unit: pl.DataFrame) -> bool:
        """Begin to compare `unit`, and say so; not where there is one in hand, or the last one was not all known."""
        if self._unit is not None or not self._is_useful:
            return False
        self._unit, self._looking = unit, self._pool.submit(self._look, unit)
        return True

    @property
    def is_done(self) -> bool:
        """Whether there is a unit in hand and its answer is there."""
        return self._looking is not None and self._looking.done()

    def give_back(self) -> tuple[pl.DataFrame, list[Found] | None] | None:
        """Wait for the unit in hand, if there is one; return it, and how many of its rows are duplicates of each file.

        None in place of these: it is not known what its rows are.
        """
        if self._unit is None or self._looking is None:
            return None
        answer = self._unit, self._looking.result()
        self._unit = self._looking = None
        return answer

    def _look(self, unit: pl.DataFrame) -> list[Found] | None:
        found = None
        try:
            connection = self._connect()
            with connection.transaction():
                found = compare.find_all(connection, unit, self._contract)
        except (psycopg.Error, DatabaseError):  # The
            pass
        if found is None or any(file.conflicts for file in found):
            self._is_useful = False
            return None
        return found
