"""Lines of JSON -> values, document by document, with every reason why one is refused. Pure.

msgspec decodes many lines at once where it can; where one of them is bad, in ever smaller pieces, so that a bad line
never costs its neighbours. `properties` stays the text that it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Annotated, Any

import msgspec
import polars as pl

from loader import jsonb, repeats
from loader.canonical import Columns
from loader.contract import Contract, Field, Kind
from loader.model import Problem

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
_EXPECTED = {Kind.BIGINT: "an integer of 64 bits", Kind.DOUBLE: "a number", Kind.BOOLEAN: "a boolean"}


@dataclass(slots=True)
class Decoded:
    """Documents, each from one line; the lists run in parallel."""

    indexes: list[int] = field(default_factory=list)  # which of the given lines; blank ones have no document
    structs: list[Any] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    problems: dict[int, list[Problem]] = field(default_factory=dict)  # by place in these lists

    def extend(self, first_index: int, structs: Sequence[Any], lines: Sequence[bytes]) -> None:
        """Add documents from consecutive lines."""
        self.indexes.extend(range(first_index, first_index + len(lines)))
        self.structs.extend(structs)
        self.lines.extend(lines)


class DocumentDecoder:
    """Decodes lines into values typed by a contract."""

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

    def decode(self, lines: Sequence[bytes], over_limit: Mapping[int, int]) -> Decoded:
        """Decode `lines`; those in `over_limit`, with their length, are only the first bytes of theirs."""
        decoded = Decoded()
        structs = None if over_limit else self._decode_at_once(lines)
        if structs is not None:
            decoded.extend(0, structs, lines)
            return decoded
        for start in range(0, len(lines), _PIECE):
            piece = lines[start : start + _PIECE]
            cut_off = any(start + place in over_limit for place in range(len(piece)))
            structs = None if cut_off else self._decode_at_once(piece)
            if structs is None:
                self._decode_singly(decoded, piece, start, over_limit)
            else:
                decoded.extend(start, structs, piece)
        return decoded

    def columns(self, decoded: Decoded) -> Columns:
        """Return the values as columns, documents as Binary, and add to `decoded` the keys that stand twice."""
        columns: Columns = {}
        for contract_field in self._contract.fields:
            name = contract_field.name
            if contract_field.kind is Kind.JSONB:
                columns[name] = pl.Series(name, _raw_values(decoded.structs, contract_field), pl.Binary)
            else:
                dtype = pl.String() if self._types[name] in (str, str | None) else contract_field.kind.dtype
                columns[name] = pl.Series(name, list(map(attrgetter(name), decoded.structs)), dtype)
        for row in repeats.suspects(columns, decoded.lines, self._contract):
            if row not in decoded.problems and (found := repeats.in_line(decoded.lines[row], self._contract)):
                decoded.problems[row] = found
        return columns

    def _decode_at_once(self, lines: Sequence[bytes]) -> list[Any] | None:
        """Decode all of `lines`, or return None if that can't be done or could be wrong.

        To msgspec newlines are just white space: it would take one document over two lines, or two on one.
        When every line starts with `{` and ends with `}`, a document can't go over a line's end, since `}` is never
        followed by `{` inside one; and then as many documents as lines means one on each.
        """
        chunk = b"\n".join(lines)
        end = b"}\r\n" if chunk.endswith(b"}\r") else b"}\n"
        if not chunk.startswith(b"{") or not chunk.endswith((b"}\r", b"}")):
            return None
        if chunk.count(end + b"{") != len(lines) - 1 or any(len(line) > self._max_line_bytes for line in lines):
            return None
        try:
            self._check_ignored(chunk)
            structs: list[Any] = self._decoder.decode_lines(chunk)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return structs if len(structs) == len(lines) else None

    def _decode_singly(
        self, decoded: Decoded, lines: Sequence[bytes], first_index: int, over_limit: Mapping[int, int]
    ) -> None:
        for index, line in enumerate(lines, first_index):
            length = over_limit.get(index, len(line))
            if length > self._max_line_bytes or index in over_limit:
                message = f"the line is {length} bytes long; the limit is {self._max_line_bytes}"
                if length <= self._max_line_bytes:  # it was over the limit when it was put into quarantine
                    message = f"of the line's {length} bytes only the first {len(line)} are here"
                decoded.problems[len(decoded.structs)] = [Problem("line_too_long", None, message)]
                decoded.extend(index, [self._blank], [line])
                continue
            if not line.strip(b" \t\r"):
                continue  # A blank line is no row, but it has a number.
            try:
                self._check_ignored(line)
                struct = self._decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                struct, decoded.problems[len(decoded.structs)] = self._diagnose(line)
            decoded.extend(index, [struct], [line])

    def _check_ignored(self, text: bytes) -> None:
        """Raise UnicodeDecodeError where what the contract has no field for, which msgspec skips, is not UTF-8."""
        if self._contract.ignore_unknown:
            text.decode()

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
            if kind is Kind.DOUBLE and found == "number":
                found = "one out of range"
            return None, Problem("wrong_type", name, f"expected {_EXPECTED.get(kind, 'a string')}, found {found}")


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


def _shorten(name: str) -> str:
    return name if len(name) <= 100 else f"{name[:97]}..."  # noqa: PLR2004
