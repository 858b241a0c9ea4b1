"""Valid rows -> units: what goes to the database at once, in the order of its keys. Pure.

A unit is large enough that its cost in round trips is nothing, and small enough that the next one is decoded while
Postgres works on it. Where the index of events is large and the keys are random, each unit has the keys of one range.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Generator, Iterable, Iterator

import polars as pl

from loader import uuids
from loader.contract import KEY, PROVENANCE, Contract, Kind
from loader.ranges import Ranges, are_mixed, beginnings
from loader.seen import SeenKeys

AGAIN = "loader: again"  # no field of a contract can have this name
_UNIT_BYTES = 8 << 20
# An index of this size stays in the server's memory, whatever is written to it.
_SMALL_INDEX_BYTES = 64 << 20
_INDEX_BYTES_PER_ROW = 40
# Rows held back: two thirds of what has come so far, between these, so that Postgres need not wait for long.
_LEAST_HELD_BYTES = 16 << 20
_MOST_HELD_BYTES = 96 << 20


def units(
    frames: Iterable[pl.DataFrame], contract: Contract, seen: SeenKeys, *, index_bytes: int
) -> Generator[pl.DataFrame]:
    """Put frames (Block.frame's columns) together, and yield them `in_merge_order`.

    In AGAIN, rows count as well whose event_id is among `seen`, to which those of each unit are added. Of rows with the
    same event_id, those that came first are in the earlier unit.
    index_bytes: how large the index on event_id is before.
    """
    rest = (with_binary_ids(frame, contract) for frame in frames if not frame.is_empty())
    for rows in _grouped(rest, index_bytes):
        unit = in_merge_order(rows)
        yield unit.with_columns((unit[AGAIN] | seen.add(unit[KEY])).alias(AGAIN))


def _grouped(frames: Iterator[pl.DataFrame], index_bytes: int) -> Iterator[pl.DataFrame]:
    """Yield the rows of each unit; they come one after the other until the index is large."""
    held: list[pl.DataFrame] = []
    size = before = 0
    while index_bytes <= _SMALL_INDEX_BYTES and (frame := next(frames, None)) is not None:
        held.append(frame)
        size += _size(frame)
        index_bytes += frame.height * _INDEX_BYTES_PER_ROW
        del frame
        # The first is what there is, for Postgres waits for it.
        if size >= min(_UNIT_BYTES, before):
            yield pl.concat(held)
            held.clear()
            before += size
            size = 0
    if held:
        yield pl.concat(held)
    yield from _by_range(frames)


def _by_range(frames: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield rows by range of keys, or as they come where the keys ascend, so that they are close together anyhow."""
    waiting = deque(itertools.islice(frames, 2))
    if len(waiting) < 2 or not are_mixed(waiting[0][KEY], waiting[1][KEY]):  # noqa: PLR2004
        yield from waiting
        yield from frames
        return
    ranges = Ranges(waiting[0][KEY])
    come = 0
    while (frame := waiting.popleft() if waiting else next(frames, None)) is not None:
        size = _size(frame)
        come += size
        ranges.add(frame, size)
        del frame  # It is as large as what is held back.
        while ranges.size > min(max(come * 2 // 3, _LEAST_HELD_BYTES), _MOST_HELD_BYTES):
            yield ranges.pop_fullest()
    yield from ranges.drain(_UNIT_BYTES)


def with_binary_ids(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return `frame` (Block.frame's columns) with its UUIDs as 16 bytes."""
    return frame.with_columns(uuids.to_bytes(frame[field.name]) for field in contract.fields if field.kind is Kind.UUID)


def in_merge_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Return `frame` (`with_binary_ids`) by event_id, file_id and line.

    One column more, AGAIN (Boolean), says that an earlier row has the same event_id.
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
    return ordered.with_columns(pl.repeat(False, frame.height, eager=True).scatter(again, True).alias(AGAIN))


def _size(frame: pl.DataFrame) -> int:
    """Return about how many bytes the rows of `frame` have in a file."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    fixed = 8 * (frame.width - len(texts)) * frame.height
    sizes = frame.select(pl.sum_horizontal(pl.col(name).str.len_bytes().sum() for name in texts))
    return fixed + int(sizes.item() or 0) if texts else fixed
