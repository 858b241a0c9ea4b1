"""Files -> their contents' SHA-256, ahead of whoever loads them.

It needs nothing heavy, so that the first files are hashed while the libraries for the rest of the way are imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple, Self

from loader import opening
from loader.compression import check_name
from loader.errors import Abandoned, FileProblem
from loader.landing import LandingFile
from loader.sidecar import Sidecar


class Identified(NamedTuple):
    """A file and the SHA-256 of its content, or why it can't be loaded."""

    file: LandingFile
    digest: bytes
    problem: FileProblem | None


def identify(file: LandingFile, on_read: Callable[[], None] = lambda: None) -> Identified:
    """Read a file for its SHA-256. `on_read` is called now and then, and may raise."""
    return Identified(file, *_read(file, on_read))


def _read(file: LandingFile, on_read: Callable[[], None] = lambda: None) -> tuple[bytes, FileProblem | None]:
    digest = b""
    try:
        with opening.opened_as_found(file) as handle:
            digest = opening.fingerprint(handle, on_read)
            check_name(handle, file)
    except FileProblem as problem:
        return digest, problem
    return digest, None


class Identification:
    """Hands out batches of files, in order; as many as there are takers are hashed ahead.

    It begins when the context is entered, and is given up when the context is left.
    """

    def __init__(self, batches: Iterable[Sequence[LandingFile]], sidecar: Sidecar, *, takers: int) -> None:
        self._batches = iter(batches)
        self._sidecar = sidecar
        self.takers = takers
        self._pool = ThreadPoolExecutor(takers, "loader-identify")
        self._ahead: list[Future[list[Identified]]] = []
        self._lock = threading.Lock()
        self._given_up = threading.Event()

    def __enter__(self) -> Self:
        """Begin with the first batches."""
        for _ in range(self.takers):
            self._begin_another()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give up what is not done and wait for the threads."""
        self.give_up()
        self._pool.shutdown(cancel_futures=True)

    def give_up(self) -> None:
        """Let whoever waits for a batch get Abandoned soon."""
        self._given_up.set()

    def batches(self) -> Iterator[list[Identified]]:
        """Yield batches until there are none left; any number of threads may share them.

        Raises:
            Abandoned: it was given up.
        """
        while (batch := self._take()) is not None:
            yield batch

    def _take(self) -> list[Identified] | None:
        with self._lock:
            if not self._ahead:
                return None
            first = self._ahead.pop(0)
            self._begin_another()
        return first.result()

    def _begin_another(self) -> None:
        batch = next(self._batches, None)
        if batch is not None:
            self._ahead.append(self._pool.submit(self._identify, batch))

    def _identify(self, batch: Sequence[LandingFile]) -> list[Identified]:
        if len(batch) == 1:  # It may be of any size, so that it must be possible to give up in the middle.
            return [identify(batch[0], self._check)]
        found: list[Identified] = []
        for file, read in zip(batch, self._sidecar.map(_read, batch), strict=True):
            self._check()
            found.append(Identified(file, *read))
        return found

    def _check(self) -> None:
        if self._given_up.is_set():
            raise Abandoned("the run is given up")
