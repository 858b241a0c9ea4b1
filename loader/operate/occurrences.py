r"""In which rows of a file does an event_id stand? However large the file is, a block of it is held.

Lines are searched as bytes, which costs little; only those that hold the id in either case, or an escape (`\u0033`)
that could spell a character of it, are decoded, to be sure that it is the value of the field `event_id`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import FileIO
from typing import Any, BinaryIO, cast
from uuid import UUID

import msgspec
import pyarrow as pa

from loader import pages
from loader.batches import checked
from loader.compression import check_name, decompressed
from loader.contract import KEY
from loader.errors import FileRefused
from loader.landing import Format, LandingFile
from loader.lines import chunks

_BLOCK_BYTES = 4 << 20
_MAX_BATCH_ROWS = 32_768
_PAGE_FACTOR = 4
# JSON's escapes of hexadecimal digits and of the hyphen.
_SPELLED = re.compile(rb"\\u00(?:3[0-9]|4[1-6]|6[1-6]|2[dD])")


class _Row(msgspec.Struct):
    event_id: str


_decoder = msgspec.json.Decoder(_Row)


def rows_with(event_id: UUID, handle: FileIO, file: LandingFile, *, max_line_bytes: int) -> Iterator[int]:
    """Yield the numbers of lines, or of rows of Parquet, whose event_id is this one.

    Raises:
        FileProblem: the file can't be read, or isn't what its name says.
    """
    check_name(handle, file)
    if file.format is Format.PARQUET:
        yield from _in_parquet(event_id, cast("BinaryIO", handle), max_page_bytes=_PAGE_FACTOR * max_line_bytes)
        return
    line = 1
    with decompressed(handle, file.compression) as stream:
        for chunk in chunks(stream, size=_BLOCK_BYTES, max_line_bytes=max_line_bytes):
            if chunk.over_limit:
                line += 1  # rejected, whatever is in it
                continue
            yield from (line + place for place, text in candidates(chunk.data, event_id) if is_of(text, event_id))
            line += chunk.data.count(b"\n")


def candidates(data: bytes, event_id: UUID) -> Iterator[tuple[int, bytes]]:
    """Yield those of the lines in `data` that may have this event_id, each with its number, counted from 0."""
    needle = str(event_id).encode()
    lowered = data.lower()
    starts = {*_line_starts(data, lambda place: lowered.find(needle, place))}
    if b"\\u00" in data:
        starts |= {*_line_starts(data, lambda place: _start(_SPELLED.search(data, place)))}
    line = counted = 0
    for start in sorted(starts):
        line += data.count(b"\n", counted, start)
        counted = start
        end = data.find(b"\n", start)
        yield line, data[start : end if end >= 0 else len(data)]


def is_of(text: bytes, event_id: UUID) -> bool | None:
    """Say whether the JSON object `text` has this event_id; None where it is no JSON."""
    try:
        return _decoder.decode(text).event_id.lower() == str(event_id)
    except msgspec.ValidationError:
        return False
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _line_starts(data: bytes, find: Callable[[int], int]) -> Iterator[int]:
    """Yield where the lines begin in which `find` finds something; each line is searched up to its first hit only."""
    place = 0
    while (hit := find(place)) >= 0:
        yield max(place, data.rfind(b"\n", place, hit) + 1)
        place = data.find(b"\n", hit) + 1
        if not place:
            return


def _start(match: re.Match[bytes] | None) -> int:
    return -1 if match is None else match.start()


def _in_parquet(event_id: UUID, file: BinaryIO, *, max_page_bytes: int) -> Iterator[int]:
    row = 1
    try:
        with checked(file) as (parquet, row_groups):
            for number, group in enumerate(row_groups):
                if group.rows == 0:
                    continue
                only = group._replace(chunks=[chunk for chunk in group.chunks if chunk.column.path == KEY])
                rows = pages.batch_rows(file, only, block_bytes=_BLOCK_BYTES, max_page_bytes=max_page_bytes)
                read = parquet.iter_batches(
                    min(rows, _MAX_BATCH_ROWS), row_groups=[number], columns=[KEY], use_threads=False
                )
                for batch in read:
                    yield from (row + place for place in _places(batch.column(KEY), event_id))
                    row += batch.num_rows
    except (pa.ArrowException, OSError, KeyError, UnicodeDecodeError) as error:
        raise FileRefused("corrupt", f"not a readable Parquet file of events: {error}") from error


def _places(array: Any, event_id: UUID) -> Iterator[int]:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    text, sixteen = str(event_id).encode(), event_id.bytes
    for place, value in enumerate(array.cast(pa.large_binary()).to_pylist()):
        if value is not None and (value == sixteen or value.lower() == text):
            yield place
