"""The pair of database sessions that a pipeline works over, and what happens when one is lost."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from types import TracebackType
from typing import Self, TypeVar

import psycopg

from loader import merge
from loader.database import Connection, connected, is_passing, one_line
from loader.errors import AccountingError, DatabaseError

T = TypeVar("T")

_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.5


class Sessions:
    """Opens sessions when they are first asked for; `retrying` opens them anew after a failure that passes."""

    def __init__(self, conninfo: str, notify: Callable[[str], None]) -> None:
        self._conninfo = conninfo
        self._notify = notify
        self._stack = ExitStack()
        self._merging: Connection | None = None
        self._staging: Connection | None = None

    def __enter__(self) -> Self:
        """Open nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close both sessions."""
        self.close()

    def merging(self) -> Connection:
        """Return the session that holds a load's transaction."""
        if self._merging is None:
            self._merging = self._stack.enter_context(connected(self._conninfo))
            merge.prepare(self._merging)
        return self._merging

    def staging(self) -> Connection:
        """Return the session that COPYs."""
        if self._staging is None:
            self._staging = self._stack.enter_context(connected(self._conninfo))
        return self._staging

    def close(self) -> None:
        """Close both sessions; what was not committed is rolled back."""
        self._merging = self._staging = None
        self._stack.close()

    def retrying(self, action: Callable[[], T]) -> T:
        """Run `action`, which must be safe to repeat, until it succeeds or fails for good.

        Raises:
            DatabaseError: the database fails, for good or too often.
            AccountingError: twice in a row the counts did not add up.
        """
        pause = _FIRST_PAUSE_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            lost = False
            try:
                return action()
            except psycopg.Error as error:
                lost = self._merging is not None
                if not self._passes(error) or attempt == _ATTEMPTS:
                    raise DatabaseError(one_line(error)) from error
                reason = one_line(error)
            except DatabaseError as error:
                # A session that was there is gone and can't be had back yet: the server may be starting.
                if attempt in (1, _ATTEMPTS):
                    raise
                reason = str(error)
            except AccountingError as error:
                if attempt > 1:
                    raise
                reason = str(error)
            self.close()
            if lost:
                self._notify(f"{reason}; trying again in {pause:.1f} s")
            time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 # so that two loaders don't meet again
            pause *= 2
        raise AssertionError("unreachable")  # the last attempt returns or raises

    def _passes(self, error: psycopg.Error) -> bool:
        sessions = [session for session in (self._merging, self._staging) if session is not None]
        return any(is_passing(error, session) for session in sessions)
