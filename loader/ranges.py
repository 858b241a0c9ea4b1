"""Rows held back by range of keys, so that those close to each other go to the database together.

A unit of random keys touches as many pages of a large index as it has rows, each of them read, logged and written for
one row. Of rows that are held back until there are many, those of one range share their pages. They wait in a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa
from pyarrow import ipc

from loader.contract import KEY
from loader.spill import Spill, Spilled

_RANGES = 64
_MAX_POPPED_BYTES = 24 << 20


class _Piece(NamedTuple):
    """Rows of one range that came together, and their share of the size that they came with."""

    spilled: Spilled
    schema: pa.Schema
    size: int


class Ranges:
    """Rows by range of keys, each range's in the order in which they came."""

    def __init__(self, pattern: pl.Series, spill: Spill) -> None:
        """Take for bounds what cuts `pattern`, keys (Binary) like those to come, into equal parts."""
        self._spill = spill
        ordered = beginnings(pattern).sort()
        self._bounds = ordered.gather([len(ordered) * number // _RANGES for number in range(1, _RANGES)])
        self._pieces: list[deque[_Piece]] = [deque() for _ in range(_RANGES)]
        self._sizes = [0] * _RANGES

    @property
    def size(self) -> int:
        """The size of all rows held, as it was said when they were added."""
        return sum(self._sizes)

    def add(self, frame: pl.DataFrame, size: int) -> None:
        """Add rows of so many bytes; where nobody else has `frame`, it is gone before they are put away."""
        height = frame.height
        numbers = self._bounds.search_sorted(beginnings(frame[KEY]), side="right").to_numpy()
        order = np.argsort(numbers.astype(np.uint8), kind="stable")
        # One copy of all rows, from one chunk, instead of one for each range.
        (rows,) = frame.rechunk().select(pl.all().gather(order)).to_arrow().combine_chunks().to_batches()
        del frame
        start = 0
        for number, count in enumerate(np.bincount(numbers, minlength=_RANGES).tolist()):
            if count:
                share = max(1, size * count // height)
                self._pieces[number].append(self._piece(rows.slice(start, count), share))
                self._sizes[number] += share
                start += count

    def pop_fullest(self, least: int) -> pl.DataFrame:
        """Return what came first to the range that holds most, as much of it as fits into a unit.

        Where it is less than `least` bytes, that of its neighbours comes, too.
        """
        first = last = self._sizes.index(max(self._sizes))
        size = self._sizes[first]
        while size < least and last - first + 1 < _RANGES:
            before = self._sizes[first - 1] if first else -1
            after = self._sizes[last + 1] if last + 1 < _RANGES else -1
            first, last = (first - 1, last) if before > after else (first, last + 1)
            size += max(before, after)
        return pl.concat(self._pop(number) for number in range(first, last + 1) if self._pieces[number])

    def drain(self, least: int) -> Iterator[pl.DataFrame]:
        """Yield all rows, range by range; neighbours that have less than `least` bytes come together."""
        frames: list[pl.DataFrame] = []
        size_before = self.size
        for number in range(_RANGES):
            while self._pieces[number]:
                frames.append(self._pop(number))
                if size_before - self.size >= least:
                    yield pl.concat(frames)
                    frames, size_before = [], self.size
        if frames:
            yield pl.concat(frames)

    def _pop(self, number: int) -> pl.DataFrame:
        pieces = self._pieces[number]
        popped = [pieces.popleft()]
        size = popped[0].size
        while pieces and size + pieces[0].size <= _MAX_POPPED_BYTES:
            popped.append(pieces.popleft())
            size += popped[-1].size
        self._sizes[number] -= size
        return pl.DataFrame(pa.Table.from_batches([self._rows(piece) for piece in popped]))

    def _piece(self, rows: pa.RecordBatch, size: int) -> _Piece:
        return _Piece(self._spill.put(rows.serialize()), rows.schema, size)

    def _rows(self, piece: _Piece) -> pa.RecordBatch:
        return ipc.read_record_batch(self._spill.take(piece.spilled), piece.schema)


def beginnings(keys: pl.Series) -> pl.Series:
    """Return the first 8 bytes of each key (Binary of 16 bytes) as UInt64, which sort like the keys, but faster."""
    return keys.bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64, endianness="big")


def are_mixed(one: pl.Series, other: pl.Series) -> bool:
    """Say whether keys (Binary) are spread like those before them; those that ascend with time are not."""
    between = pl.col(KEY).is_between(pl.lit(one.min()), pl.lit(one.max()))
    return bool(other.alias(KEY).to_frame().select(between.mean() >= 0.5).item())  # noqa: PLR2004
