r"""Lines that a producer spells alike, decoded as columns instead of one document at a time. Pure.

A producer's lines have their keys in one order, with the same white space between them. Such a layout is learned from
a line; all lines that follow it are cut at the same marks, with no work per line in Python. A line counts as alike only
if that gives what a JSON parser would: between the marks stand strings without quotes, escapes or control characters,
and at most one object, whose grammar is checked here. Every other line is somebody else's to decode and to judge.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import and_

import msgspec
import polars as pl

from loader.contract import Contract, Kind

# What a string can't hold as it stands (RFC 8259, section 7), and what would start an escape.
_NOT_PLAIN = r'["\\\x00-\x1f]'
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
        lines = texts.rename(_LINE).to_frame().with_row_index("index").lazy()
        found = lines.filter(self._may_follow(max_bytes)).with_columns(self._ends()).filter(self._ends_are_in_order())
        cut = found.select("index", *self._values()).filter(self._values_are_plain()).collect()
        if self.document is None or cut.is_empty():
            return cut
        documents = cut[self.fields[self.document]]
        return cut if _grammatical(documents) else cut.filter(pl.Series(_each_grammatical(documents.to_list())))

    def _may_follow(self, max_bytes: int) -> pl.Expr:
        text = pl.col(_LINE)
        fits = text.str.len_bytes() <= max_bytes
        return fits & text.str.starts_with(self.marks[0]) & text.str.ends_with(self.marks[-1])

    def _ends(self) -> list[pl.Expr]:
        """Find where each value ends, as byte positions `end_<place>`; behind the document by what follows it."""
        text = pl.col(_LINE)
        length = text.str.len_bytes().cast(pl.Int64)
        ends = {}
        last = len(self.fields) - 1
        for place in range(len(self.fields)):
            if place == last:
                ends[place] = length - _size(self.marks[-1])
            elif self.document is not None and place >= self.document:
                behind = self.marks[place + 1 :]
                tail = _PLAIN.join(map(re.escape, behind))
                # From here to the line's end nothing but plain strings between known marks.
                ends[place] = length - text.str.extract(f"({tail})$", 1).str.len_bytes().cast(pl.Int64)
            else:
                ends[place] = text.str.find(self.marks[place + 1], literal=True).cast(pl.Int64)
        return [end.alias(f"end_{place}") for place, end in ends.items()]

    def _start(self, place: int) -> pl.Expr:
        if place == 0:
            return pl.lit(_size(self.marks[0]), pl.Int64)
        return pl.col(f"end_{place - 1}") + _size(self.marks[place])

    def _ends_are_in_order(self) -> pl.Expr:
        return reduce(and_, (pl.col(f"end_{place}") >= self._start(place) for place in range(len(self.fields))))

    def _values(self) -> list[pl.Expr]:
        line = pl.col(_LINE).cast(pl.Binary)
        return [
            line.bin.slice(self._start(place), pl.col(f"end_{place}") - self._start(place)).cast(pl.String).alias(name)
            for place, name in enumerate(self.fields)
        ]

    def _values_are_plain(self) -> pl.Expr:
        return reduce(
            and_,
            (
                pl.col(name).str.starts_with("{") & pl.col(name).str.ends_with("}")
                if place == self.document
                else ~pl.col(name).str.contains(_NOT_PLAIN)
                for place, name in enumerate(self.fields)
            ),
        )


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


def _size(mark: str) -> int:
    return len(mark.encode())
