r"""Lines that a producer spells alike, decoded as columns instead of one document at a time. Pure.

A producer's lines have their keys in one order, with the same white space between them. Such a layout is learned from
a line; all lines that follow it are cut at the same marks, with no work per line in Python. A line counts as alike only
if that gives what a JSON parser would: between the marks stand strings without quotes, escapes or control characters,
and at most one object, whose grammar is checked here. Every other line is somebody else's to decode and to judge.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec
import polars as pl
import pyarrow as pa

from loader.characters import Mask, Places
from loader.contract import Contract, Kind
from loader.grammar import are_objects
from loader.key_order import in_key_order
from loader.text import Text

_STRINGS = (Kind.UUID, Kind.TEXT, Kind.TIMESTAMPTZ)
_MEMBERS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_END = re.compile(r'"?[ \t]*\}[ \t\r]*')


@dataclass(frozen=True, slots=True)
class Layout:
    """The marks between the values of a line, and the fields whose values those are.

    A line is `marks[0] value marks[1] value ... marks[-1]`. `document` is the place among the fields of the one whose
    value is an object, whose members may be put into jsonb's order if `may_be_sorted`; the quotes of the others belong
    to the marks.
    """

    fields: tuple[str, ...]
    marks: tuple[str, ...]
    document: int | None
    may_be_sorted: bool

    def take(
        self, text: Text, lines: Places, *, max_bytes: int, sort_keys: bool = True
    ) -> tuple[Places, dict[str, pl.Series]]:
        """Return those of `lines` (ascending, UTF-8) that follow the layout, and their `fields`, all String.

        sort_keys: those of the document, if they may be.
        """
        cut = _Cut(text, lines)
        cut.keep(cut.back - cut.front <= max_bytes)
        at = len(self.fields) if self.document is None else self.document
        for mark, name in zip(self.marks, self.fields[:at], strict=False):
            cut.mark_in_front(mark)
            cut.string_in_front(name)
        cut.mark_in_front(self.marks[at])
        if self.document is None:
            cut.keep(cut.front == cut.back)
            return cut.lines, {name: pl.Series(name, cut.column(name)) for name in self.fields}
        for mark, name in zip(self.marks[:at:-1], self.fields[:at:-1], strict=False):
            cut.mark_behind(mark)
            cut.string_behind(name)
        cut.mark_behind(self.marks[at + 1])
        cut.keep(cut.front <= cut.back)
        name = self.fields[at]
        cut.rest(name)
        documents = cut.column(name)
        if sort_keys and self.may_be_sorted:
            documents, are_good = in_key_order(documents)
        else:
            are_good = are_objects(documents)
        if not are_good.all():
            cut.keep(are_good)
            documents = documents.filter(pa.array(are_good))
        others = {name: pl.Series(name, cut.column(name)) for name in (*self.fields[:at], *self.fields[at + 1 :])}
        return cut.lines, {name: pl.Series(name, documents), **others}


class _Cut:
    """Lines that follow a layout as far as was looked; what is between `front` and `back` is still to be cut."""

    def __init__(self, text: Text, lines: Places) -> None:
        self._text = text
        self._spans: dict[str, tuple[Places, Places]] = {}
        self.lines = lines
        self.front = text.starts[lines]
        self.back = text.ends[lines]

    def keep(self, mask: Mask) -> None:
        """Go on with only some of the lines; most often it is all."""
        if not mask.all():
            self.lines, self.front, self.back = self.lines[mask], self.front[mask], self.back[mask]
            self._spans = {name: (starts[mask], ends[mask]) for name, (starts, ends) in self._spans.items()}

    def mark_in_front(self, mark: str) -> None:
        expected = mark.encode()
        self.keep(self._text.has(self.front, expected))
        self.front = self.front + len(expected)

    def mark_behind(self, mark: str) -> None:
        expected = mark.encode()
        self.back = self.back - len(expected)
        self.keep(self._text.has(self.back, expected))

    def string_in_front(self, name: str) -> None:
        """Cut off a string, up to whatever ends it: if that is no quote, the next mark does not stand there."""
        ends = self._text.ends_of_strings(self.front)
        self._spans[name] = self.front, ends
        self.front = ends

    def string_behind(self, name: str) -> None:
        starts = self._text.starts_of_strings(self.back)
        self._spans[name] = starts, self.back
        self.back = starts

    def rest(self, name: str) -> None:
        self._spans[name] = self.front, self.back

    def column(self, name: str) -> pa.LargeStringArray:
        return self._text.column(*self._spans[name])


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
    if marks is None:
        return None
    document = documents[0] if documents else None
    sortable = {field.name for field in contract.fields if field.may_be_sorted}
    return Layout(tuple(members), marks, document, any(name in sortable for name in members))


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
