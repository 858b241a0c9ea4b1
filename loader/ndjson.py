"""NDJSON: chunks of lines -> blocks of rows. Pure: no file is read here.

Lines that are spelled alike are cut into columns (`layout`), all others are decoded one by one (`documents`); which of
the two took a line makes no difference to what becomes of it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import polars as pl

from loader.canonical import Columns, Unfit, absent, as_texts, canonical
from loader.characters import Places
from loader.contract import Contract
from loader.documents import DocumentDecoder
from loader.layout import Layout, learn
from loader.lines import PREFIX_BYTES
from loader.model import Block, Problem, Raw
from loader.text import Text

# Fewer lines than this are not worth the work on whole columns, nor learning how they are spelled.
_FEW = 64
# Producers whose lines are mixed; where there are more, those seen last are remembered.
_MAX_LAYOUTS = 8
# Each layout is tried on all lines that are left: those of a producer without any order are decoded one by one.
_MAX_TRIED = 2 * _MAX_LAYOUTS
_SAMPLES = 4
# With so many files in one block, Postgres waits for the loader and can sort keys meanwhile.
_MANY_FILES = 16


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
    """Rows of a block: which lines they come from, their columns (see `canonical`), and what is wrong with them."""

    indexes: pl.Series
    columns: Columns
    problems: dict[int, list[Problem]]
    unfit: Unfit


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
        text = Text(rows.pieces)
        parts, rest = self._take_alike(text, rows.over_limit, sort_keys=len(rows.places) < _MANY_FILES)
        if len(rest) or not parts:
            parts.append(self._take_singly(text, rest, rows.over_limit))
        indexes, columns, problems, unfit = _together(parts)
        frame = canonical(columns, self._contract, problems, unfit)

        over_limit = rows.over_limit  # and not the text that `rows` holds, too

        def raws(rows_of_block: Sequence[int]) -> list[Raw]:
            lines = indexes[rows_of_block].to_numpy()
            return [
                self._raw(line, over_limit.get(index, len(line)))
                for index, line in zip(lines.tolist(), text.lines(lines), strict=True)
            ]

        return Block(_places(rows)[indexes].hstack(frame), problems, raws)

    def _raw(self, line: bytes, length: int) -> Raw:
        return Raw(line if length <= self._max_line_bytes else line[:PREFIX_BYTES], length)

    def _take_alike(self, text: Text, over_limit: Mapping[int, int], *, sort_keys: bool) -> tuple[list[_Part], Places]:
        """Decode the lines that follow a layout; return the indexes of the others, too."""
        if len(text) < _FEW:
            return [], np.arange(len(text))
        parts: list[_Part] = []
        is_left = np.ones(len(text), np.bool_)
        may_be_alike = text.are_utf8()
        may_be_alike[[*over_limit]] = False
        tried: set[Layout] = set()
        while np.count_nonzero(is_left) >= _FEW and len(tried) < _MAX_TRIED:
            lines = np.flatnonzero(is_left & may_be_alike)
            known = (layout for layout in self._layouts if layout not in tried)
            layout = next(known, None) or self._learn(text.lines(lines[:_SAMPLES]), tried)
            if layout is None:
                break
            tried.add(layout)
            taken, columns = layout.take(text, lines, max_bytes=self._max_line_bytes, sort_keys=sort_keys)
            if not len(taken):
                continue
            self._layouts = [layout, *(other for other in self._layouts if other != layout)][:_MAX_LAYOUTS]
            for one in self._contract.fields:
                if one.name not in columns:
                    columns[one.name] = absent(one, len(taken))
            parts.append(_Part(pl.Series(taken, dtype=pl.UInt32), columns, {}, {}))
            is_left[taken] = False
        return parts, np.flatnonzero(is_left)

    def _learn(self, lines: Sequence[bytes], tried: set[Layout]) -> Layout | None:
        for line in lines:
            layout = learn(line.decode(), self._contract)
            if layout is not None and layout not in tried:
                return layout
        return None

    def _take_singly(self, text: Text, lines: Places, over_limit: Mapping[int, int]) -> _Part:
        """Decode `lines`, whatever they are."""
        lengths = {place: over_limit[index] for place, index in enumerate(lines.tolist()) if index in over_limit}
        decoded = self._documents.decode(text.lines(lines), lengths)
        columns, unfit = as_texts(self._documents.columns(decoded), self._contract)
        return _Part(pl.Series(lines[decoded.indexes], dtype=pl.UInt32), columns, decoded.problems, unfit)


def _together(parts: list[_Part]) -> _Part:
    """Put the parts' rows below each other."""
    problems: dict[int, list[Problem]] = {}
    unfit: Unfit = defaultdict(list)
    height = 0
    for part in parts:
        problems |= {height + row: found for row, found in part.problems.items()}
        for name, found in part.unfit.items():
            unfit[name] += [(height + row, problem) for row, problem in found]
        height += len(part.indexes)
    columns = {name: pl.concat([part.columns[name] for part in parts]) for name in parts[0].columns}
    return _Part(pl.concat([part.indexes for part in parts]), columns, problems, unfit)


def _places(rows: Rows) -> pl.DataFrame:
    """Return file_id and line (both Int64) of every line held."""
    files, firsts, counts = np.array(rows.places, np.int64).reshape(-1, 3).T
    before = np.cumsum(counts) - counts
    lines = np.arange(counts.sum()) + np.repeat(firsts - before, counts)
    return pl.DataFrame({"file_id": np.repeat(files, counts), "line": lines})
