"""After COMMIT: a file goes where its fate says, and its outcome is finished."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Self

from loader import landing, ledger, quarantine
from loader.archive import ArchiveError, LoadedFile, archive, put_in_quarantine
from loader.errors import FileProblem, FileRefused
from loader.item import Item
from loader.model import FileOutcome, Status
from loader.names import printable
from loader.quarantine import QuarantineError
from loader.session import Session
from loader.sidecar import Sidecar

_REPORT_SECONDS = 0.1


class Settler:
    """Settles items in order, in a thread of its own, so that the next load need not wait for many files to be moved.

    When the context is left, all are settled.
    """

    def __init__(
        self,
        session: Session,
        sidecar: Sidecar,
        folder: Path,
        contract_version: str,
        on_settled: Callable[[Sequence[FileOutcome]], None],
    ) -> None:
        """`on_settled` is called from any thread, with some outcomes after the other."""
        self._session = session
        self._sidecar = sidecar
        self._folder = folder
        self._contract_version = contract_version
        self._on_settled = on_settled
        self._pool = ThreadPoolExecutor(1, "loader-settle")
        self._settling: list[Future[None]] = []

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait until all are settled; raise what went wrong there."""
        self._pool.shutdown()
        if error is None:
            self._wait()

    def add(self, items: Sequence[Item]) -> None:
        """Settle items of which it is certain what becomes of them.

        Raises:
            DatabaseError: the database can't be used.
        """
        for are_refused, some in groupby(items, lambda item: _refusal(item) is not None):
            if are_refused:
                self._wait()
                self._settle(list(some))  # Here, for the session is this thread's.
            else:
                self._settling.append(self._pool.submit(self._settle, list(some)))

    def _wait(self) -> None:
        for future in self._settling:
            future.result()
        self._settling.clear()

    def _settle(self, items: Sequence[Item]) -> None:
        # Several at once: each time another thread wakes up for them, and takes the interpreter.
        settled: list[FileOutcome] = []
        last = time.monotonic()
        loaded = [LoadedFile(item.file, item.digest, self._folder) for item in items if _is_loaded(item)]
        errors = self._sidecar.map(archive, loaded)
        try:
            for item in items:
                self._settle_one(item, errors)
                settled.append(item.outcome)
                if time.monotonic() - last > _REPORT_SECONDS:
                    self._on_settled(settled)
                    settled, last = [], time.monotonic()
        finally:
            self._on_settled(settled)

    def _settle_one(self, item: Item, errors: Iterator[str | None]) -> None:
        """errors: why loaded items could not be moved, one for each of them in order; asking for one moves its file."""
        outcome = item.outcome
        failure: str | None = None
        try:
            if (refusal := _refusal(item)) is not None:
                _refuse(item, refusal, self._session, self._folder, self._contract_version)
            elif item.problem is not None:
                _give_back(item, item.problem)
            elif _is_loaded(item):
                failure = next(errors)
        except (ArchiveError, QuarantineError) as error:
            failure = str(error)
        if failure is not None:
            outcome.error_code, outcome.error = "not_moved", printable(failure)
        outcome.seconds = time.monotonic() - item.started


def _is_loaded(item: Item) -> bool:
    return item.problem is None and item.outcome.status in (Status.LOADED, Status.SKIPPED)


def _refusal(item: Item) -> FileRefused | None:
    """Return why the file goes to quarantine, if it does; a file that is replayed is there already."""
    return item.problem if isinstance(item.problem, FileRefused) and item.file.origin is None else None


def _give_back(item: Item, problem: FileProblem) -> None:
    """Leave a file that could not be dealt with where it is."""
    outcome = item.outcome
    if problem.code == "file_vanished" and item.file.in_landing:
        outcome.status, outcome.error = Status.BUSY, "another loader took it, or its producer"
    else:
        outcome.status = Status.FAILED
        outcome.error_code, outcome.error = problem.code, problem.message


def _refuse(item: Item, problem: FileRefused, session: Session, folder: Path, contract_version: str) -> None:
    """Say why in quarantine and in the ledger, then move the file."""
    outcome = item.outcome
    outcome.status = Status.REFUSED
    outcome.counts.inserted = 0  # What was, over the budget, is rolled back.
    outcome.error_code, outcome.error = problem.code, problem.message
    path = quarantine.write_error(folder / landing.QUARANTINE, item.file.path.name, item.digest, problem)
    outcome.quarantine = outcome.quarantine or printable(str(path))

    def record() -> None:
        connection = session.connection()
        with connection.transaction():
            item.file_id = ledger.new_file_ids(connection, 1)[0]
            ledger.record(connection, [item.entry(contract_version, problem)])

    session.retrying(record)
    put_in_quarantine(item.file, item.digest, folder)
