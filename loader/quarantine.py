"""Quarantine: rejected rows, one JSON object a line, and files that were refused whole.

A file of rejects is complete, on disk and under its final name before the load's transaction commits. Each attempt at
a file has a name of its own, by its file_id, so that a loader which has lost its claim without knowing it can't touch
the rejects of whoever has loaded the file instead. `published` lists them for `run`, which drops those of attempts
that came to nothing. Those of a refused file, of which nothing is loaded, have 0 in place of the file_id.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from loader.errors import FileProblem, FileUnavailable, LoaderError
from loader.model import Reject
from loader.names import printable, stored_name
from loader.opening import opened

if TYPE_CHECKING:
    from loader.rejected import Origin

_TEMPORARY = ".tmp"
REJECTED = ".rejected.ndjson"
_PUBLISHED = re.compile(rf"\.([0-9a-f]{{8}})(?:\.[0-9]+)?\.([0-9]{{1,18}}){re.escape(REJECTED)}\Z")
_MODE = 0o600
# Rejects are kept in memory up to here, so that a load of many files doesn't hold as many open.
_BUFFER_BYTES = 1 << 20
_JSON = json.JSONEncoder(ensure_ascii=False)
# The file_id in the name of a file of rejects whose source was refused. The ledger hands out ids from 1.
_NO_ATTEMPT = 0
# Folders whose own name this run has made durable.
_DURABLE: set[Path] = set()


class QuarantineError(LoaderError):
    """Raised when quarantine can't be written: the load must not commit."""


class RejectFile:
    """The rejected rows of one input file; leaving the context without `publish` leaves nothing behind."""

    def __init__(self, folder: Path, source: str, digest: bytes, file_id: int, origin: Origin | None = None) -> None:
        self._folder = folder
        self._source = printable(source)
        self._origin = origin
        self._digest = digest
        self._file: int | None = None  # its descriptor
        self._lines: list[bytes] = []
        self._buffered = 0
        self._is_saved = False
        self._temporary: Path | None = None
        self._name = source
        self._file_id = file_id
        self._path: Path | None = None
        self.first_error: str | None = None
        self.codes: Counter[str] = Counter()  # rows, by each of their codes

    def __enter__(self) -> Self:
        """Nothing is made before there is a reject."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Remove what was not published."""
        if self._file is not None:
            with suppress(OSError):
                os.close(self._file)
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)

    @property
    def path(self) -> Path:
        """Where it will stand; however often rows are replayed, it is called after the file that they came in."""
        if self._path is None:
            original = _PUBLISHED.sub("", self._name)
            self._path = _own_path(self._folder, original, self._digest, f".{self._file_id}{REJECTED}")
        return self._path

    def refuse(self) -> None:
        """Let it stand for no attempt, since nothing of its file is loaded: it replaces those of earlier refusals."""
        self._file_id, self._path = _NO_ATTEMPT, None

    @property
    def is_empty(self) -> bool:
        """Say whether no row was added."""
        return self.first_error is None

    def add(self, rejects: Iterable[Reject]) -> None:
        """Add rows.

        Raises:
            QuarantineError: they can't be written.
        """
        for reject in rejects:
            if self.first_error is None:
                self.first_error = describe(reject)
            self.codes.update({problem.code for problem in reject.problems})
            line = self._line(reject)
            self._lines.append(line)
            self._buffered += len(line)
            self._is_saved = False
        if self._buffered > _BUFFER_BYTES:
            self._guarded(self._flush)

    def save(self) -> None:
        """Make durable what was added so far, under a temporary name; a later `publish` has less to wait for.

        Raises:
            QuarantineError: it can't be written.
        """
        if not self.is_empty:
            self._guarded(self._save)

    def publish(self) -> Path | None:
        """Give the file its final name; return its path, or None where nothing was rejected.

        What is in it is durable then; its name is so after `make_names_durable`.

        A failed write is never tried again on the same file: after a failed fsync the kernel may drop the data and
        report success the next time.

        Raises:
            QuarantineError: it can't be written; nothing is left behind.
        """
        if self.is_empty:
            return None
        self._guarded(self._publish)
        return self.path

    def _save(self) -> None:
        self._flush()
        assert self._file is not None  # noqa: S101 # _flush opened it
        os.fsync(self._file)
        self._is_saved = True

    def _publish(self) -> None:
        if not self._is_saved:
            self._save()
        assert self._file is not None  # noqa: S101 # _save opened it
        assert self._temporary is not None  # noqa: S101
        self._temporary.rename(self.path)
        self._temporary = None
        descriptor, self._file = self._file, None
        os.close(descriptor)

    def _guarded(self, action: Callable[[], object]) -> None:
        try:
            action()
        except OSError as error:
            raise QuarantineError(f"can't write quarantine {self.path}: {error.strerror}") from error

    def _flush(self) -> None:
        if self._file is None:
            self._temporary, self._file = _temporary_file(self._folder, self._digest)
        _write(self._file, b"".join(self._lines))
        self._lines = []
        self._buffered = 0

    def _line(self, reject: Reject) -> bytes:
        row: dict[str, object] = {
            "source": self._source,
            "sha256": self._digest.hex(),
            "line": reject.line,
            "errors": [problem._asdict() for problem in reject.problems],
        }
        content, length = reject.raw
        try:
            row["raw"] = content.decode()
        except UnicodeDecodeError:
            row["raw_base64"] = base64.b64encode(content).decode()
        if length > len(content):
            row["raw_truncated_from"] = length
        if self._origin is not None:
            row["replayed_from"] = self._origin.place(reject.line)
        return _JSON.encode(row).encode() + b"\n"


def describe(reject: Reject) -> str:
    """Say on one line where the first problem of a reject is and what it is."""
    problem = reject.problems[0]
    column = f", {printable(problem.column)}" if problem.column else ""
    return f"line {reject.line}{column}: {problem.code}: {printable(problem.message)}"


def make_names_durable(folder: Path) -> None:
    """Make the names of all files that were published in `folder` durable; one call does for many.

    Raises:
        QuarantineError: it can't be done.
    """
    try:
        sync_folder(folder)
    except OSError as error:
        raise QuarantineError(f"can't write quarantine {folder}: {error.strerror}") from error


def write_error(folder: Path, source: str, digest: bytes, problem: FileProblem) -> Path:
    """Write the `.error.json` that says why a file was refused, durably; return its path.

    Raises:
        QuarantineError: it can't be written.
    """
    path = _own_path(folder, source, digest, ".error.json")
    row = {"source": printable(source), "sha256": digest.hex(), "code": problem.code, "message": problem.message}
    replace(path, digest, [json.dumps(row).encode() + b"\n"])
    return path


def replace(path: Path, digest: bytes, lines: Iterable[bytes]) -> None:
    """Put a file with these lines where a quarantine file is or will be, durably, all at once.

    Raises:
        QuarantineError: it can't be written; what was there is as it was.
    """
    temporary: Path | None = None
    try:
        temporary, descriptor = _temporary_file(path.parent, digest)
        with open(descriptor, "wb") as buffered:  # noqa: PTH123 # no path
            buffered.writelines(lines)
            buffered.flush()
            os.fsync(descriptor)
            temporary.rename(path)
            temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise QuarantineError(f"can't write quarantine {path}: {error.strerror}") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


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


def _own_path(folder: Path, source: str, digest: bytes, ending: str) -> Path:
    """Return where what is said of a content stands or will stand; where another's hash begins alike, a next number."""
    number = 0
    while _is_of_another(path := folder / stored_name(source, digest, ending, number), digest):
        number += 1
    return path


def _is_of_another(path: Path, digest: bytes) -> bool:
    found = source_digest(path) if os.path.lexists(path) else None
    return found is not None and found != digest


def _temporary_file(folder: Path, digest: bytes) -> tuple[Path, int]:
    """Create a private file that is locked for as long as this process lives, so that `sweep` leaves it alone."""
    path = folder / f".{digest.hex()}.{os.getpid()}-{threading.get_native_id()}{_TEMPORARY}"
    while True:
        _make_folder(folder)
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        except FileExistsError:
            path.unlink(missing_ok=True)  # of a process of this number that died, or planted: never written through
            continue
        except FileNotFoundError:
            _DURABLE.discard(folder)  # It was removed since.
            continue
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # A sweep may have taken it for a leftover between its creation and its lock.
        with suppress(FileNotFoundError):
            if os.fstat(descriptor).st_ino == path.stat().st_ino:
                return path, descriptor
        os.close(descriptor)


def _write(descriptor: int, content: bytes) -> None:
    """Write all of `content`, of which a full disk may take a part."""
    rest = memoryview(content)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _make_folder(folder: Path) -> None:
    """Make the quarantine folder where it is missing, durably."""
    if folder not in _DURABLE:
        folder.mkdir(parents=True, exist_ok=True)
        # Whoever made it, even a loader that died right then: its name must outlive a power cut, too.
        sync_folder(folder.parent)
        _DURABLE.add(folder)


def sweep(folder: Path) -> None:
    """Begin a run: remove temporary files of loaders that died; those in use are locked by their owners."""
    _DURABLE.clear()  # The folder may have been removed and made again since the last run of this process.
    if not folder.is_dir():
        return
    for path in folder.glob(f".*{_TEMPORARY}"):
        with suppress(OSError, FileUnavailable), opened(path) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
