"""Parquet page headers: how many rows of a row group can be decoded at once without running out of memory.

The footer only knows sums. A dictionary of one long value, or a stretch of long values among short ones, makes a few
megabytes of file into gigabytes of rows; the headers of the pages, read here without decoding any, tell where.
Source: the Apache Parquet format's `parquet.thrift` (PageHeader) and Thrift's compact protocol.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa

from loader.errors import FileRefused

# Rows whose values come from a dictionary may take so many bytes together; normal ones never come near.
_EXPANDED_BYTES = 16 << 20
_HEADER_BYTES = 1 << 10
_MAX_HEADER_BYTES = 16 << 20  # statistics hold whole values
_DICTIONARY_ENCODINGS = (2, 8)  # PLAIN_DICTIONARY, RLE_DICTIONARY
# Here a value repeats the start of the one before it; how much of it, no header says. Events repeat little.
_DELTA_BYTE_ARRAY, _DELTA_FACTOR = 7, 8
_DATA_PAGE, _DICTIONARY_PAGE, _DATA_PAGE_V2 = 0, 2, 3
_HEADER_OF_PAGE = {
    _DATA_PAGE: 5,
    _DICTIONARY_PAGE: 7,
    _DATA_PAGE_V2: 8,
}  # page type -> field of PageHeader with its own header
_LENGTH_BYTES = 4
_MAX_DEPTH = 16  # a page header has three levels, a footer some more
_ENCRYPTION_ALGORITHM = 8  # field of FileMetaData
_CODECS = {"LZ4": "lz4_raw"}  # the footer's word, and pyarrow's where they differ


class Page(NamedTuple):
    """A page of a column chunk: what its header says, and where its (compressed) content is."""

    is_dictionary: bool
    encoding: int
    values: int
    size: int
    start: int
    compressed_size: int


class _CorruptError(ValueError):
    """Raised where bytes are no page header."""


def batch_rows(file: BinaryIO, row_group: Any, *, block_bytes: int, max_page_bytes: int) -> int:
    """Return how many rows of `row_group` (its footer metadata) make about `block_bytes` where they are largest.

    Raises:
        FileRefused: a page is over `max_page_bytes` once decompressed, or is no page at all.
    """
    place = file.tell()  # which says how far the file was read
    dense = 1.0  # bytes of a row, by the largest pages
    expanded = 1  # bytes of a row, by the longest value that a page can repeat
    for number in range(row_group.num_columns):
        column = row_group.column(number)
        longest = 0
        # In a struct each row repeats the names that lead to a value.
        dense += len(column.path_in_schema) * column.path_in_schema.count(".")
        densest = column.total_uncompressed_size / max(1, row_group.num_rows)
        for page in _pages(file, column):
            if page.size > max_page_bytes:
                raise FileRefused(
                    "page_too_large",
                    f"column {column.path_in_schema} has a page of {page.size} bytes; the limit is {max_page_bytes}",
                )
            if page.is_dictionary:
                longest = _longest(file, page, column)
            elif page.encoding == _DELTA_BYTE_ARRAY:
                densest = max(densest, _DELTA_FACTOR * page.size / max(1, page.values))
            elif page.encoding not in _DICTIONARY_ENCODINGS:
                densest = max(densest, page.size / max(1, page.values))
        dense += densest
        expanded += longest
    file.seek(place)
    return max(1, min(int(block_bytes / dense), _EXPANDED_BYTES // expanded))


def refuse_encrypted(file: BinaryIO) -> None:
    """Raise FileRefused where columns are encrypted: pyarrow ends the process when it is asked about one."""
    place = file.tell()
    length = int.from_bytes(_tail(file, 8)[:4], "little")
    try:
        footer, _ = _struct(_tail(file, 8 + length), 0)
    except (IndexError, _CorruptError) as error:
        raise FileRefused("corrupt", "the footer can't be read") from error
    file.seek(place)
    if _ENCRYPTION_ALGORITHM in footer:
        raise FileRefused("corrupt", "columns are encrypted")


def _tail(file: BinaryIO, length: int) -> bytes:
    file.seek(-length, os.SEEK_END)
    return file.read(length)


def _pages(file: BinaryIO, column: Any) -> Iterator[Page]:
    """Yield the pages of a column chunk, in order."""
    start = column.data_page_offset
    if column.has_dictionary_page and column.dictionary_page_offset:
        start = min(start, column.dictionary_page_offset)
    end = start + column.total_compressed_size
    while start < end:
        page = _page(file, start, column.path_in_schema)
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
        except (_CorruptError, KeyError) as error:
            raise FileRefused("corrupt", f"column {column}: no page at byte {start}") from error


def _parsed(head: bytes, start: int) -> Page:
    fields, used = _struct(head, 0)
    kind, size, compressed = (_number(fields[field]) for field in (1, 2, 3))
    if min(size, compressed) < 0:  # or a walk would never end
        raise _CorruptError
    own = fields.get(_HEADER_OF_PAGE.get(kind, 0), {})
    if not isinstance(own, dict):
        raise _CorruptError
    values, encoding = _number(own.get(1, 0)), _number(own.get(4 if kind == _DATA_PAGE_V2 else 2, 0))
    return Page(kind == _DICTIONARY_PAGE, encoding, values, size, start + used, compressed)


def _number(value: object) -> int:
    """Return a field that is to be a number: a damaged header may say that it is of any type."""
    if not isinstance(value, int):
        raise _CorruptError
    return value


def _longest(file: BinaryIO, page: Page, column: Any) -> int:
    """Return the length of the longest value in a dictionary page: byte arrays, each behind its length."""
    if column.physical_type != "BYTE_ARRAY":
        return 0
    file.seek(page.start)
    content = file.read(page.compressed_size)
    if column.compression != "UNCOMPRESSED":
        try:
            content = pa.Codec(_CODECS.get(column.compression, column.compression.lower())).decompress(
                content, page.size, asbytes=True
            )
        except (pa.ArrowException, OSError, ValueError):
            return page.size  # Whoever decodes it will say what is wrong.
    longest = position = 0
    while position < len(content):
        length = int.from_bytes(content[position : position + _LENGTH_BYTES], "little")
        longest = max(longest, length)
        position += _LENGTH_BYTES + length
    return min(longest, page.size)


def _struct(data: bytes, position: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Read a struct of Thrift's compact protocol; return its fields by id, and the position after it.

    Raises:
        IndexError: it goes on behind the end of `data`.
        _CorruptError: it is none.
    """
    if depth > _MAX_DEPTH:
        raise _CorruptError
    fields: dict[int, Any] = {}
    field = 0
    while head := data[position]:
        position += 1
        kind = head & 0x0F
        if head >> 4:
            field += head >> 4
        else:
            value, position = _varint(data, position)
            field = _zigzag(value)
        fields[field], position = _value(data, position, kind, depth)
    return fields, position + 1


def _value(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    match kind:
        case 1 | 2:  # true, false
            return kind == 1, position
        case 3 | 7:  # byte, double
            position += 1 if kind == 3 else 8  # noqa: PLR2004
            data[position - 1]  # IndexError where it is cut off
            return None, position
        case 4 | 5 | 6:  # i16, i32, i64
            value, position = _varint(data, position)
            return _zigzag(value), position
        case 8:  # binary
            length, position = _varint(data, position)
            if length:
                data[position + length - 1]  # IndexError where it is cut off
            return None, position + length
        case 9 | 10:  # list, set
            return _list(data, position, depth)
        case 12:
            return _struct(data, position, depth + 1)
        case _:  # Parquet knows no other type.
            raise _CorruptError


def _list(data: bytes, position: int, depth: int) -> tuple[None, int]:
    """Go past a list; none is of interest. However long it says it is, each element takes a byte of `data` at least."""
    if depth > _MAX_DEPTH:
        raise _CorruptError
    length, kind = data[position] >> 4, data[position] & 0x0F
    position += 1
    if length == 15:  # noqa: PLR2004 # longer ones have their length behind
        length, position = _varint(data, position)
    for _ in range(length):
        # In a list a boolean takes a byte, as in a field it does not.
        _, position = _value(data, position, 3 if kind in (1, 2) else kind, depth + 1)
    return None, position


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:  # noqa: PLR2004
            return value, position
        shift += 7
        if shift > 63:  # noqa: PLR2004 # longer than any integer of Thrift
            raise _CorruptError


def _zigzag(value: int) -> int:
    return (value >> 1) ^ -(value & 1)
