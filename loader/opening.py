"""Input files, opened: never through a symlink, and only as they were found; and their SHA-256."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, nullcontext, suppress
from io import BytesIO, FileIO
from itertools import cycle
from pathlib import Path

from loader.errors import FileRefused, FileUnavailable
from loader.landing import LandingFile
from loader.prefetch import prefetched

_AT_ONCE_BYTES = 1 << 20
# So much is hashed at once, at most: after each piece the interpreter has to be waited for, which imports beside it.
_HASHED_BYTES = 8 << 20

File = BytesIO | FileIO


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """Open a regular file for reading, never through a symlink and never waiting for a FIFO's writer.

    Raises:
        FileUnavailable: it is gone, can't be read, or is no regular file.
    """
    descriptor = _open(path)
    try:
        _regular(descriptor)
        with FileIO(descriptor, closefd=False) as file:
            yield file
    finally:
        _close(descriptor)


@contextmanager
def opened_as_found(file: LandingFile) -> Iterator[File]:
    """Open a file that was discovered; it must be that very file now, and still be so when it has been read.

    Raises:
        FileUnavailable: it is gone, can't be read, or is not what it was.
    """
    descriptor = _open(file.path)
    try:
        _check_found(descriptor, file)
        is_small = file.size <= _AT_ONCE_BYTES
        handle = BytesIO(_content(descriptor, file.size)) if is_small else FileIO(descriptor, closefd=False)
        try:
            yield handle
        except FileRefused:
            _check_unchanged(_status(descriptor), file)  # What looks broken may just have been changed meanwhile.
            raise
        _check_unchanged(_status(descriptor), file)
    finally:
        _close(descriptor)


def _content(descriptor: int, size: int) -> bytes:
    """Return the bytes of a small file: by one system call, since threads take turns at each."""
    found = b""
    with reading():
        while len(found) < size and (more := os.read(descriptor, size - len(found))):
            found += more
    return found


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise FileUnavailable("file_vanished", "the file is gone") from error
    except OSError as error:
        raise FileUnavailable("file_unreadable", f"the file can't be opened: {error.strerror}") from error


def _close(descriptor: int) -> None:
    with suppress(OSError):  # What was read was read, and if reading failed, that is what to say.
        os.close(descriptor)


def _regular(descriptor: int) -> os.stat_result:
    status = _status(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise FileUnavailable("not_a_file", "not a regular file")
    return status


def _check_found(descriptor: int, file: LandingFile) -> None:
    status = _regular(descriptor)
    if status.st_ino != file.inode[1]:
        raise FileUnavailable("file_changed", "another file has taken its place")
    _check_unchanged(status, file)


def fingerprint(file: File, on_read: Callable[[], None] = lambda: None) -> bytes:
    """Return the SHA-256 of the file's bytes, and rewind it. `on_read` is called now and then, and may raise.

    Raises:
        FileUnavailable: a read fails.
    """
    import hashlib  # with OpenSSL behind it, half of what an idle run would have to import

    if isinstance(file, BytesIO):
        return hashlib.sha256(file.getbuffer()).digest()
    digest = hashlib.sha256()
    size = _status(file.fileno()).st_size
    is_large = size > _HASHED_BYTES  # Then one piece is read while another is hashed.
    pieces = _pieces(file, min(_HASHED_BYTES, max(1, size)), buffers=2 if is_large else 1)
    with reading(), prefetched(pieces, depth=1) if is_large else nullcontext(pieces) as ready:
        for piece in ready:
            digest.update(piece)
            on_read()
        file.seek(0)
    return digest.digest()


def _pieces(file: FileIO, size: int, *, buffers: int) -> Generator[memoryview]:
    """Yield the bytes of a file, `size` at a time; a piece is good until its buffer's turn comes again."""
    for buffer in cycle([memoryview(bytearray(size)) for _ in range(buffers)]):
        if not (found := file.readinto(buffer)):
            return
        yield buffer[:found]


@contextmanager
def reading() -> Iterator[None]:
    """Turn an OSError into FileUnavailable; nothing but reading or looking at one file may be done meanwhile."""
    try:
        yield
    except OSError as error:
        raise _unreadable(error) from error


def _status(descriptor: int) -> os.stat_result:
    try:
        return os.fstat(descriptor)
    except OSError as error:
        raise _unreadable(error) from error


def _unreadable(error: OSError) -> FileUnavailable:
    return FileUnavailable("file_unreadable", f"reading fails: {error.strerror}")


def _check_unchanged(status: os.stat_result, expected: LandingFile) -> None:
    """Raise FileUnavailable if the open file is not, byte for byte in all likelihood, what was discovered."""
    if (status.st_size, status.st_mtime_ns) != (expected.size, expected.mtime_ns):
        raise FileUnavailable("file_changed", "the file changed while it was being read")
