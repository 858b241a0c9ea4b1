"""Row groups of a Parquet file -> batches of rows that are small enough to hold, as Arrow and as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from loader import footer, pages
from loader.footer import RowGroup

_MAX_BATCH_ROWS = 32_768
# A page is decoded whole, and holds at least one value whole.
_PAGE_FACTOR = 4
# Of a member: quotes, colon and comma. No value is much shorter.
_PUNCTUATION = 4
_LISTS = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)


@contextmanager
def checked(file: BinaryIO) -> Iterator[tuple[pq.ParquetFile, Sequence[RowGroup]]]:
    """Open a Parquet file, once its footer has been found good: a damaged one can end the process in pyarrow.

    Raises:
        FileRefused: the footer is damaged, or too large to hold.
    """
    row_groups = footer.row_groups(file)
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=1 << 20, page_checksum_verification=True) as parquet:
        yield parquet, row_groups


def batches(
    file: BinaryIO, parquet: pq.ParquetFile, row_groups: Sequence[RowGroup], *, block_bytes: int, max_row_bytes: int
) -> Iterator[pa.RecordBatch]:
    """Yield all rows in batches of about `block_bytes`; a row over `max_row_bytes` comes alone.

    Raises:
        FileRefused: a page is too large to hold, or is no page at all.
    """
    most = min(block_bytes, max_row_bytes)  # A batch that is lighter than the limit has no row over it.
    yield from _together(_small(file, parquet, row_groups, most, _PAGE_FACTOR * max_row_bytes), most)


_Weighed = tuple[int, pa.RecordBatch]


def _small(
    file: BinaryIO, parquet: pq.ParquetFile, row_groups: Sequence[RowGroup], most: int, max_page_bytes: int
) -> Iterator[_Weighed]:
    for number, row_group in enumerate(row_groups):
        if row_group.rows == 0:
            continue  # It may have no page at all.
        rows = pages.batch_rows(file, row_group, block_bytes=most, max_page_bytes=max_page_bytes)
        for batch in parquet.iter_batches(min(rows, _MAX_BATCH_ROWS), row_groups=[number], use_threads=False):
            yield from _pieces(batch, most)


def _pieces(batch: pa.RecordBatch, most: int) -> Iterator[_Weighed]:
    """Halve a batch until none of its pieces is heavier than `most`, or is more than one row."""
    size = weight(batch)
    if batch.num_rows > 1 and size > most:
        half = batch.num_rows // 2
        yield from _pieces(batch.slice(0, half), most)
        yield from _pieces(batch.slice(half), most)
    elif batch.num_rows:
        yield size, batch


def _together(batches: Iterator[_Weighed], most: int) -> Iterator[pa.RecordBatch]:
    """Put small neighbours together: there are files with as many row groups as rows."""
    held: list[pa.RecordBatch] = []
    held_bytes = held_rows = 0
    for size, batch in batches:
        if held and (held_bytes + size > most or held_rows + batch.num_rows > _MAX_BATCH_ROWS):
            yield _one(held)
            held, held_bytes, held_rows = [], 0, 0
        held.append(batch)
        held_bytes += size
        held_rows += batch.num_rows
    if held:
        yield _one(held)


def _one(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    return pa.concat_batches(batches) if len(batches) > 1 else batches[0]


def weight(batch: pa.RecordBatch) -> int:
    """Return about how many bytes the rows of `batch` take as JSON; Arrow's own may be far fewer."""
    return sum(array_weight(column) for column in batch.columns)


def array_weight(array: pa.Array) -> int:
    """Return about how many bytes the values of `array` take as JSON."""
    found = array.type
    if pa.types.is_struct(found):
        names = sum(len(found.field(i).name.encode()) + _PUNCTUATION for i in range(found.num_fields))
        return names * len(array) + sum(array_weight(child) for child in array.flatten())
    if any(test(found) for test in _LISTS):
        return _PUNCTUATION * len(array) + array_weight(array.flatten())
    if pa.types.is_map(found):
        first, last = (array.offsets[end].as_py() for end in (0, -1))  # of this slice; keys and items are of all rows
        members = (array.keys.slice(first, last - first), array.items.slice(first, last - first))
        return _PUNCTUATION * len(array) + sum(array_weight(member) for member in members)
    if pa.types.is_dictionary(found):
        # Not its nbytes: those are of the whole dictionary, whichever rows these are.
        if pa.types.is_primitive(found.value_type):
            return array_weight(array.dictionary_decode())
        lengths = pc.binary_length(array.dictionary.cast(pa.large_binary()))
        return _PUNCTUATION * len(array) + (pc.sum(lengths.take(array.indices)).as_py() or 0)
    return max(int(array.nbytes), _PUNCTUATION * len(array))
