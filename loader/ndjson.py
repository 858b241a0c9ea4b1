"""NDJSON: chunks of lines -> blocks of rows. Pure: no file is read here.

Lines that are spelled alike are cut into columns (`layout`), all others are decoded one by one (`documents`); which of
the two took a line makes no difference to what becomes of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from loader.canonical import Columns, canonical, utf8
from loader.contract import Contract, Kind
from loader.documents import DocumentDecoder
from loader.layout import Layout, learn
from loader.lines import PREFIX_BYTES
from loader.model import Block, Problem

# Fewer lines than this are not worth the work on whole columns, nor learning how they are spelled.
_FEW = 64
# Producers whose lines are mixed; where there are more, those seen last are remembered.
_MAX_LAYOUTS = 8
_SAMPLES = 4


@dataclass(slots=True)
class Rows:
    """Lines pooled until there are enough of them for a block."""

    pieces: list[bytes] = field(default_factory=list)  # each of whole lines of one file, ending with a newline
    places: list[tuple[int, int, int]] = field(default_factory=list)  # of each piece: file_id, first line, lines
    over_limit: dict[int, int] = field(default_factory=dict)  # index of a line only part of which is here -> its length
    count: int = 0

    def __len__(self) -> int:
        """Lines held."""
        return self.count


class _Part(NamedTuple):
    """Rows of a block: which lines they come from, their columns, and what is wrong with them, by row."""

    indexes: pl.Series
    frame: pl.DataFrame
    problems: dict[int, list[Problem]]


class Decoder:
    """Decodes lines into rows typed by a contract."""

    def __init__(self, contract: Contract, *, max_line_bytes: int) -> None:
        self._contract = contract
        self._max_line_bytes = max_line_bytes
        self._documents = DocumentDecoder(contract, max_line_bytes=max_line_bytes)
        self._layouts: list[Layout] = []  # last used first

    def add(self, rows: Rows, chunk: bytes, *, file_id: int, first_line: int, newlines: int | None = None) -> int:
        """Add `chunk`, whole lines of which the first is number `first_line`, to `rows`; return its line count.

        newlines: how many it has, where that is known.
        """
        count = chunk.count(b"\n") if newlines is None else newlines
        is_open = not chunk.endswith(b"\n")
        piece = chunk + b"\n" if is_open else chunk
        count += is_open
        rows.pieces.append(piece)
        rows.places.append((file_id, first_line, count))
        rows.count += count
        return count

    def add_over_limit(self, rows: Rows, prefix: bytes, *, length: int, file_id: int, line: int) -> None:
        """Add a line of `length` bytes that is over the limit, of which only `prefix` was kept."""
        rows.over_limit[rows.count] = length
        self.add(rows, prefix, file_id=file_id, first_line=line)

    def block(self, rows: Rows) -> Block:
        """Turn `rows` into a block: canonical columns, and what is wrong with a row's shape or with its values."""
        lines = _split(b"".join(rows.pieces))
        parts, rest = self._take_alike(lines, rows.over_limit)
        if len(rest) or not parts:
            parts.append(self._take_singly(lines, rest, rows.over_limit))
        frame, problems = _together(parts)
        indexes = frame["index"]

        def raw(row: int) -> bytes:
            line: bytes = lines[indexes[row]]
            return line if raw_length(row) <= self._max_line_bytes else line[:PREFIX_BYTES]

        def raw_length(row: int) -> int:
            index = indexes[row]
            return rows.over_limit.get(index) or len(lines[index])

        return Block(_places(rows)[indexes].hstack(frame.drop("index")), problems, raw, raw_length)

    def _take_alike(self, lines: pl.Series, over_limit: Mapping[int, int]) -> tuple[list[_Part], pl.Series]:
        """Decode the lines that follow a layout; return the indexes of the others, too."""
        parts: list[_Part] = []
        rest = pl.int_range(len(lines), dtype=pl.UInt32, eager=True)
        texts = utf8(lines).scatter([*over_limit], None) if len(rest) >= _FEW else lines
        tried: set[Layout] = set()
        while len(rest) >= _FEW:
            known = (layout for layout in self._layouts if layout not in tried)
            layout = next(known, None) or self._learn(texts[rest[:_SAMPLES]], tried)
            if layout is None:
                break
            tried.add(layout)
            taken = layout.take(texts[rest], max_bytes=self._max_line_bytes)
            if taken.is_empty():
                continue
            self._layouts = [layout, *(other for other in self._layouts if other != layout)][:_MAX_LAYOUTS]
            cut = {name: taken[name] for name in layout.fields}
            parts.append(self._part(rest[taken["index"]], cut, {}, are_plain=True))
            rest = rest.filter(~rest.is_in(parts[-1].indexes.implode()))
        return parts, rest

    def _learn(self, texts: pl.Series, tried: set[Layout]) -> Layout | None:
        for text in texts:
            layout = learn(text, self._contract) if text is not None else None
            if layout is not None and layout not in tried:
                return layout
        return None

    def _take_singly(self, lines: pl.Series, indexes: pl.Series, over_limit: Mapping[int, int]) -> _Part:
        """Decode the lines at `indexes`, whatever they are."""
        lengths = {place: over_limit[index] for place, index in enumerate(indexes) if index in over_limit}
        decoded = self._documents.decode(lines[indexes].to_list(), lengths)
        columns = self._documents.columns(decoded)
        return self._part(indexes[decoded.indexes], columns, decoded.problems)

    def _part(
        self, indexes: pl.Series, columns: Columns, problems: dict[int, list[Problem]], *, are_plain: bool = False
    ) -> _Part:
        absent = [field for field in self._contract.fields if field.name not in columns]
        for one in absent:
            dtype = pl.String() if one.kind in (Kind.JSONB, Kind.TIMESTAMPTZ) else one.kind.dtype
            columns[one.name] = pl.Series(one.name, [None], dtype).new_from_index(0, len(indexes))
        return _Part(indexes, canonical(columns, self._contract, problems, are_plain=are_plain), problems)


def _split(data: bytes) -> pl.Series:
    """Return the lines of `data`, which ends with a newline, as Binary."""
    if not data:
        return pl.Series(dtype=pl.Binary)
    ends = pa.py_buffer((0).to_bytes(8, "little") + (len(data) - 1).to_bytes(8, "little"))
    whole = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(data)])
    lines = pl.from_arrow(pc.split_pattern(whole, b"\n").flatten())
    assert isinstance(lines, pl.Series)  # noqa: S101 # an array becomes a series
    return lines


def _together(parts: list[_Part]) -> tuple[pl.DataFrame, dict[int, list[Problem]]]:
    """Put the parts' rows below each other in a frame with `index` before the columns."""
    problems: dict[int, list[Problem]] = {}
    height = 0
    for part in parts:
        problems |= {height + row: found for row, found in part.problems.items()}
        height += part.frame.height
    frames = [part.frame.select(part.indexes.alias("index"), *part.frame.columns) for part in parts]
    return pl.concat(frames), problems


def _places(rows: Rows) -> pl.DataFrame:
    """Return file_id and line (both Int64) of every line held."""
    spans = [pl.int_range(line, line + count, dtype=pl.Int64, eager=True) for _, line, count in rows.places]
    files = pl.Series([file_id for file_id, _, _ in rows.places], dtype=pl.Int64)
    counts = pl.Series([count for _, _, count in rows.places], dtype=pl.Int64)
    lines = pl.concat([pl.Series(dtype=pl.Int64), *spans])
    return pl.DataFrame({"file_id": files.repeat_by(counts).explode(), "line": lines})
