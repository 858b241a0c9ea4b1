"""A folder in quarantine for files that have no name of their own yet.

It is locked for as long as its loader lives, so that `sweep` knows what loaders left behind that died. Files are made
durable in it, and named, several at once; doing that twice does no harm, so that another process may be asked to.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

_BEGINNING, _ENDING = ".load-", ".tmp"  # of its name
_MODE = 0o600
# In the folder: NFS can't lock a folder itself.
_LOCK = "lock"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_ATTEMPTS = 100  # to make it, where others remove it at once
# Files open at once, while they are made durable.
_OPEN_FILES = 100
# Folders whose own name this run has made durable.
_DURABLE: set[Path] = set()


class Scratch:
    """The folder; it is made when its path is first asked for, and goes with the context, with all that is in it."""

    def __init__(self, quarantine: Path) -> None:
        self.quarantine = quarantine
        self._path: str | None = None
        self._lock = -1

    def __enter__(self) -> Self:
        """Make nothing yet."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove it; what can't be removed now is left to the next sweep."""
        path, self._path = self._path, None
        if path is not None:
            with suppress(OSError):
                os.close(self._lock)  # first, since NFS would keep the file
            _remove(path)

    @property
    def path(self) -> str:
        """Where it is.

        Raises:
            OSError: it can't be made.
        """
        if self._path is None:
            self._path, self._lock = _made(self.quarantine)
        return self._path


class Unsaved(NamedTuple):
    """Files that are to be written: the scratch folder, and each one's name in it and content."""

    folder: str
    files: Sequence[tuple[str, bytes]]


class Unnamed(NamedTuple):
    """Files that are to be named: the scratch folder, and each one's name in it, inode and path to be."""

    folder: str
    files: Sequence[tuple[str, int, str]]


def save(unsaved: Unsaved) -> list[int | str]:
    """Make files durable; return the inode of each, or why it can't be written."""
    saved: list[int | str] = []
    try:
        with _opened(unsaved.folder) as folder:
            for start in range(0, len(unsaved.files), _OPEN_FILES):
                # All are written before the first is waited for, so that the file system commits them together.
                some = [_written(folder, *file) for file in unsaved.files[start : start + _OPEN_FILES]]
                saved += [_synced(file) for file in some]
    except OSError as error:
        return [str(error.strerror)] * len(unsaved.files)
    return saved


def give_names(unnamed: Unnamed) -> list[str | None]:
    """Name files; return of each why it can't be named, None where it is."""
    try:
        with _opened(unnamed.folder) as folder:
            return [_named(folder, *file) for file in unnamed.files]
    except OSError as error:
        return [str(error.strerror)] * len(unnamed.files)


def sweep(quarantine: Path) -> None:
    """Begin a run: remove what loaders left behind that died; what is in use is locked by its owner."""
    _DURABLE.clear()  # The folder may have been removed and made again since the last run of this process.
    for path in quarantine.glob(f"{_BEGINNING}*{_ENDING}"):
        with suppress(OSError), _opened(str(path)) as folder:
            lock = _locked(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                _empty(folder)
            finally:
                os.close(lock)
            path.rmdir()


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def create(name: str, folder: int | None = None) -> int:
    """Create a private file, in the open folder or where its path says; return a descriptor to write to it.

    Where one is there, it is of a process that died: a failed write is never tried again on the same file, for after
    a failed fsync the kernel may drop the data and report success the next time.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(name, flags, _MODE, dir_fd=folder)
    except FileExistsError:
        os.unlink(name, dir_fd=folder)
        return os.open(name, flags, _MODE, dir_fd=folder)


def write(descriptor: int, content: bytes) -> None:
    """Write all of `content`, of which a full disk may take a part."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


@contextmanager
def _opened(folder: str) -> Iterator[int]:
    """Open a scratch folder, never through a symlink that has taken its place."""
    descriptor = os.open(folder, _FOLDER)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _made(quarantine: Path) -> tuple[str, int]:
    """Make a folder; return its lock, too, which lasts for as long as this process has it open."""
    for _ in range(_ATTEMPTS):
        _make_durable(quarantine)
        path = f"{quarantine}/{_BEGINNING}{secrets.token_hex(8)}{_ENDING}"
        # A sweep may take it for a leftover before it is locked.
        with suppress(FileNotFoundError):
            os.mkdir(path, 0o700)  # noqa: PTH102
            return path, _lock_of(path)
        _DURABLE.discard(quarantine)  # Or quarantine was removed since.
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))


def _lock_of(path: str) -> int:
    """Lock a folder that was just made, or remove it."""
    try:
        with _opened(path) as folder:
            return _locked(folder, fcntl.LOCK_EX)
    except OSError:
        _remove(path)
        raise


def _locked(folder: int, operation: int) -> int:
    """Lock an open scratch folder, as flock does by `operation`; return what holds the lock."""
    lock = os.open(_LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, _MODE, dir_fd=folder)
    try:
        fcntl.flock(lock, operation)
        # A sweep may have removed it before it was locked, and another have been made since.
        if not os.path.samestat(os.fstat(lock), os.stat(_LOCK, dir_fd=folder, follow_symlinks=False)):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    except OSError:
        os.close(lock)
        raise
    return lock


def _make_durable(folder: Path) -> None:
    """Make the quarantine folder where it is missing, durably."""
    if folder not in _DURABLE:
        folder.mkdir(parents=True, exist_ok=True)
        # Whoever made it, even a loader that died right then: its name must outlive a power cut, too.
        sync_folder(folder.parent)
        _DURABLE.add(folder)


def _remove(path: str) -> None:
    """Remove a folder of one's own; what can't be removed is left to the next sweep."""
    with suppress(OSError):
        with _opened(path) as folder:
            _empty(folder)
        os.rmdir(path)  # noqa: PTH106


def _empty(folder: int) -> None:
    for name in os.listdir(folder):
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder)


def _written(folder: int, name: str, content: bytes) -> int | str:
    """Return a descriptor of a file that the kernel has begun to write to the disk; or why it can't be written."""
    try:
        descriptor = create(name, folder)
        try:
            write(descriptor, content)
        except BaseException:
            os.close(descriptor)
            raise
    except OSError as error:
        return str(error.strerror)
    if hasattr(os, "posix_fadvise"):
        with suppress(OSError):  # Without it, the disk begins with each file only when it is waited for.
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    return descriptor


def _synced(descriptor: int | str) -> int | str:
    """Wait until a file is durable, and close it; return its inode. Take and return as well why there is none."""
    if isinstance(descriptor, str):
        return descriptor
    try:
        try:
            os.fsync(descriptor)
            return os.fstat(descriptor).st_ino
        finally:
            os.close(descriptor)
    except OSError as error:
        return str(error.strerror)


def _named(folder: int, name: str, inode: int, path: str) -> str | None:
    try:
        os.rename(name, path, src_dir_fd=folder)
    except OSError as error:
        with suppress(FileNotFoundError):
            if isinstance(error, FileNotFoundError) and os.lstat(path).st_ino == inode:
                return None  # The process that named it has died since.
        return str(error.strerror)
    return None
