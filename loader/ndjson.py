"""NDJSON: bytes to rows. Pure: no file is read here.

One line is one JSON document. msgspec decodes whole chunks at once where it can; a chunk with a bad line is decoded in
ever smaller pieces, so that a bad line never costs its neighbours. `properties` stays the text that it was.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import polars as pl

from loader import jsonb, repeats
from loader.canonical import Columns, canonical
from loader.contract import Contract, Field, Kind
from loader.lines import PREFIX_BYTES
from loader.model import Block, Problem

# Lines decoded at once where a whole chunk can't be: with 1 % bad lines, most pieces of this size are good.
_PIECE = 16
# An escape; the group is set where it is half of a surrogate pair whose other half is not next to it.
_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)
_GRAMMAR = msgspec.json.Decoder(msgspec.Raw)
_JSON_KINDS = {b'"': "string", b"{": "object", b"[": "array", b"t": "boolean", b"f": "boolean", b"n": "null"}
_MAX_UNKNOWN_NAMED = 20

_TYPES: dict[Kind, Any] = {
    Kind.UUID: str,
    Kind.TEXT: str,
    Kind.TIMESTAMPTZ: str,
    Kind.JSONB: msgspec.Raw,
    Kind.BIGINT: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)],
    Kind.DOUBLE: float,
    Kind.BOOLEAN: bool,
}
_EXPECTED = {
    Kind.JSONB: "any JSON value",
    Kind.BIGINT: "integer of 64 bits",
    Kind.DOUBLE: "number",
    Kind.BOOLEAN: "boolean",
}


@dataclass(slots=True)
class Rows:
    """Decoded lines, pooled until there are enough of them for a block. The lists run in parallel."""

    file_ids: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    structs: list[Any] = field(default_factory=list)
    raws: list[bytes] = field(default_factory=list)
    problems: dict[int, list[Problem]] = field(default_factory=dict)
    long_lines: dict[int, int] = field(default_factory=dict)  # row index -> length of a line over the limit

    def __len__(self) -> int:
        """Rows held."""
        return len(self.structs)


class Decoder:
    """Decodes lines into rows typed by a contract."""

    def __init__(self, contract: Contract, *, max_line_bytes: int) -> None:
        self._contract = contract
        self._max_line_bytes = max_line_bytes
        self._types = {field.name: _type(field) for field in contract.fields}
        required = [(field.name, self._types[field.name]) for field in contract.fields if field.required]
        optional = [
            (field.name, self._types[field.name], msgspec.Raw(b"null") if field.kind is Kind.JSONB else None)
            for field in contract.fields
            if not field.required
        ]
        self._struct = msgspec.defstruct(
            "Row", [*required, *optional], forbid_unknown_fields=not contract.ignore_unknown, gc=False
        )
        self._decoder = msgspec.json.Decoder(self._struct)
        self._members = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._blank = self._struct(**dict.fromkeys(contract.columns))

    def add(self, rows: Rows, chunk: bytes, *, file_id: int, first_line: int) -> int:
        """Decode `chunk`, whole lines of which the first is number `first_line`, onto `rows`; return its line count."""
        lines = chunk.split(b"\n")
        if not lines[-1]:
            lines.pop()
        structs = self._decode_chunk(chunk, len(lines))
        if structs is not None:
            rows.lines.extend(range(first_line, first_line + len(lines)))
            rows.file_ids.extend([file_id] * len(lines))
            rows.structs.extend(structs)
            rows.raws.extend(lines)
            return len(lines)
        for start in range(0, len(lines), _PIECE):
            piece = lines[start : start + _PIECE]
            structs = self._decode_chunk(b"\n".join(piece) + b"\n", len(piece))
            if structs is None:
                self._add_singly(rows, piece, file_id=file_id, first_line=first_line + start)
                continue
            rows.lines.extend(range(first_line + start, first_line + start + len(piece)))
            rows.file_ids.extend([file_id] * len(piece))
            rows.structs.extend(structs)
            rows.raws.extend(piece)
        return len(lines)

    def add_over_limit(self, rows: Rows, prefix: bytes, *, length: int, file_id: int, line: int) -> None:
        """Add a line of `length` bytes that is over the limit, of which only `prefix` was kept."""
        message = f"the line is {length} bytes long; the limit is {self._max_line_bytes}"
        rows.long_lines[len(rows)] = length
        rows.problems[len(rows)] = [Problem("line_too_long", None, message)]
        self._append(rows, self._blank, prefix, file_id, line)

    def block(self, rows: Rows) -> Block:
        """Turn `rows` into a block: canonical columns, and problems that only whole columns show."""
        names = self._contract.columns
        columns: Columns = {}
        for contract_field in self._contract.fields:
            name = contract_field.name
            if contract_field.kind is Kind.JSONB:
                columns[name] = pl.Series(name, _raw_values(rows.structs, contract_field), pl.Binary)
            else:
                dtype = pl.String() if self._types[name] in (str, str | None) else contract_field.kind.dtype
                columns[name] = pl.Series(name, list(map(attrgetter(name), rows.structs)), dtype)
        problems = {row: list(found) for row, found in rows.problems.items()}
        for row in repeats.suspects(columns, rows.raws, self._contract):
            if row not in problems and (found := repeats.in_line(rows.raws[row], self._contract)):
                problems[row] = found
        frame = canonical(columns, self._contract, problems)
        frame = frame.select(
            pl.Series("file_id", rows.file_ids, pl.Int64), pl.Series("line", rows.lines, pl.Int64), *names
        )
        return Block(frame, problems, rows.raws.__getitem__, _raw_length(rows))

    def _decode_chunk(self, chunk: bytes, line_count: int) -> list[Any] | None:
        """Decode all lines of `chunk` at once, or return None if that can't be done or could be wrong.

        To msgspec newlines are just white space: it would take one document over two lines, or two on one.
        When every line starts with `{` and ends with `}`, a document can't go over a line's end, since `}` is never
        followed by `{` inside one; and then as many documents as lines means one on each.
        """
        end = b"}\r\n" if chunk.endswith(b"}\r\n") else b"}\n"
        if not chunk.startswith(b"{") or not chunk.endswith((end, b"}")):
            return None
        if chunk.count(end + b"{") != line_count - 1 or len(chunk) > self._max_line_bytes:
            return None
        try:
            structs: list[Any] = self._decoder.decode_lines(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return structs if len(structs) == line_count else None

    def _add_singly(self, rows: Rows, lines: Sequence[bytes], *, file_id: int, first_line: int) -> None:
        for number, line in enumerate(lines, first_line):
            if len(line) > self._max_line_bytes:
                self.add_over_limit(rows, line[:PREFIX_BYTES], length=len(line), file_id=file_id, line=number)
                continue
            if not line.strip(b" \t\r"):
                continue  # A blank line is no row, but it has a number.
            try:
                struct = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                struct, rows.problems[len(rows)] = self._diagnose(line)
            self._append(rows, struct, line, file_id, number)

    @staticmethod
    def _append(rows: Rows, struct: Any, raw: bytes, file_id: int, line: int) -> None:
        rows.file_ids.append(file_id)
        rows.lines.append(line)
        rows.structs.append(struct)
        rows.raws.append(raw)

    def _diagnose(self, line: bytes) -> tuple[Any, list[Problem]]:
        """Find everything that is wrong with the shape of `line`, and keep the fields that are right."""
        try:
            line.decode()
        except UnicodeDecodeError as error:
            return self._blank, [Problem("invalid_utf8", None, f"byte {error.start + 1} of the line is not UTF-8")]
        try:
            _GRAMMAR.decode(line)  # first, since a decoder for objects gives up at the first byte of anything else
            members = self._members.decode(line)
        except msgspec.ValidationError:
            found = _JSON_KINDS.get(line.strip()[:1], "number")
            return self._blank, [Problem("not_an_object", None, f"the line is a JSON {found}, not an object")]
        except RecursionError:
            return self._blank, [jsonb.too_deep(None)]
        except msgspec.DecodeError as error:
            if any(escape[1] for escape in _ESCAPE.finditer(line)):
                return self._blank, [Problem("lone_surrogate", None, r"holds half of a \ud800 surrogate pair")]
            return self._blank, [Problem("malformed_json", None, str(error))]
        problems = []
        values = dict.fromkeys(self._contract.columns)
        for contract_field in self._contract.fields:
            value, problem = self._take(contract_field, members)
            values[contract_field.name] = value
            if problem is not None:
                problems.append(problem)
        if not self._contract.ignore_unknown:
            unknown = [name for name in members if name not in values]
            problems += [
                Problem("unknown_field", _shorten(name), "the contract has no such field")
                for name in unknown[:_MAX_UNKNOWN_NAMED]
            ]
        problems += repeats.in_line(line, self._contract)
        return self._struct(**values), problems

    def _take(self, contract_field: Field, members: dict[str, msgspec.Raw]) -> tuple[Any, Problem | None]:
        """Decode one member of a row whose shape is wrong somewhere."""
        name, kind = contract_field.name, contract_field.kind
        raw = members.get(name)
        if raw is None:
            missing = Problem("missing_field", name, "the field is missing") if contract_field.required else None
            return None, missing
        if kind is Kind.JSONB:
            return raw, None
        try:
            return msgspec.json.decode(raw, type=self._types[name]), None
        except msgspec.ValidationError:
            found = _JSON_KINDS.get(bytes(raw)[:1], "number")
            return None, Problem("wrong_type", name, f"expected a {_EXPECTED.get(kind, 'string')}, found {found}")


def _type(contract_field: Field) -> Any:
    base = _TYPES[contract_field.kind]
    if contract_field.required or base is msgspec.Raw:
        return base
    return base | None


def _raw_values(structs: list[Any], contract_field: Field) -> list[bytes | None]:
    raws = map(attrgetter(contract_field.name), structs)
    values = [None if raw is None else bytes(raw) for raw in raws]
    if contract_field.required:
        return values
    return [None if value == b"null" else value for value in values]


def _raw_length(rows: Rows) -> Callable[[int], int]:
    return lambda row: rows.long_lines.get(row) or len(rows.raws[row])


def _shorten(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:97]}..."  # noqa: PLR2004
