"""Quarantine files -> rows again: for `replay`, which loads them once more, and for `quarantine`, which counts them."""

from __future__ import annotations

import base64
import binascii
import json
from array import array
from collections.abc import Callable, Iterator
from io import BufferedReader
from typing import Annotated, NamedTuple

import msgspec

from loader import landing, opening
from loader.contract import Contract, Kind
from loader.errors import FileUnavailable
from loader.landing import Format, LandingFile
from loader.lines import PREFIX_BYTES, Chunk

# A row in quarantine may take some times as much as in its file: JSON spells a control character with six.
_SPELLING_FACTOR = 8
_MOST_BYTES = 128 << 20
_READ_BYTES = 1 << 20


class BadRowError(FileUnavailable):
    """Raised for a line that is no row of a quarantine file."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__("bad_quarantine_file", f"line {line}: {message}")


class Reason(msgspec.Struct):
    """Why a row was rejected."""

    code: str
    message: str
    column: str | None = None


class Place(msgspec.Struct, frozen=True):
    """A line of a file."""

    source: str
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    line: int


class Row(msgspec.Struct):
    """A line of a quarantine file, as `RejectFile` writes it; `raw` and `raw_base64` may have been edited."""

    source: str
    sha256: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]
    line: int
    errors: list[Reason]
    raw: str | None = None
    raw_base64: str | None = None
    raw_truncated_from: int | None = None
    replayed_from: Place | None = None

    @property
    def first_place(self) -> Place:
        """Where the row stood in the file that somebody dropped into the landing folder."""
        return self.replayed_from or Place(self.source, self.sha256, self.line)

    def content(self) -> bytes:
        """Return the raw row.

        Raises:
            ValueError: it is not there, there twice, or no single line.
        """
        if (self.raw is None) == (self.raw_base64 is None):
            raise ValueError("needs one of raw and raw_base64" + (", not both" if self.raw is not None else ""))
        try:
            encoded = self.raw_base64
            content = (self.raw or "").encode() if encoded is None else base64.b64decode(encoded, validate=True)
        except UnicodeEncodeError as error:
            raise ValueError("raw holds half of a surrogate pair, which is no text") from error
        except binascii.Error as error:
            raise ValueError(f"raw_base64 is no base64: {error}") from error
        if b"\n" in content:
            raise ValueError("raw holds a line break; a row is one line (inside a string a break is spelled \\n)")
        return content

    def is_truncated(self, content: bytes) -> bool:
        """Say whether `content` is only the beginning of the row."""
        return self.raw_truncated_from is not None and len(content) < self.raw_truncated_from


class Origin(NamedTuple):
    """Where the rows of one quarantine file came from."""

    replay_of: bytes  # SHA-256 of the content whose load put them into quarantine
    source: str  # the file in which they came to the landing folder, and its SHA-256
    sha256: str
    lines: array[int]  # for each line of the quarantine file, the line there

    def place(self, line: int) -> dict[str, object]:
        """Say where a line of the quarantine file first stood."""
        return {"source": self.source, "sha256": self.sha256, "line": self.lines[line - 1]}


_row = msgspec.json.Decoder(Row)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder(msgspec.Raw)


def lines(file: opening.File, *, max_line_bytes: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield the lines of a quarantine file with their numbers; None for one that is too long to be a row."""
    most = max(_MOST_BYTES, _SPELLING_FACTOR * max_line_bytes)
    number = 0
    reader = BufferedReader(file, _READ_BYTES)
    try:
        while line := reader.readline(most):
            number += 1
            is_whole = len(line) < most or line.endswith(b"\n")
            yield number, line if is_whole else None
            while not is_whole:
                rest = reader.readline(_READ_BYTES)
                is_whole = not rest or rest.endswith(b"\n")
    except OSError as error:
        raise FileUnavailable("file_unreadable", f"reading fails: {error.strerror}") from error
    finally:
        reader.detach()  # or it would close the file


def parse(number: int, line: bytes | None) -> Row | None:
    """Return the row that a line is; None for a blank line.

    Raises:
        BadRowError: it is something else.
    """
    if line is None:
        raise BadRowError(number, "is too long to be a row of a quarantine file")
    if not line.strip():
        return None
    try:
        return _row.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRowError(number, f"is no row of a quarantine file: {error}") from error


def rows(file: opening.File, *, max_line_bytes: int) -> Iterator[tuple[int, int, Row | None, bytes]]:
    """Yield number, length, row and raw row of each line of a quarantine file; a blank line has neither row nor raw.

    Raises:
        BadRowError: a line is no row.
    """
    for number, line in lines(file, max_line_bytes=max_line_bytes):
        row = parse(number, line)
        try:
            content = b"" if row is None else row.content()
        except ValueError as error:
            raise BadRowError(number, str(error)) from error
        yield number, len(line or b""), row, content


def chunks(
    file: LandingFile, contract: Contract, *, size: int, max_line_bytes: int, advance: Callable[[int], None]
) -> Iterator[Chunk]:
    """Yield the raw rows of a quarantine file as the lines of an NDJSON file, each under its line's number.

    Raises:
        FileUnavailable: it can't be read, is not what it was, or is no quarantine file.
    """
    held: list[bytes] = []
    held_bytes = 0
    with opening.opened_as_found(file) as handle:
        for _, length, row, content in rows(handle, max_line_bytes=max_line_bytes):
            advance(length)
            line = content if row is None else _as_ndjson(row, content, contract)
            is_over = row is not None and (row.is_truncated(content) or len(line) > max_line_bytes)
            if held and (is_over or held_bytes + len(line) > size):
                yield Chunk(b"\n".join([*held, b""]), 0)
                held, held_bytes = [], 0
            if row is not None and is_over:
                whole = row.raw_truncated_from if row.is_truncated(content) else None
                yield Chunk(line[:PREFIX_BYTES], whole or len(line))
            else:
                held.append(line)
                held_bytes += len(line) + 1
        if held:
            yield Chunk(b"\n".join([*held, b""]), 0)


def _as_ndjson(row: Row, content: bytes, contract: Contract) -> bytes:
    """Return a raw row as NDJSON has it: what is an object there may be JSON text in a row of Parquet."""
    known = landing.format_of(row.first_place.source)
    if known is not Format.PARQUET or row.is_truncated(content):
        return content
    try:
        members = _members.decode(content)
        is_plain = len(json.loads(content, object_pairs_hook=list)) == len(members)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors, too
        return content
    objects = {
        field.name: text
        for field in contract.fields
        if field.kind is Kind.JSONB and field.name in members and (text := _object_in(bytes(members[field.name])))
    }
    if not objects or not is_plain:
        return content  # A key that is there twice is for the decoder to find.
    texts = {name: objects.get(name, bytes(value)) for name, value in members.items()}
    return b"{" + b",".join(msgspec.json.encode(name) + b":" + text for name, text in texts.items()) + b"}"


def _object_in(value: bytes) -> bytes | None:
    """Return the object that a JSON string holds the text of, None where it holds none."""
    if not value.startswith(b'"'):
        return None
    text: str = msgspec.json.decode(value)
    try:
        _value.decode(text)
    except (ValueError, RecursionError):
        return None
    # Strings in it hold no line break; elsewhere one is as good as a space.
    return text.replace("\n", " ").encode() if text.lstrip(" \t\r\n").startswith("{") else None
