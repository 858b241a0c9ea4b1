"""Parquet page headers: how many rows of a row group can be decoded at once without running out of memory.

The footer only knows sums. A dictionary of one long value, or a stretch of long values among short ones, makes a few
megabytes of file into gigabytes of rows; the headers of the pages, read here without decoding any, tell where.
Source: the Apache Parquet format's `parquet.thrift` (PageHeader) and Thrift's compact protocol.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import pyarrow as pa

from loader.errors import FileRefused
from loader.footer import Chunk, RowGroup
from loader.thrift import I32, CorruptError, struct, struct_of

# Rows whose values come from a dictionary may take so many bytes together; normal ones never come near.
_EXPANDED_BYTES = 16 << 20
_HEADER_BYTES = 1 << 10
_MAX_HEADER_BYTES = 16 << 20  # statistics hold whole values
_DICTIONARY_ENCODINGS = (2, 8)  # PLAIN_DICTIONARY, RLE_DICTIONARY
# Here a value repeats the start of the one before it; how much of it, no header says. Events repeat little.
_DELTA_BYTE_ARRAY, _DELTA_FACTOR = 7, 8
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_HEADER_OF_PAGE = {_DATA_PAGE: 5, _DICTIONARY_PAGE: 7, _DATA_PAGE_V2: 8}  # page type -> field with its own header
_HEADER = {
    **dict.fromkeys((1, 2, 3), I32),  # type, size, compressed size
    **dict.fromkeys((5, 7), struct_of({1: I32, 2: I32})),  # number of values, encoding
    8: struct_of({1: I32, 4: I32}),
}
_LENGTH_BYTES = 4
_BYTE_ARRAY = 6  # physical type
_CODECS = {1: "snappy", 2: "gzip", 4: "brotli", 6: "zstd", 7: "lz4_raw"}  # those that pyarrow knows by a name


class Page(NamedTuple):
    """A page of a column chunk: what its header says, and where its (compressed) content is."""

    is_dictionary: bool
    encoding: int
    values: int
    size: int
    start: int
    compressed_size: int


def batch_rows(file: BinaryIO, row_group: RowGroup, *, block_bytes: int, max_page_bytes: int) -> int:
    """Return how many rows of `row_group` make about `block_bytes` where they are largest.

    Raises:
        FileRefused: a page is over `max_page_bytes` once decompressed, or is no page at all.
    """
    place = file.tell()  # which says how far the file was read
    dense = 1.0  # bytes of a row, by the largest pages
    expanded = 1  # bytes of a row, by the longest value that a page can repeat
    for chunk in row_group.chunks:
        longest = 0
        path = chunk.column.path
        dense += len(path) * path.count(".")  # In a struct each row repeats the names that lead to a value.
        densest = chunk.size / max(1, row_group.rows)
        for page in _pages(file, chunk):
            if (size := max(page.size, page.compressed_size)) > max_page_bytes:
                message = f"column {path} has a page of {size} bytes; the limit is {max_page_bytes}"
                raise FileRefused("page_too_large", message)
            # pyarrow makes room for as many values as the header says. Each of a dictionary takes a byte at least.
            if page.values > (page.size if page.is_dictionary else chunk.values):
                raise FileRefused("corrupt", f"column {path}: a page says that it has {page.values} values")
            if page.is_dictionary:
                longest = _longest(file, page, chunk)
            elif page.encoding == _DELTA_BYTE_ARRAY:
                densest = max(densest, _DELTA_FACTOR * page.size / max(1, page.values))
            elif page.encoding not in _DICTIONARY_ENCODINGS:
                densest = max(densest, page.size / max(1, page.values))
        dense += densest
        expanded += longest
    file.seek(place)
    return max(1, min(int(block_bytes / dense), _EXPANDED_BYTES // expanded))


def _pages(file: BinaryIO, chunk: Chunk) -> Iterator[Page]:
    """Yield the pages of a column chunk, in order."""
    start = chunk.start
    while start < chunk.end:
        page = _page(file, start, chunk.column.path)
        yield page
        start = page.start + page.compressed_size


def _page(file: BinaryIO, start: int, column: str) -> Page:
    length = _HEADER_BYTES
    while True:
        file.seek(start)
        head = file.read(length)
        try:
            return _parsed(head, start)
        except IndexError:  # The header goes on behind what was read.
            if len(head) < length or length >= _MAX_HEADER_BYTES:
                raise FileRefused("corrupt", f"column {column}: a page's header is cut off") from None
            length = min(length * 16, _MAX_HEADER_BYTES)
        except (CorruptError, KeyError) as error:
            raise FileRefused("corrupt", f"column {column}: no page at byte {start}") from error


def _parsed(head: bytes, start: int) -> Page:
    fields, used = struct(head, 0, _HEADER)
    kind, size, compressed = (fields[field] for field in (1, 2, 3))
    own = fields.get(_HEADER_OF_PAGE.get(kind, 0), {})
    values, encoding = own.get(1, 0), own.get(4 if kind == _DATA_PAGE_V2 else 2, 0)
    if min(size, compressed, values) < 0:  # A walk would never end.
        raise CorruptError("a negative size")
    return Page(kind == _DICTIONARY_PAGE, encoding, values, size, start + used, compressed)


def _longest(file: BinaryIO, page: Page, chunk: Chunk) -> int:
    """Return the length of the longest value in a dictionary page: byte arrays, each behind its length."""
    if chunk.column.type != _BYTE_ARRAY:
        return 0
    file.seek(page.start)
    content = file.read(page.compressed_size)
    if chunk.codec:
        try:
            content = pa.Codec(_CODECS[chunk.codec]).decompress(content, page.size, asbytes=True)
        except (pa.ArrowException, OSError, ValueError, KeyError):
            return page.size  # Whoever decodes it will say what is wrong.
    longest = position = 0
    while position < len(content):
        length = int.from_bytes(content[position : position + _LENGTH_BYTES], "little")
        longest = max(longest, length)
        position += _LENGTH_BYTES + length
    return min(longest, page.size)
