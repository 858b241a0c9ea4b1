"""The rejects of a load -> quarantine: durable while Postgres is at work, under their names right before COMMIT."""

from __future__ import annotations

import resource
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from loader.quarantine import RejectFile

# Most of the time goes into waiting for the disk, which can deal with several files at once.
_THREADS = 16
_FEW_DESCRIPTORS = 1024


class Publisher:
    """Threads that write reject files; the context is left when none of them is at work any more."""

    def __init__(self, most_files: int) -> None:
        """Take part in using up to half of the descriptors, with all loads side by side: `most_files` together."""
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._share = (_FEW_DESCRIPTORS if limit == resource.RLIM_INFINITY else limit) / (2 * most_files)
        self._pool = ThreadPoolExecutor(_THREADS, "loader-publish")
        self._saving: list[Future[None]] = []

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what is being written."""
        self._pool.shutdown(cancel_futures=True)

    def begin(self, files: Sequence[RejectFile]) -> None:
        """Begin to make durable what `files` of one load hold: of those whose descriptors can stay open until then."""
        most = max(1, int(len(files) * self._share))
        self._saving = self._start(RejectFile.save, files[:most])

    def wait(self) -> None:
        """Wait for what was begun.

        Raises:
            QuarantineError: something can't be written.
        """
        for saving in self._saving:
            saving.result()

    def publish(self, files: Sequence[RejectFile]) -> None:
        """Give the files that have rejects their final names.

        Raises:
            QuarantineError: one can't be written.
        """
        for publishing in self._start(RejectFile.publish, files):
            publishing.result()

    def _start(self, action: Callable[[RejectFile], object], files: Sequence[RejectFile]) -> list[Future[None]]:
        waiting = [file for file in files if not file.is_empty]

        def act(some: Sequence[RejectFile]) -> None:
            for file in some:
                action(file)

        return [self._pool.submit(act, some) for number in range(_THREADS) if (some := waiting[number::_THREADS])]
