"""The rejected rows of one input file, on their way to quarantine; `publish` writes them."""

from __future__ import annotations

import base64
import os
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from loader import quarantine, scratch
from loader.model import Reject
from loader.names import printable
from loader.quarantine import QuarantineError

if TYPE_CHECKING:
    from loader.rejected import Origin

# Rejects are kept in memory up to here, so that a load of many files doesn't hold as many open.
_BUFFER_BYTES = 1 << 20
_JSON = msgspec.json.Encoder()
# The file_id in the name of a file of rejects whose source was refused. The ledger hands out ids from 1.
_NO_ATTEMPT = 0


class RejectFile:
    """The rejected rows of one input file: in memory, or in `place` where they are many."""

    def __init__(
        self, place: scratch.Scratch, source: str, digest: bytes, file_id: int, origin: Origin | None = None
    ) -> None:
        self._place = place
        self._name = source
        self._source = printable(source)
        self._origin = origin
        self._digest = digest
        self._file_id = file_id
        self._path: str | None = None
        self._lines: list[bytes] = []
        self._buffered = 0
        self._descriptor: int | None = None  # of a file in `place`, which has all but what is buffered
        self.temporary_name = str(file_id)  # in `place`
        self.inode = 0  # once it is saved
        self.is_saved = True
        self.first_error: str | None = None
        self.codes: Counter[str] = Counter()  # rows, by each of their codes

    @property
    def path(self) -> str:
        """Where it will stand."""
        if self._path is None:
            self._path = quarantine.rejects_path(self._place.quarantine, self._name, self._digest, self._file_id)
        return self._path

    def refuse(self) -> None:
        """Let it stand for no attempt, since nothing of its file is loaded: it replaces those of earlier refusals."""
        self._file_id, self._path = _NO_ATTEMPT, None

    @property
    def is_empty(self) -> bool:
        """Say whether no row was added."""
        return self.first_error is None

    @property
    def is_in_memory(self) -> bool:
        """Say whether all of it is `content`; otherwise `save` makes it durable."""
        return self._descriptor is None

    @property
    def content(self) -> bytes:
        """What is in memory."""
        return b"".join(self._lines)

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
            self.is_saved = False
        if self._buffered > _BUFFER_BYTES:
            try:
                self._flush()
            except OSError as error:
                raise self.failure(str(error.strerror)) from error

    def save(self) -> None:
        """Make durable what is not in memory any more.

        Raises:
            QuarantineError: it can't be written.
        """
        try:
            descriptor = self._flush()
            os.fsync(descriptor)
            self.inode = os.fstat(descriptor).st_ino
        except OSError as error:
            raise self.failure(str(error.strerror)) from error
        self.is_saved = True

    def failure(self, reason: str) -> QuarantineError:
        """Return the error that says why the file can't be written."""
        return QuarantineError(f"can't write quarantine {self.path}: {reason}")

    def close(self) -> None:
        """Let go of what is open and of what is in memory; nothing can be added any more."""
        self._lines = []
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            with suppress(OSError):  # All that must be durable is so.
                os.close(descriptor)

    def _flush(self) -> int:
        if self._descriptor is None:
            self._descriptor = scratch.create(f"{self._place.path}/{self.temporary_name}")
        scratch.write(self._descriptor, self.content)
        self._lines = []
        self._buffered = 0
        return self._descriptor

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
        return _JSON.encode(row) + b"\n"


def describe(reject: Reject) -> str:
    """Say on one line where the first problem of a reject is and what it is."""
    problem = reject.problems[0]
    column = f", {printable(problem.column)}" if problem.column else ""
    return f"line {reject.line}{column}: {problem.code}: {printable(problem.message)}"
