"""Retention: removes files from the archive and from quarantine once they are old enough.

A file that is removed can't be had back, so each must prove that it may go: it is a regular file, the loader gave it
its name, and, in the archive, its content as it is now has the SHA-256 that its name begins with and that the ledger
calls loaded. To read every byte again costs a second a gigabyte or so; a name alone would prove nothing, since anybody
who may write to the archive can give one. All paths are walked through open folders: no symlink is ever followed.
"""

from __future__ import annotations

import math
import os
import re
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from io import FileIO
from itertools import islice
from pathlib import Path
from typing import Any

from loader.errors import FileUnavailable, UsageError
from loader.landing import ARCHIVE, QUARANTINE, suffix
from loader.opening import fingerprint
from loader.settings import Settings

_DAY_SECONDS = 86_400
_FILES_A_QUERY = 1000
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_ERROR = ".error.json"
# Names without their suffix, as `names.stored_name` makes them.
_ARCHIVED = re.compile(r"[^.].*\.(?P<start>[0-9a-f]{8})(?:\.[0-9]+)?", re.DOTALL | re.ASCII)
_QUARANTINED = re.compile(_ARCHIVED.pattern + r"(?:\.[0-9]{1,18}\.rejected)?", re.DOTALL | re.ASCII)


@dataclass(slots=True)
class Tally:
    """How much of a folder."""

    files: int = 0
    size: int = 0


@dataclass(slots=True)
class Pruned:
    """What went, or would go, and what didn't; all paths are relative to the landing folder."""

    is_done: bool  # False: nothing was touched
    folders: dict[str, Tally] = field(default_factory=dict)
    removed_folders: list[str] = field(default_factory=list)
    kept: list[tuple[str, str]] = field(default_factory=list)  # old enough, but not provably the loader's to remove
    failed: list[tuple[str, str]] = field(default_factory=list)

    @property
    def total(self) -> Tally:
        """All folders together."""
        tallies = self.folders.values()
        return Tally(sum(tally.files for tally in tallies), sum(tally.size for tally in tallies))

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        total = self.total
        return {
            "deleted": self.is_done,
            "files": total.files,
            "bytes": total.size,
            "folders": [{"folder": name, "files": t.files, "bytes": t.size} for name, t in self.folders.items()],
            "removed_folders": self.removed_folders,
            "kept": [{"path": path, "reason": reason} for path, reason in self.kept],
            "failed": [{"path": path, "error": error} for path, error in self.failed],
        }


@dataclass(frozen=True, slots=True)
class _Candidate:
    name: str
    status: os.stat_result
    digest: bytes = b""


class _Folder:
    """A folder that is open, and what becomes of the files in it."""

    def __init__(self, path: str, descriptor: int, pruned: Pruned) -> None:
        self.path, self.descriptor, self._pruned = path, descriptor, pruned
        self.is_emptied = True  # as far as its files went

    def keep(self, name: str, reason: str) -> None:
        """Say why a file stays."""
        self.is_emptied = False
        self._pruned.kept.append((f"{self.path}/{name}", reason))

    def fail(self, name: str, error: str) -> None:
        """Say that a file can't be dealt with."""
        self.is_emptied = False
        self._pruned.failed.append((f"{self.path}/{name}", error))

    def names(self) -> list[str]:
        """Return what is in it."""
        return sorted(os.listdir(self.descriptor))  # noqa: PTH208 # a Path can't list an open folder

    def regular_files(self, before: float, named: re.Pattern[str], *endings: str) -> Iterator[tuple[_Candidate, str]]:
        """Yield the older files that the loader named, each with how its content's SHA-256 begins."""
        for name in self.names():
            try:
                status = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
            except FileNotFoundError:
                continue  # Somebody else was quicker.
            except OSError as error:
                self.fail(name, str(error.strerror))
                continue
            # A refused file keeps its producer's modification time; the other one says when it was moved here.
            if max(status.st_mtime, status.st_ctime) >= before:
                continue
            ending = suffix(name) or next((known for known in endings if name.endswith(known)), "")
            match = named.fullmatch(name.removesuffix(ending)) if ending else None
            if not stat.S_ISREG(status.st_mode):
                self.keep(name, "not a regular file")
            elif match is None:
                self.keep(name, "not a name that the loader gives")
            else:
                yield _Candidate(name, status), match["start"]

    def remove(self, candidate: _Candidate) -> None:
        """Remove a file, provided that it still is the one that was looked at."""
        try:
            now = os.stat(candidate.name, dir_fd=self.descriptor, follow_symlinks=False)
            if _identity(now) != _identity(candidate.status):
                self.keep(candidate.name, "it changed meanwhile")
                return
            if self._pruned.is_done:
                os.unlink(candidate.name, dir_fd=self.descriptor)
        except FileNotFoundError:
            return
        except OSError as error:
            self.fail(candidate.name, f"it can't be removed: {error.strerror}")
            return
        tally = self._pruned.folders.setdefault(self.path, Tally())
        tally.files += 1
        tally.size += candidate.status.st_size

    def digest(self, name: str) -> bytes:
        """Return the SHA-256 of a file's content as it is now.

        Raises:
            FileUnavailable: it can't be read.
        """
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(name, flags, dir_fd=self.descriptor)
        except OSError as error:
            raise FileUnavailable("file_unreadable", f"the file can't be opened: {error.strerror}") from error
        with FileIO(descriptor, "rb") as file:
            return fingerprint(file)


def prune(settings: Settings, *, delete: bool, now: float | None = None) -> Pruned:
    """Remove what is older than `archive_days` and `quarantine_days` say; without `delete`, find out what would go.

    Raises:
        UsageError: there is no landing folder.
        DatabaseError: the ledger can't be asked; what is still in the archive stays.
    """
    if not settings.landing.is_dir():
        raise UsageError(f"landing folder {settings.landing}: there is none")
    now = time.time() if now is None else now
    pruned = Pruned(delete)
    with ExitStack() as stack:
        if settings.archive_days is not None:
            _prune_archive(settings, pruned, datetime.fromtimestamp(now, UTC).date(), _Ledger(settings, stack))
        if settings.quarantine_days is not None:
            _prune_quarantine(settings, pruned, now - settings.quarantine_days * _DAY_SECONDS)
    return pruned


class _Ledger:
    """The ledger; the database is asked for only where there is something to ask."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self._settings = settings
        self._stack = stack
        self._connection: Any = None

    def loaded(self, digests: list[bytes]) -> set[bytes]:
        """Return those of the contents that were loaded."""
        from loader import ledger
        from loader.database import connected, reported
        from loader.run import database

        if self._connection is None:
            conninfo = self._stack.enter_context(database(self._settings))
            self._connection = self._stack.enter_context(connected(conninfo))
        with reported("asking the ledger what was loaded"):
            return set(ledger.loaded(self._connection, digests))


def _prune_archive(settings: Settings, pruned: Pruned, today: date, ledger: _Ledger) -> None:
    with _opened(settings.landing / ARCHIVE, ARCHIVE, pruned) as archive:
        if archive is None:
            return
        for name in archive.names():
            day = _day(name)
            if day is None:
                archive.keep(name, "not a name that the loader gives")
                continue
            # It was archived at some time of that day: only the day after its last is that many days later.
            if (today - day).days <= (settings.archive_days or 0):
                continue
            with _opened(Path(name), f"{ARCHIVE}/{name}", pruned, archive.descriptor) as folder:
                if folder is None:
                    continue
                checked = _checked(folder)
                while some := list(islice(checked, _FILES_A_QUERY)):
                    _remove_loaded(folder, some, ledger)
            if folder.is_emptied:
                _remove_folder(archive, name, pruned)


def _checked(folder: _Folder) -> Iterator[_Candidate]:
    """Yield the archived files whose content is what their names say."""
    for candidate, start in folder.regular_files(math.inf, _ARCHIVED):
        try:
            digest = folder.digest(candidate.name)
        except FileUnavailable as error:
            folder.fail(candidate.name, error.message)
            continue
        if digest.hex().startswith(start):
            yield _Candidate(candidate.name, candidate.status, digest)
        else:
            folder.keep(candidate.name, "its content is not the one that its name stands for")


def _remove_loaded(folder: _Folder, candidates: list[_Candidate], ledger: _Ledger) -> None:
    loaded = ledger.loaded([candidate.digest for candidate in candidates])
    for candidate in candidates:
        if candidate.digest in loaded:
            folder.remove(candidate)
        else:
            folder.keep(candidate.name, "the ledger of this database does not say that it was loaded")


def _remove_folder(archive: _Folder, name: str, pruned: Pruned) -> None:
    try:
        if pruned.is_done:
            os.rmdir(name, dir_fd=archive.descriptor)
    except OSError as error:
        archive.fail(name, f"it can't be removed: {error.strerror}")
    else:
        pruned.removed_folders.append(f"{archive.path}/{name}")


def _prune_quarantine(settings: Settings, pruned: Pruned, before: float) -> None:
    with _opened(settings.landing / QUARANTINE, QUARANTINE, pruned) as folder:
        if folder is not None:
            for candidate, _ in folder.regular_files(before, _QUARANTINED, _ERROR):
                folder.remove(candidate)


@contextmanager
def _opened(path: Path, shown: str, pruned: Pruned, parent: int | None = None) -> Iterator[_Folder | None]:
    """Open a folder, never through a symlink; None where there is none, or it can't be opened."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
    except FileNotFoundError:
        yield None
        return
    except OSError as error:
        place = os.stat(path, dir_fd=parent, follow_symlinks=False)
        if stat.S_ISDIR(place.st_mode):
            pruned.failed.append((shown, f"it can't be opened: {error.strerror}"))
        else:
            pruned.kept.append((shown, "not a folder, or a symlink to one"))
        yield None
        return
    try:
        yield _Folder(shown, descriptor, pruned)
    finally:
        os.close(descriptor)


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name) if _DAY.fullmatch(name) else None
    except ValueError:
        return None


def _identity(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
