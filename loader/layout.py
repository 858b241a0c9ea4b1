r"""Lines that a producer spells alike, decoded as columns instead of one document at a time. Pure.

A producer's lines have their keys in one order, with the same white space between them. Such a layout is learned from
a line; all lines that follow it are cut at the same marks, with no work per line in Python. A line counts as alike only
if that gives what a JSON parser would: between the marks stand strings without quotes, escapes or control characters,
and at most one object, whose grammar is checked here. Every other line is somebody else's to decode and to judge.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import polars as pl

from loader.contract import Contract, Kind

# A string as it stands (RFC 8259, section 7), without escapes.
_PLAIN = r'([^"\\\x00-\x1f]*)'
_STRINGS = (Kind.UUID, Kind.TEXT, Kind.TIMESTAMPTZ)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_GRAMMAR = msgspec.json.Decoder(msgspec.Raw)
_END = re.compile(r'"?[ \t]*\}[ \t\r]*')
_LINE = "text"


@dataclass(frozen=True, slots=True)
class Layout:
    """The marks between the values of a line, and the fields whose values those are.

    A line is `marks[0] value marks[1] value ... marks[-1]`. `document` is the place among the fields of the one whose
    value is an object; the quotes of the others belong to the marks.
    """

    fields: tuple[str, ...]
    marks: tuple[str, ...]
    document: int | None

    def take(self, texts: pl.Series, *, max_bytes: int) -> pl.DataFrame:
        """Return the rows of those `texts` (String, null allowed) that follow the layout.

        Returns: index UInt32 (the place in `texts`), then `fields`, all String.
        """
        text = pl.col(_LINE)
        length = text.str.len_bytes().cast(pl.Int64)
        cut = _only(texts.rename(_LINE).to_frame().with_row_index("index"), length <= max_bytes)
        at = self.document
        if at is None:
            whole = _Side(self.fields, self.marks)
            cut = cut.with_columns(_groups(f"^{_pattern(whole.marks)}$", whole.fields))
            return _only(cut, _matched(whole, text.str.starts_with)).select("index", *self.fields)
        before = _Side(self.fields[:at], self.marks[: at + 1])
        after = _Side(self.fields[at + 1 :], self.marks[at + 1 :])
        # One step after the other: in one plan Polars would do some of the work twice.
        cut = cut.with_columns(_groups(f"^{_pattern(before.marks)}", before.fields))
        cut = _only(cut, _matched(before, text.str.starts_with))
        cut = cut.with_columns(_groups(f"{_pattern(after.marks)}$", after.fields))
        cut = _only(cut, _matched(after, text.str.ends_with))
        start, rest = _size_of(before), _size_of(after)
        cut = _only(cut, length >= start + rest)
        name = self.fields[at]
        document = text.cast(pl.Binary).bin.slice(start, length - start - rest).cast(pl.String)
        copied = document + ""  # a slice would keep the whole chunk in memory
        cut = cut.select("index", *before.fields, *after.fields, copied.alias(name))
        cut = _only(cut, pl.col(name).str.starts_with("{") & pl.col(name).str.ends_with("}"))
        if not (cut.is_empty() or _grammatical(cut[name])):
            cut = cut.filter(pl.Series(_each_grammatical(cut[name].to_list())))
        return cut.select("index", *self.fields)


class _Side(NamedTuple):
    """The plain strings on one side of the document, and the marks around them."""

    fields: tuple[str, ...]
    marks: tuple[str, ...]


def _pattern(marks: Sequence[str]) -> str:
    return _PLAIN.join(map(re.escape, marks))


def _groups(pattern: str, names: Sequence[str]) -> list[pl.Expr]:
    """Return what the groups of `pattern` match, as columns; all are null where it does not match."""
    if not names:
        return []
    found = pl.col(_LINE).str.extract_groups(pattern)
    return [found.struct.field(str(number)).alias(name) for number, name in enumerate(names, 1)]


def _matched(side: _Side, holds: Callable[[str], pl.Expr]) -> pl.Expr:
    return pl.col(side.fields[0]).is_not_null() if side.fields else holds(side.marks[0])


def _only(frame: pl.DataFrame, condition: pl.Expr) -> pl.DataFrame:
    """Return the rows that meet a condition; most often all do."""
    mask = frame.select(condition.fill_null(value=False)).to_series()
    return frame if mask.all() else frame.filter(mask)


def _size_of(side: _Side) -> pl.Expr:
    """Return how many bytes of a line one side takes."""
    marks = pl.lit(sum(len(mark.encode()) for mark in side.marks), pl.Int64)
    return pl.sum_horizontal(marks, *(pl.col(name).str.len_bytes().cast(pl.Int64) for name in side.fields))


def learn(line: str, contract: Contract) -> Layout | None:
    """Return the layout of `line`, or None where it has none, or isn't what the contract wants."""
    try:
        members = _MEMBERS.decode(line)
    except (msgspec.DecodeError, RecursionError):
        return None
    kinds = {field.name: field.kind for field in contract.fields}
    required = {field.name for field in contract.fields if field.required}
    if not members or not required <= members.keys() <= kinds.keys():
        return None
    documents = [place for place, name in enumerate(members) if kinds[name] is Kind.JSONB]
    rest = [name for name in members if kinds[name] not in _STRINGS and kinds[name] is not Kind.JSONB]
    if rest or len(documents) > 1:
        return None
    marks = _marks(line, {name: bytes(raw).decode() for name, raw in members.items()}, kinds)
    return None if marks is None else Layout(tuple(members), marks, documents[0] if documents else None)


def _marks(line: str, values: dict[str, str], kinds: dict[str, Kind]) -> tuple[str, ...] | None:
    marks = []
    position = 0
    for name, value in values.items():
        mark = re.compile(rf'"?[ \t]*[{{,][ \t]*"{re.escape(name)}"[ \t]*:[ \t]*').match(line, position)
        if mark is None or not line.startswith(value, mark.end()):
            return None
        quote = '"' if kinds[name] in _STRINGS else ""
        if not value.startswith(quote or "{"):
            return None
        marks.append(line[position : mark.end()] + quote)
        position = mark.end() + len(value) - len(quote)
    end = line[position:]
    return (*marks, end) if _END.fullmatch(end) else None  # Else a key that stood before stands here once more.


def _grammatical(documents: pl.Series) -> bool:
    """Say whether each of `documents`, which start with `{` and end with `}`, is one JSON object.

    Inside of an object `}` is never followed by `{` without a comma between them. So none goes over the newline that
    is put between them here, and as many documents as expected means one in each.
    """
    joined = documents.str.join("\n")[0].encode()
    try:
        return len(_GRAMMAR.decode_lines(joined)) == len(documents)
    except (msgspec.DecodeError, RecursionError):
        return False


def _each_grammatical(documents: Sequence[str]) -> list[bool]:
    """Say of each of `documents` whether it is one JSON object, by halving."""
    if _grammatical(pl.Series(documents, dtype=pl.String)):
        return [True] * len(documents)
    if len(documents) == 1:
        return [False]
    half = len(documents) // 2
    return [*_each_grammatical(documents[:half]), *_each_grammatical(documents[half:])]
