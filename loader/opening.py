"""Input files, opened: never through a symlink, and only as they were found; and their SHA-256."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BytesIO, FileIO
from pathlib import Path

from loader.errors import FileRefused, FileUnavailable
from loader.landing import LandingFile

_AT_ONCE_BYTES = 1 << 20

File = BytesIO | FileIO


@contextmanager
def opened(path: Path) -> Iterator[FileIO]:
    """Open a regular file for reading, never through a symlink and never waiting for a FIFO's writer.

    Raises:
        FileUnavailable: it is gone, can't be read, or is no regular file.
    """
    with _descriptor(path) as (descriptor, _), FileIO(descriptor, "rb", closefd=False) as file:
        yield file


@contextmanager
def _descriptor(path: Path) -> Iterator[tuple[int, os.stat_result]]:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError as error:
        raise FileUnavailable("file_vanished", "the file is gone") from error
    except OSError as error:
        raise FileUnavailable("file_unreadable", f"the file can't be opened: {error.strerror}") from error
    try:
        status = _status(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FileUnavailable("not_a_file", "not a regular file")
        yield descriptor, status
    finally:
        with suppress(OSError):  # What was read was read, and if reading failed, that is what to say.
            os.close(descriptor)


@contextmanager
def opened_as_found(file: LandingFile) -> Iterator[File]:
    """Open a file that was discovered; it must be that very file now, and still be so when it has been read.

    Raises:
        FileUnavailable: it is gone, can't be read, or is not what it was.
    """
    with _descriptor(file.path) as (descriptor, status):
        if status.st_ino != file.inode[1]:
            raise FileUnavailable("file_changed", "another file has taken its place")
        _check_unchanged(status, file)
        with _reader(descriptor, file.size) as handle:
            try:
                yield handle
            except FileRefused:
                _check_unchanged(_status(descriptor), file)  # What looks broken may just have been changed meanwhile.
                raise
        _check_unchanged(_status(descriptor), file)


def _reader(descriptor: int, size: int) -> File:
    """Return a file of `size` bytes to read from; a small one's bytes, since threads take turns at each system call."""
    if size > _AT_ONCE_BYTES:
        return FileIO(descriptor, "rb", closefd=False)
    content = b""
    with reading():
        while len(content) < size and (more := os.read(descriptor, size - len(content))):
            content += more
    return BytesIO(content)


def fingerprint(file: File, on_read: Callable[[], None] = lambda: None) -> bytes:
    """Return the SHA-256 of the file's bytes, and rewind it. `on_read` is called now and then, and may raise.

    Raises:
        FileUnavailable: a read fails.
    """
    import hashlib  # with OpenSSL behind it, half of what an idle run would have to import

    digest = hashlib.sha256()
    with reading():
        # A megabyte of zeros costs more than all else for a small file.
        buffer = memoryview(bytearray(min(_AT_ONCE_BYTES, max(1, file.seek(0, os.SEEK_END)))))
        file.seek(0)
        while size := file.readinto(buffer):
            digest.update(buffer[:size])
            on_read()
        file.seek(0)
    return digest.digest()


@contextmanager
def reading() -> Iterator[None]:
    """Turn an OSError into FileUnavailable; nothing but reading or looking at one file may be done meanwhile."""
    try:
        yield
    except OSError as error:
        raise FileUnavailable("file_unreadable", f"reading fails: {error.strerror}") from error


def _status(descriptor: int) -> os.stat_result:
    with reading():
        return os.fstat(descriptor)


def _check_unchanged(status: os.stat_result, expected: LandingFile) -> None:
    """Raise FileUnavailable if the open file is not, byte for byte in all likelihood, what was discovered."""
    if (status.st_size, status.st_mtime_ns) != (expected.size, expected.mtime_ns):
        raise FileUnavailable("file_changed", "the file changed while it was being read")
