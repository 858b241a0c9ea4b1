"""Quarantine: rejected rows, one JSON object a line, and files that were refused whole.

A file of rejects is complete, on disk and under its final name before the load's transaction commits. Each attempt at
a file has a name of its own, by its file_id, so that a loader which has lost its claim without knowing it can't touch
the rejects of whoever has loaded the file instead. `published` lists them for `run`, which drops those of attempts
that came to nothing. Those of a refused file, of which nothing is loaded, have 0 in place of the file_id.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

from loader import scratch
from loader.errors import FileProblem, FileUnavailable, LoaderError
from loader.names import printable, stored_name
from loader.opening import opened

REJECTED = ".rejected.ndjson"
_PUBLISHED = re.compile(rf"\.([0-9a-f]{{8}})(?:\.[0-9]+)?\.([0-9]{{1,18}}){re.escape(REJECTED)}\Z")


class QuarantineError(LoaderError):
    """Raised when quarantine can't be written: the load must not commit."""


def write_error(folder: Path, source: str, digest: bytes, problem: FileProblem) -> Path:
    """Write the `.error.json` that says why a file was refused, durably; return its path.

    Raises:
        QuarantineError: it can't be written.
    """
    path = Path(_own_path(folder, source, digest, ".error.json"))
    row = {"source": printable(source), "sha256": digest.hex(), "code": problem.code, "message": problem.message}
    replace(path, [json.dumps(row).encode() + b"\n"])
    return path


def replace(path: Path, lines: Iterable[bytes]) -> None:
    """Put a file with these lines where a quarantine file is or will be, durably, all at once.

    Raises:
        QuarantineError: it can't be written; what was there is as it was.
    """
    try:
        with scratch.Scratch(path.parent) as place:
            temporary = Path(place.path, path.name)
            with open(scratch.create(str(temporary)), "wb") as file:  # noqa: PTH123 # a descriptor
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        scratch.sync_folder(path.parent)
    except OSError as error:
        raise QuarantineError(f"can't write quarantine {path}: {error.strerror}") from error


def published(folder: Path) -> dict[str, tuple[int, str]]:
    """Return the names of the files of rejects in `folder`, each with its attempt: file_id, how the SHA-256 begins.

    Neither does without the other: a server that crashed may give out the ids of a load that died again.
    """
    try:
        matches = map(_PUBLISHED.search, os.listdir(folder))  # noqa: PTH208 # paths take far longer, and there may be many
    except OSError:
        return {}
    return {match.string: (int(match[2]), match[1]) for match in matches if match}


def source_digest(path: Path) -> bytes | None:
    """Return the SHA-256 of the file that a file of rejects is about, None where it is gone or not one of ours."""
    try:
        with opened(path) as file, BufferedReader(file) as lines:
            return bytes.fromhex(json.loads(lines.readline())["sha256"])
    except (FileUnavailable, ValueError, KeyError, TypeError):
        return None


def rejects_path(folder: Path, source: str, digest: bytes, file_id: int) -> str:
    """Return where the rejects of an attempt stand or will stand; replayed ones too are called after their source."""
    return _own_path(folder, _PUBLISHED.sub("", source), digest, f".{file_id}{REJECTED}")


def _own_path(folder: Path, source: str, digest: bytes, ending: str) -> str:
    """Return where what is said of a content stands or will stand; where another's hash begins alike, a next number."""
    number = 0
    while _is_of_another(path := f"{folder}/{stored_name(source, digest, ending, number)}", digest):
        number += 1
    return path


def _is_of_another(path: str, digest: bytes) -> bool:
    found = source_digest(Path(path)) if os.path.lexists(path) else None
    return found is not None and found != digest
