"""Valid rows -> units: what goes to the database at once, in the order of its keys. Pure.

A unit is large enough that its cost in round trips is nothing, and small enough that the next one is decoded while
Postgres works on it. But each unit of random ids walks the whole index of events: for a large index, units are larger.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable

import polars as pl

from loader.contract import KEY, PROVENANCE, Contract, Kind
from loader.seen import SeenKeys

AGAIN = "loader: again"  # no field of a contract can have this name
_UNIT_BYTES = 8 << 20
_UNITS_FOR_INDEX = 8
_UNITS_FOR_ALL_BEFORE = 32  # the index grows with what is loaded
_MAX_UNIT_BYTES = 32 << 20  # what is held to be sorted


def units(frames: Iterable[pl.DataFrame], contract: Contract, *, index_bytes: int) -> Generator[pl.DataFrame]:
    """Put frames (Block.frame's columns) together, and yield them `in_merge_order`.

    In AGAIN, rows count as well whose event_id an earlier unit has, or may have.
    index_bytes: how large the index on event_id is before.
    """
    held: list[pl.DataFrame] = []
    seen = SeenKeys()
    size = before = 0

    def unit() -> pl.DataFrame:
        ordered = in_merge_order(pl.concat(held), contract)
        held.clear()
        return ordered.with_columns((ordered[AGAIN] | seen.add(ordered[KEY])).alias(AGAIN))

    for frame in frames:
        if frame.is_empty():
            continue
        held.append(frame)
        size += _size(frame)
        enough = max(_UNIT_BYTES, index_bytes // _UNITS_FOR_INDEX, before // _UNITS_FOR_ALL_BEFORE)
        # The first is what there is, for Postgres waits for it; those after it grow.
        if size >= min(enough, _MAX_UNIT_BYTES, before):
            yield unit()
            before += size
            size = 0
    if held:
        yield unit()


def in_merge_order(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return `frame` (Block.frame's columns) with its UUIDs as 16 bytes, by event_id, file_id and line.

    One column more, AGAIN (Boolean), says that an earlier row has the same event_id.
    """
    binary_ids = [
        pl.col(field.name).str.replace_all("-", "", literal=True).str.decode("hex").alias(field.name)
        for field in contract.fields
        if field.kind is Kind.UUID
    ]
    ordered = frame.with_columns(binary_ids).sort(KEY, *PROVENANCE)
    return ordered.with_columns((pl.col(KEY) == pl.col(KEY).shift()).fill_null(value=False).alias(AGAIN))


def _size(frame: pl.DataFrame) -> int:
    """Return about how many bytes the rows of `frame` have in a file."""
    texts = [name for name, dtype in frame.schema.items() if dtype == pl.String]
    fixed = 8 * (frame.width - len(texts)) * frame.height
    sizes = frame.select(pl.sum_horizontal(pl.col(name).str.len_bytes().sum() for name in texts))
    return fixed + int(sizes.item() or 0) if texts else fixed
