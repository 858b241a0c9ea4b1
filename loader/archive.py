"""Moves files out of the landing folder once their fate is committed: to the archive, or to quarantine.

The move is a rename within one file system, so that a file is always in exactly one place.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from loader.errors import LoaderError
from loader.landing import ARCHIVE, QUARANTINE, LandingFile, is_same_file, suffix
from loader.names import stored_name


class ArchiveError(LoaderError):
    """Raised when a file can't be moved. Its rows are safe; it stays in landing and the next run tries again."""


class LoadedFile(NamedTuple):
    """A file whose content is loaded, and the landing folder."""

    file: LandingFile
    digest: bytes
    landing: Path


def archive(loaded: LoadedFile) -> str | None:
    """Move a loaded file to `landing/archive/YYYY-MM-DD/` (UTC), as `_move` does; return why it can't be moved."""
    try:
        _move(loaded.file, loaded.digest, f"{loaded.landing}/{ARCHIVE}/{datetime.now(UTC).date()}")
    except ArchiveError as error:
        return str(error)
    return None


def put_in_quarantine(file: LandingFile, digest: bytes, landing: Path) -> None:
    """Move a refused file to `landing/quarantine/`; see `_move`."""
    _move(file, digest, f"{landing}/{QUARANTINE}")


def _move(file: LandingFile, digest: bytes, folder: str) -> None:
    """Move `file` into `folder` under a name of its own, without a Path, which takes as long to make as to move a file.

    Leaves everything as it is where the file is gone, lies outside of the landing folder, or is no longer the one that
    was read.

    Raises:
        ArchiveError: it can't be moved.
    """
    if not file.in_landing or not is_same_file(file.path, file):
        return
    try:
        target = _moved(file.path, digest, folder)
    except FileNotFoundError:
        return  # Another loader was faster.
    except OSError as error:
        raise ArchiveError(f"can't move to {folder}: {error.strerror}") from error
    if not is_same_file(target, file):
        # A producer has put another file in its place since the look above: that one was not loaded.
        _put_back(target, file.path)


def _moved(path: Path, digest: bytes, folder: str) -> str:
    """Move a file into `folder`, which is made where it is missing, and return where it is now."""
    target = _free_name(folder, path.name, digest)
    try:
        os.rename(path, target)  # noqa: PTH104
    except FileNotFoundError:
        if Path(folder).is_dir():
            raise
        Path(folder).mkdir(parents=True, exist_ok=True)
        path.rename(target)
    return target


def _free_name(folder: str, name: str, digest: bytes) -> str:
    number = 0
    while os.path.lexists(target := f"{folder}/{stored_name(name, digest, suffix(name) or '', number)}"):
        number += 1
    return target


def _put_back(target: str, path: Path) -> None:
    number = 0
    known = suffix(path.name) or ""
    place = path
    while True:
        try:
            os.link(target, place)  # Unlike a rename, a link never replaces what has come there meanwhile.
            Path(target).unlink()
        except FileExistsError:
            number += 1
            place = path.with_name(f"{path.name.removesuffix(known)}.{number}{known}")
        except OSError as error:
            raise ArchiveError(f"{target} was not loaded and can't go back to {path}: {error.strerror}") from error
        else:
            return
