"""Rejected rows in quarantine that are about some event. The files there may be anybody's: nothing trusts them."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

import msgspec

from loader.compression import decompressed
from loader.landing import Compression
from loader.lines import chunks
from loader.names import printable
from loader.opening import opened
from loader.operate.occurrences import candidates, is_of

_BLOCK_BYTES = 1 << 20
# A row may take so many times its bytes once it stands in a string of JSON.
_ESCAPED_FACTOR = 6
_BASE64 = b'"raw_base64"'


class RejectedRow(NamedTuple):
    """A rejected row; `is_certain` is False where the row is no JSON, and the id just stands somewhere in it."""

    file: str  # in quarantine
    source: str
    sha256: str
    line: int
    codes: list[str]
    message: str
    is_certain: bool

    @property
    def is_conflict(self) -> bool:
        """Say whether the row was good, but another event has its id."""
        return self.codes == ["conflict"]


class _Problem(msgspec.Struct):
    code: str
    message: str


class _Line(msgspec.Struct):
    source: str
    sha256: str
    line: int
    errors: list[_Problem]
    raw: str | None = None
    raw_base64: str | None = None


_decoder = msgspec.json.Decoder(_Line)


def rejected_rows(path: Path, event_id: UUID, *, max_line_bytes: int) -> Iterator[RejectedRow]:
    """Yield the rows of a quarantine file that have this event_id, or mention it where they are no JSON.

    Raises:
        FileProblem: the file can't be read.
    """
    limit = _ESCAPED_FACTOR * max_line_bytes
    with opened(path) as file, decompressed(file, Compression.NONE) as stream:
        for chunk in chunks(stream, size=_BLOCK_BYTES, max_line_bytes=limit):
            if chunk.over_limit:
                continue
            for line in _lines(chunk.data, event_id):
                with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError, binascii.Error):
                    row = _decoder.decode(line)
                    found = _is_about(row, event_id)
                    if found is not False:
                        yield _rejected(path, row, is_certain=bool(found))


def _lines(data: bytes, event_id: UUID) -> Iterator[bytes]:
    if _BASE64 in data:  # The id can't be seen in it.
        yield from data.split(b"\n")
        return
    yield from (line for _, line in candidates(data, event_id))


def _is_about(row: _Line, event_id: UUID) -> bool | None:
    raw = base64.b64decode(row.raw_base64) if row.raw_base64 is not None else (row.raw or "").encode()
    found = is_of(raw, event_id)
    if found is None and str(event_id).encode() not in raw.lower():
        return False
    return found


def _rejected(path: Path, row: _Line, *, is_certain: bool) -> RejectedRow:
    codes = [printable(problem.code) for problem in row.errors]
    message = printable("; ".join(f"{problem.code}: {problem.message}" for problem in row.errors))
    return RejectedRow(path.name, printable(row.source), printable(row.sha256), row.line, codes, message, is_certain)
