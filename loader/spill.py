"""A file without a name, for contents that there is no room in memory for; it goes with its process.

What is put in is soon taken out again, in any order, and its place is used again: the file grows no larger than what
was in it at one time, and much of it is overwritten before the kernel writes it to the disk.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from io import FileIO
from types import TracebackType
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa

from loader.errors import FileUnavailable

_PAGE_BYTES = 32 << 10
_LARGE = "/var/tmp"  # noqa: S108 # for large files (file-hierarchy(7)), where /tmp may be memory; the file has no name


class Spilled(NamedTuple):
    """A content that was put in."""

    length: int  # bytes
    checksum: int
    pages: list[int]  # of the file
    kept: pa.Buffer | None  # the content, where it could not be written


class Spill:
    """The file; it is made when there is something to put in."""

    def __init__(self) -> None:
        self._file: FileIO | None = None
        self._pages = 0  # of the file
        self._free: list[int] = []
        self.has_failed = False  # to write: from then on contents are kept in memory

    def __enter__(self) -> Self:
        """Make nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the file, which is then gone."""
        if self._file is not None:
            self._file.close()

    def put(self, content: pa.Buffer) -> Spilled:
        """Put a content in."""
        if not self.has_failed:
            pages = self._unused(-(-content.size // _PAGE_BYTES))
            try:
                self._write(content, pages)
            except OSError:  # No room, most likely. The content is still at hand.
                self.has_failed = True
            else:
                return Spilled(content.size, _checksum(content), pages, None)
        return Spilled(content.size, 0, [], content)

    def take(self, spilled: Spilled) -> pa.Buffer:
        """Take a content out.

        Raises:
            FileUnavailable: it can't be read any more.
        """
        if spilled.kept is not None:
            return spilled.kept
        try:
            content = self._read(spilled)
        except OSError as error:
            raise _lost(str(error.strerror)) from error
        if _checksum(content) != spilled.checksum:  # What can't be written later on is lost without a word.
            raise _lost("they are not what was written")
        self._free += spilled.pages
        return content

    def _unused(self, count: int) -> list[int]:
        while len(self._free) < count:
            self._free.append(self._pages)
            self._pages += 1
        return [self._free.pop() for _ in range(count)]

    def _write(self, content: pa.Buffer, pages: list[int]) -> None:
        if self._file is None:
            self._file = _made()
        for piece in _paged(content, pages, self._file):
            if self._file.write(piece) != len(piece):
                raise OSError

    def _read(self, spilled: Spilled) -> pa.Buffer:
        assert self._file is not None  # noqa: S101 # it was written to
        content = pa.allocate_buffer(spilled.length)
        for piece in _paged(content, spilled.pages, self._file):
            self._file.readinto(piece)
        return content


def folder() -> str:
    """Return where the file is made.

    Raises:
        OSError: temporary files can't be made anywhere.
    """
    return os.environ.get("TMPDIR") or (_LARGE if os.access(_LARGE, os.W_OK | os.X_OK) else tempfile.gettempdir())


def _made() -> FileIO:
    return tempfile.TemporaryFile(dir=folder(), buffering=0)


def _paged(content: pa.Buffer, pages: list[int], file: FileIO) -> Iterator[memoryview]:
    """Yield what of the content belongs on each page, the file being at its place."""
    view = memoryview(content)
    for number, page in enumerate(pages):
        file.seek(page * _PAGE_BYTES)
        yield view[number * _PAGE_BYTES : (number + 1) * _PAGE_BYTES]


def _checksum(content: pa.Buffer) -> int:
    """Return the sum of a content's words; Arrow's message format fills the last one."""
    return int(np.frombuffer(content, np.uint64).sum())


def _lost(reason: str) -> FileUnavailable:
    return FileUnavailable("spill_failed", f"rows held back in a temporary file can't be read again: {reason}")
