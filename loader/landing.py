"""The landing folder: which files are ready. Light: an idle run needs just this."""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loader.errors import UsageError

if TYPE_CHECKING:
    from loader.rejected import Origin

ARCHIVE = "archive"
QUARANTINE = "quarantine"


class Format(StrEnum):
    """What a file's content is, once decompressed."""

    NDJSON = "ndjson"
    PARQUET = "parquet"


class Compression(StrEnum):
    """How a file's bytes are wrapped."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class LandingFile(NamedTuple):
    """A file as discovered: where it is and what it was when looked at (size in bytes, times in ns)."""

    path: Path
    format: Format
    compression: Compression
    size: int
    mtime_ns: int
    inode: tuple[int, int]
    in_landing: bool = True  # or in quarantine, to be replayed: it moves to the archive once it is loaded
    origin: Origin | None = None  # of a quarantine file that is replayed: where its rows came from


_TEMPORARY_SUFFIXES = (".tmp", ".part", ".writing", "~")
_SUFFIXES = {
    ".ndjson": (Format.NDJSON, Compression.NONE),
    ".jsonl": (Format.NDJSON, Compression.NONE),
    ".ndjson.gz": (Format.NDJSON, Compression.GZIP),
    ".jsonl.gz": (Format.NDJSON, Compression.GZIP),
    ".ndjson.zst": (Format.NDJSON, Compression.ZSTD),
    ".jsonl.zst": (Format.NDJSON, Compression.ZSTD),
    ".parquet": (Format.PARQUET, Compression.NONE),
}


class LeftAlone(NamedTuple):
    """An entry that is not loaded, and why: a stable code, and words for it."""

    path: Path
    code: str
    reason: str


def suffix(name: str) -> str | None:
    """Return the suffix by which `name` is known as an input file, or None."""
    known, _, _ = _judge_name(name)
    return known


def _judge_name(name: str) -> tuple[str | None, str, str]:
    """Return the suffix of an input file; or None, with a code and the reason why `name` is none."""
    if name.startswith("."):
        return None, "hidden_name", "its name starts with a dot"
    for temporary in _TEMPORARY_SUFFIXES:
        if name.endswith(temporary):
            return None, "temporary_name", f"its name ends in {temporary}, as of a file that is still being written"
    for known in _SUFFIXES:
        if name.endswith(known):
            return known, "", ""
    return None, "unknown_suffix", f"its name ends in none of {', '.join(_SUFFIXES)}"


def format_of(name: str) -> Format | None:
    """Return what the content of a file of this name is, None where it is no input file's."""
    known = suffix(name)
    return _SUFFIXES[known][0] if known else None


def discover(landing: Path, *, settle: float, recursive: bool) -> list[LandingFile]:
    """Return the ready files of `landing`, oldest first, then by name.

    A file is ready when its size and modification time have been still for `settle` seconds: by the clock, or, where
    it is younger (or its time lies in the future), by a second look after waiting that long. Symlinks, FIFOs and
    whatever is no regular file are left alone.

    Raises:
        UsageError: the folder can't be read.
    """
    try:
        found = list(scan(landing, recursive=recursive))
    except OSError as error:
        raise UsageError(f"landing folder {landing}: {error.strerror}") from error
    now = time.time_ns()
    young = [file for file in found if not is_settled(file, settle=settle, now=now)]
    if young:
        time.sleep(settle)
        unready = {file.path for file in young if _look(file.path) != file}
        found = [file for file in found if file.path not in unready]
    return sorted(found, key=by_age)


def by_age(file: LandingFile) -> tuple[int, bytes]:
    """Sort key: oldest first, then by name."""
    return file.mtime_ns, os.fsencode(file.path)


def is_settled(file: LandingFile, *, settle: float, now: int) -> bool:
    """Say whether the file is still by the clock at `now` (ns); where it isn't, a second look decides."""
    return 0 <= settle * 1e9 <= now - file.mtime_ns


def named(path: Path, landing: Path) -> LandingFile:
    """Return the file that the user named, wherever it is; what isn't there or no file, opening it will tell.

    Raises:
        UsageError: its name doesn't say what it holds.
    """
    known, _, reason = _judge_name(path.name)
    if known is None:
        raise UsageError(f"{path}: {reason}")
    file = _look(path)
    if file is None:
        return LandingFile(path, *_SUFFIXES[known], size=0, mtime_ns=0, inode=(0, 0), in_landing=False)
    return file._replace(in_landing=path.parent.resolve() == landing.resolve())


def scan(folder: Path, *, recursive: bool) -> Iterator[LandingFile]:
    """Yield the files of the landing folder by their names, be they ready or not.

    Raises:
        OSError: the folder can't be read.
    """
    return (found for found in survey(folder, recursive=recursive) if isinstance(found, LandingFile))


def survey(folder: Path, *, recursive: bool) -> Iterator[LandingFile | LeftAlone]:
    """Yield the files of the landing folder, and what else is there but folders, each with the reason.

    Raises:
        OSError: the folder can't be read.
    """
    folders = [folder]  # no recursion: folders may be nested deeper than Python's stack is
    while folders:
        place = folders.pop()
        try:
            entries = os.scandir(place)
        except OSError:
            if place is folder:
                raise
            continue  # One folder that can't be listed, or is gone by now, must not stop the others.
        with entries:
            for entry in entries:
                is_ours = place is folder and entry.name in (ARCHIVE, QUARANTINE)
                if not _is_folder(entry):
                    yield inspect(Path(entry.path))
                elif recursive and not is_ours and not entry.name.startswith("."):
                    folders.append(Path(entry.path))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    with suppress(OSError):
        return entry.is_dir(follow_symlinks=False)
    return False


def inspect(path: Path) -> LandingFile | LeftAlone:
    """Describe the file at `path` as it is now, or say why it is none that is loaded."""
    known, code, reason = _judge_name(path.name)
    if known is None:
        return LeftAlone(path, code, reason)
    try:
        status = os.lstat(path)
    except OSError as error:  # Another loader may have taken it since the folder was listed.
        return LeftAlone(path, "file_vanished", f"it can't be looked at: {error.strerror}")
    if not stat.S_ISREG(status.st_mode):
        kind = "a symlink, which is never followed" if stat.S_ISLNK(status.st_mode) else "not a regular file"
        return LeftAlone(path, "not_a_file", f"it is {kind}")
    file_format, compression = _SUFFIXES[known]
    return LandingFile(
        path, file_format, compression, status.st_size, status.st_mtime_ns, (status.st_dev, status.st_ino)
    )


def _look(path: Path) -> LandingFile | None:
    """Describe `path` as it is now; None where it is gone or no regular file."""
    found = inspect(path)
    return found if isinstance(found, LandingFile) else None


def is_same_file(path: Path | str, expected: LandingFile) -> bool:
    """Say whether `path` still leads to the very file that was read, unchanged since."""
    with suppress(OSError):
        status = os.lstat(path)
        seen = (status.st_dev, status.st_ino), status.st_size, status.st_mtime_ns
        return seen == (expected.inode, expected.size, expected.mtime_ns)
    return False
