"""The rejects of a load -> quarantine: durable while Postgres is at work, under their names right before COMMIT."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from loader import scratch
from loader.reject_file import RejectFile
from loader.scratch import Scratch, Unnamed, Unsaved
from loader.sidecar import Sidecar

if TYPE_CHECKING:
    from loader.rejected import Origin

# What is handed over at a time.
_MOST_FILES = 200
_MOST_BYTES = 8 << 20


class Publisher:
    """The files of rejects of one load; leaving the context leaves nothing behind of those that were not published."""

    def __init__(self, folder: Path, sidecar: Sidecar) -> None:
        """folder: quarantine."""
        self._place = Scratch(folder)
        self._sidecar = sidecar
        self._pool = ThreadPoolExecutor(1, "loader-publish")
        self._files: list[RejectFile] = []
        self._saving: Future[None] | None = None

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for what is being written, and remove what has no name."""
        self._pool.shutdown(cancel_futures=True)
        for file in self._files:
            file.close()
        self._place.__exit__(kind, error, traceback)

    def file(self, source: str, digest: bytes, file_id: int, origin: Origin | None) -> RejectFile:
        """Return where the rejects of one input file go. Nothing is made before there is one."""
        file = RejectFile(self._place, source, digest, file_id, origin)
        self._files.append(file)
        return file

    def begin(self) -> None:
        """Begin to make durable what there is so far; a later `publish` has less to wait for."""
        self._saving = self._pool.submit(self._save, self._files)

    def wait(self) -> None:
        """Wait for what was begun.

        Raises:
            QuarantineError: something can't be written.
        """
        if self._saving is not None:
            self._saving.result()

    def publish(self, files: Sequence[RejectFile]) -> None:
        """Make durable those of `files` that have rejects, give them their final names, and make these durable.

        Raises:
            QuarantineError: one can't be written.
        """
        self.wait()
        named = [file for file in files if not file.is_empty]
        if named:
            self._save(named)
            with _reported(named[0]):
                self._give_names(named)
                scratch.sync_folder(self._place.quarantine)

    def _save(self, files: Sequence[RejectFile]) -> None:
        unsaved = [file for file in files if not file.is_saved]
        in_memory = [file for file in unsaved if file.is_in_memory]
        for file in unsaved:
            _ = file.path  # found out now, while Postgres is at work
            if not file.is_in_memory:
                file.save()
        if not in_memory:
            return
        with _reported(in_memory[0]):
            saved = chain.from_iterable(self._sidecar.map(scratch.save, self._unsaved(in_memory), at_once=1))
            for file, inode in zip(in_memory, saved, strict=True):
                if isinstance(inode, str):
                    raise file.failure(inode)
                file.inode, file.is_saved = inode, True

    def _unsaved(self, files: Sequence[RejectFile]) -> Iterator[Unsaved]:
        some: list[tuple[str, bytes]] = []
        size = 0
        for file in files:
            content = file.content
            some.append((file.temporary_name, content))
            size += len(content)
            if len(some) == _MOST_FILES or size > _MOST_BYTES:
                yield Unsaved(self._place.path, some)
                some, size = [], 0
        if some:
            yield Unsaved(self._place.path, some)

    def _give_names(self, files: Sequence[RejectFile]) -> None:
        names = [(file.temporary_name, file.inode, file.path) for file in files]
        starts = range(0, len(names), _MOST_FILES)
        unnamed = [Unnamed(self._place.path, names[start : start + _MOST_FILES]) for start in starts]
        named = chain.from_iterable(self._sidecar.map(scratch.give_names, unnamed, at_once=1))
        for file, failure in zip(files, named, strict=True):
            if failure is not None:
                raise file.failure(failure)
            file.close()


@contextmanager
def _reported(file: RejectFile) -> Iterator[None]:
    """Say of an OSError that concerns all files which of them can't be written, one of many."""
    try:
        yield
    except OSError as error:
        raise file.failure(str(error.strerror)) from error
