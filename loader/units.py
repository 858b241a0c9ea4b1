"""Valid rows -> units: what goes to the database at once, in the order of its keys.

A unit is large enough that its cost in round trips is nothing, and small enough that the next one is decoded while
Postgres works on it. Where the index of events is large and the keys are random, each unit has the keys of one range.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import polars as pl

from loader import uuids
from loader.contract import KEY, PROVENANCE, Contract, Kind
from loader.ranges import Ranges, are_mixed, beginnings
from loader.seen import SeenKeys
from loader.spill import Spill

AGAIN = "loader: again"  # no field of a contract can have this name
_UNIT_BYTES = 8 << 20
# An index of this size stays in the server's memory, whatever is written to it.
_SMALL_INDEX_BYTES = 64 << 20
_INDEX_BYTES_PER_ROW = 40
# Rows held back: two thirds of what has come first, then a quarter, so that Postgres need not wait for long.
_LEAST_HELD_BYTES = 16 << 20
_MANY_HELD_BYTES = 96 << 20
_MOST_HELD_BYTES = 256 << 20
_MOST_HELD_IN_MEMORY_BYTES = 32 << 20
# A unit of rows that were held back has so many at least, or that part of all that are.
_POPPED_BYTES = 12 << 20
_POPPED_PART = 6


class Units:
    """Puts frames together to units, each `in_merge_order`.

    In AGAIN, rows count as well whose event_id is among `seen`, to which all are added as they come. Of rows with the
    same event_id, those that came first are in the earlier unit.
    """

    def __init__(self, contract: Contract, seen: SeenKeys, spill: Spill, *, index_bytes: int) -> None:
        """index_bytes: how large the index on event_id is before."""
        self._contract = contract
        self._seen = seen
        self._spill = spill
        self._index_bytes = index_bytes
        # While the index is small: rows that are no unit yet. `_before` are the bytes of all units before.
        self._gathered: list[pl.DataFrame] = []
        self._gathered_bytes = self._before = 0
        # Once it is large: rows that wait for it to be known whether keys are mixed, and those held back if they are.
        self._waiting: deque[pl.DataFrame] = deque()
        self._are_mixed: bool | None = None
        self._ranges: Ranges | None = None
        self._come = 0

    def take(self, frame: pl.DataFrame) -> None:
        """Take in rows (Block.frame's columns)."""
        if frame.is_empty():
            return
        rows = with_binary_ids(frame, self._contract)
        rows = rows.with_columns(self._seen.add(rows[KEY]).alias(AGAIN))
        if self._index_bytes > _SMALL_INDEX_BYTES:
            self._waiting.append(rows)
            return
        self._gathered.append(rows)
        self._gathered_bytes += _size(rows)
        if not self._seen.expects_known:
            self._index_bytes += rows.height * _INDEX_BYTES_PER_ROW

    def due(self, *, is_end: bool = False) -> Iterator[pl.DataFrame]:
        """Yield the units that it is time for; at the end, all that is left."""
        for rows in self._grouped(is_end=is_end):
            unit = in_merge_order(rows)
            del rows  # Their columns would wait with the unit, texts apart as large as its own.
            yield unit

    def _grouped(self, *, is_end: bool) -> Iterator[pl.DataFrame]:
        """Yield the rows of each unit; they come one after the other until the index is large."""
        # The first is what there is, for Postgres waits for it.
        is_enough = self._gathered_bytes >= min(_UNIT_BYTES, self._before)
        if self._gathered and (is_enough or is_end or self._waiting):
            yield pl.concat(self._taken())
        if self._are_mixed is None and len(self._waiting) == 2:  # noqa: PLR2004
            self._are_mixed = are_mixed(self._waiting[0][KEY], self._waiting[1][KEY])
        if self._are_mixed:
            yield from self._by_range(is_end=is_end)
        elif is_end or self._are_mixed is False:  # Keys that ascend are close together anyhow.
            while self._waiting:
                yield self._waiting.popleft()

    def _taken(self) -> list[pl.DataFrame]:
        """Return what is gathered, and have nothing gathered any more."""
        frames, self._gathered = self._gathered, []
        self._before += self._gathered_bytes
        self._gathered_bytes = 0
        return frames

    def _by_range(self, *, is_end: bool) -> Iterator[pl.DataFrame]:
        """Hold rows back by range of keys; yield those of the fullest ranges where enough are held."""
        if self._ranges is None:
            self._ranges = Ranges(self._waiting[0][KEY], self._spill)
        while self._waiting:
            size = _size(self._waiting[0])
            self._come += size
            self._ranges.add(self._waiting.popleft(), size)
            while self._ranges.size > self._most_held():
                yield self._ranges.pop_fullest(min(_POPPED_BYTES, self._ranges.size // _POPPED_PART))
        if is_end:
            yield from self._ranges.drain(_POPPED_BYTES)

    def _most_held(self) -> int:
        """Return how many bytes of rows may be held back."""
        if self._spill.has_failed:
            return _MOST_HELD_IN_MEMORY_BYTES
        first = min(max(self._come * 2 // 3, _LEAST_HELD_BYTES), _MANY_HELD_BYTES)
        return max(first, min(self._come // 4, _MOST_HELD_BYTES))


def with_binary_ids(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return `frame` (Block.frame's columns) with its UUIDs as 16 bytes."""
    return frame.with_columns(uuids.to_bytes(frame[field.name]) for field in contract.fields if field.kind is Kind.UUID)


def in_merge_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` (`with_binary_ids`) by event_id, file_id and line.

    In AGAIN (Boolean; one column more unless it is there already) rows count whose event_id an earlier one has.
    """
    begins = beginnings(frame[KEY])
    order = begins.arg_sort()
    begins = begins.gather(order)
    follows = (begins == begins.shift()).fill_null(value=False)
    tied = (follows | follows.shift(-1)).arg_true()
    rows = order.gather(tied)
    finer = frame.select(pl.col(KEY, *PROVENANCE).gather(rows)).select(pl.arg_sort_by(KEY, *PROVENANCE)).to_series()
    order = order.scatter(tied, rows.gather(finer))
    ordered = frame.rechunk().select(pl.all().gather(order))  # from one chunk it is ten times as fast
    second = follows.arg_true()
    keys = ordered[KEY]
    again = second.filter(keys.gather(second) == keys.gather(second - 1))
    before = ordered[AGAIN] if AGAIN in frame.columns else pl.repeat(False, frame.height, eager=True)
    return ordered.with_columns(before.scatter(again, True).alias(AGAIN))


def _size(frame: pl.DataFrame) -> int:
    """Return about how many bytes the rows of `frame` have in a file."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    fixed = 8 * (frame.width - len(texts)) * frame.height
    sizes = frame.select(pl.sum_horizontal(pl.col(name).str.len_bytes().sum() for name in texts))
    return fixed + int(sizes.item() or 0) if texts else fixed
