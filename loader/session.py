"""The database session that a pipeline works over, and what happens when it is lost."""

from __future__ import annotations

import os
import random
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from types import TracebackType
from typing import Self, TypeVar

import psycopg

from loader import resources, staging
from loader.conninfo import describe
from loader.contract import Contract
from loader.database import Connection, connected, is_collision, is_passing, is_pooled, one_line
from loader.errors import Abandoned, AccountingError, DatabaseError, LoaderError

T = TypeVar("T")

_ATTEMPTS = 6
_FIRST_PAUSE_SECONDS = 0.5
_CANCEL_SECONDS = 2.0


class Session:
    """Connects when it is first asked to; `retrying` connects anew after a failure that passes."""

    def __init__(
        self, conninfo: str, contract: Contract, notify: Callable[[str], None], abandoned: threading.Event
    ) -> None:
        self._conninfo = conninfo
        self._contract = contract
        self._notify = notify
        self._abandoned = abandoned
        self._stack = ExitStack()
        self._connection: Connection | None = None
        self._opened: list[Connection] = []  # all that were, since `close`
        self._is_pooled = False
        self.has_collided = False  # with other sessions, in the attempt before; never twice in a row

    def __enter__(self) -> Self:
        """Open nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the session."""
        self.close()

    def connection(self) -> Connection:
        """Return the session."""
        if self._connection is None:
            connection = self._stack.enter_context(connected(self._conninfo, self._opened.append))
            staging.prepare(connection, self._contract)
            self._is_pooled = is_pooled(connection)
            self._connection = connection
        return self._connection

    @contextmanager
    def second(self) -> Iterator[Connection]:
        """Yield a second session, beside the first, for what can be done without. It waits for nobody's lock for long.

        Raises:
            DatabaseError: there is none to be had.
        """
        if self._is_pooled:
            raise DatabaseError("a pooler could let it wait for one of the sessions that wait for it")
        with connected(self._conninfo, self._opened.append) as connection:
            connection.execute(resources.sql("wait_briefly"))
            staging.prepare(connection, self._contract)
            yield connection

    def cancel(self) -> None:
        """Cancel what the server is doing for this session; called from another thread."""
        for connection in [*self._opened]:
            with suppress(psycopg.Error):  # It may be closed by now, or beyond reach.
                connection.cancel_safe(timeout=_CANCEL_SECONDS)

    def cut(self) -> None:
        """End all connections where cancelling came to nothing; called from another thread."""
        for connection in [*self._opened]:
            with (
                suppress(psycopg.Error, OSError),  # It may be closed by now.
                socket.socket(fileno=os.dup(connection.fileno())) as own,
            ):
                own.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the session; what was not committed is rolled back."""
        self._connection = None
        self._stack.close()
        self._opened.clear()

    def retrying(self, action: Callable[[], T]) -> T:
        """Run `action`, which must be safe to repeat, until it succeeds or fails for good.

        Raises:
            DatabaseError: the database fails, for good or too often.
            AccountingError: twice in a row the counts did not add up.
            Abandoned: the run is being given up.
        """
        pause = _FIRST_PAUSE_SECONDS
        self.has_collided = False
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return action()
            except (psycopg.Error, DatabaseError, AccountingError) as error:
                reason = self._reason_to_retry(error, attempt)
                # What reconnecting says again and again while a server comes up is no news.
                is_news = isinstance(error, psycopg.Error) and self._connection is not None
                # It did not help to be alone: then it is no loader that is in the way.
                self.has_collided = not self.has_collided and isinstance(error, psycopg.Error) and is_collision(error)
            self.close()
            if is_news:
                self._notify(f"{reason}; trying again in {pause:.1f} s")
            if self._abandoned.wait(pause * random.uniform(0.8, 1.2)):  # noqa: S311 # two loaders must not meet again
                raise Abandoned(reason)
            pause *= 2
        raise AssertionError("unreachable")  # the last attempt returns or raises

    def _reason_to_retry(self, error: psycopg.Error | LoaderError, attempt: int) -> str:
        """Say why another attempt is worth it; raise where it is not."""
        reason = one_line(error) if isinstance(error, psycopg.Error) else str(error)
        if self._abandoned.is_set():
            raise Abandoned(reason) from error
        match error:
            case psycopg.Error():
                if attempt == _ATTEMPTS or not self._passes(error):
                    raise DatabaseError(f"{describe(self._conninfo)}: {reason}") from error
            case DatabaseError():
                # A session that was there is gone and can't be had back yet: the server may be starting.
                if attempt in (1, _ATTEMPTS):
                    raise error
            case _:
                if attempt > 1:
                    raise error
        return reason

    def _passes(self, error: psycopg.Error) -> bool:
        return self._connection is not None and is_passing(error, self._connection)
