"""Units whose rows are most likely all stored, compared over a second session, while the load's own does others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, suppress
from types import TracebackType
from typing import Self

import polars as pl
import psycopg

from loader import compare
from loader.compare import Found
from loader.contract import Contract
from loader.database import Connection
from loader.errors import DatabaseError

# One that is being compared, and one so that the session need not wait for the next while the load's own is busy.
_MOST_UNITS = 2


class Comparer:
    """Looks at units one after the other; the context is left when it is not at work any more.

    It only ever says of a unit that all its rows are stored, just so, which nothing that the load does can change.
    Whatever else it finds, or that it can't look, is nothing: the load's own session has to deal with the unit.
    """

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]], contract: Contract) -> None:
        """`connect` makes the session, when there is the first unit; it is called from a thread."""
        self._connect = connect
        self._connection: Connection | None = None
        self._stack = ExitStack()
        self._contract = contract
        self._pool = ThreadPoolExecutor(1, "loader-compare")
        self._units: deque[tuple[pl.DataFrame, Future[list[Found] | None]]] = deque()
        self._is_useful = True

    def __enter__(self) -> Self:
        """Connect to nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what it is at, and close the session."""
        self._pool.shutdown(cancel_futures=True)
        self._stack.close()

    def take(self, unit: pl.DataFrame) -> bool:
        """Take `unit` to compare it, and say so; not where there is enough in hand, or one came to nothing."""
        if len(self._units) == _MOST_UNITS or not self._is_useful:
            return False
        self._units.append((unit, self._pool.submit(self._look, unit)))
        return True

    @property
    def is_done(self) -> bool:
        """Whether there is a unit in hand, and the answer to the first of them is there."""
        return bool(self._units) and self._units[0][1].done()

    def give_back_unseen(self) -> pl.DataFrame | None:
        """Return the last unit in hand, if it was not looked at yet."""
        if not self._units or not self._units[-1][1].cancel():
            return None
        return self._units.pop()[0]

    def give_back(self) -> tuple[pl.DataFrame, list[Found] | None] | None:
        """Wait for the first unit in hand, if there is one; return it, and how many rows of each file it has.

        None in place of these: it is not known what its rows are.
        """
        if not self._units:
            return None
        unit, looking = self._units.popleft()
        return unit, looking.result()

    def _look(self, unit: pl.DataFrame) -> list[Found] | None:
        found = None
        # The load does without, or meets the same trouble itself.
        with suppress(psycopg.Error, DatabaseError, OSError):
            self._connection = self._connection or self._stack.enter_context(self._connect())
            with self._connection.transaction(force_rollback=True):  # There is nothing to keep.
                found = compare.find_all(self._connection, unit, self._contract)
        if found is None or any(file.conflicts for file in found):
            self._is_useful = False
            return None
        return found
