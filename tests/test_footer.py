"""The footer of a Parquet file, byte by byte: what is told of it, and what refuses the file."""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loader import footer
from loader.errors import FileRefused
from tests.thrift import BINARY, BYTE, I32, LIST, STRUCT, Typed, array, binary, i32, i64, struct, varint

BYTE_ARRAY, INT64 = 6, 2
DATA = 1000  # bytes before the footer, the magic number among them


def root(children: int) -> bytes:
    return struct({4: binary(b"schema"), 5: i32(children)}).value


def leaf(name: bytes = b"c", kind: int = BYTE_ARRAY) -> bytes:
    return struct({1: i32(kind), 4: binary(name)}).value


def column(**changes: Any) -> bytes:
    said: dict[str, Any] = {"type": BYTE_ARRAY, "codec": 0, "values": 5, "size": 90, "length": 80, "start": 4}
    said |= changes
    meta = {1: i32(said["type"]), 4: i32(said["codec"]), 5: i64(said["values"]), 6: i64(said["size"])}
    meta |= {7: i64(said["length"]), 9: i64(said["start"])}
    if "dictionary" in said:
        meta[11] = i64(said["dictionary"])
    return struct({2: i64(0), 3: struct(meta)} | said.get("more", {})).value


def group(*columns: bytes, rows: int = 5) -> bytes:
    return struct({1: array(STRUCT, *columns), 2: i64(90), 3: i64(rows)}).value


def fields(*groups: bytes, schema: tuple[bytes, ...] = (root(1), leaf()), rows: int = 5) -> dict[int, Typed]:
    return {1: i32(2), 2: array(STRUCT, *schema), 3: i64(rows), 4: array(STRUCT, *groups)}


def file(said: dict[int, Typed] | bytes) -> io.BytesIO:
    content = said if isinstance(said, bytes) else struct(said).value
    return io.BytesIO(b"PAR1".ljust(DATA, b"\0") + content + len(content).to_bytes(4, "little") + b"PAR1")


def test_the_footer_tells_where_the_columns_lie() -> None:
    written = io.BytesIO()
    table = pa.table({"a": ["x", "y", "z"], "b": [{"c": 1, "d": {"e": "v"}}] * 3})
    pq.write_table(table, written, row_group_size=2, compression="zstd")
    written.seek(7)
    found = footer.row_groups(written)
    assert written.tell() == 7
    metadata = pq.ParquetFile(written).metadata
    assert [one.rows for one in found] == [2, 1]
    for number, one in enumerate(found):
        assert [chunk.column.path for chunk in one.chunks] == ["a", "b.c", "b.d.e"]
        for place, chunk in enumerate(one.chunks):
            told = metadata.row_group(number).column(place)
            assert chunk.start == told.dictionary_page_offset
            assert chunk.end - chunk.start == told.total_compressed_size
            assert (chunk.size, chunk.values, chunk.codec) == (told.total_uncompressed_size, told.num_values, 6)


GOOD = fields(group(column()))
REFUSED: dict[str, dict[int, Typed] | bytes] = {
    "no schema": {number: field for number, field in GOOD.items() if number != 2},
    "no row groups": {number: field for number, field in GOOD.items() if number != 4},
    "no number of rows": {number: field for number, field in GOOD.items() if number != 3},
    "another number of rows": fields(group(column()), rows=6),
    "rows less than none": fields(group(column(), rows=-1), group(column(), rows=6)),
    "a column less": fields(group()),
    "a column more": fields(group(column(), column())),
    "no column's metadata": fields(group(struct({2: i64(0)}).value)),
    "a column of another type": fields(group(column(type=INT64))),
    "a codec that there is not": fields(group(column(codec=8))),
    "a negative codec": fields(group(column(codec=-1))),
    "a negative start": fields(group(column(start=-1))),
    "a negative length": fields(group(column(length=-1))),
    "a negative size": fields(group(column(size=-1))),
    "negative values": fields(group(column(values=-1))),
    "data behind the end": fields(group(column(length=DATA - 3))),
    "a start behind the end": fields(group(column(start=1 << 62))),
    "an encrypted column": fields(group(column(more={8: struct({})}))),
    "a column's encrypted metadata": fields(group(column(more={9: binary(b"x")}))),
    "an encryption": GOOD | {8: struct({1: struct({})})},
    "a schema without its leaf": fields(group(column()), schema=(root(1),)),
    "a schema with a leaf too many": fields(group(column()), schema=(root(1), leaf(), leaf())),
    "a schema of two billion": fields(group(column()), schema=(root(2**31 - 1), leaf())),
    "a schema of less than nothing": fields(group(column()), schema=(root(-1), leaf())),
    "a schema nested without end": fields(group(column()), schema=(*[root(1)] * 5000, leaf())),
    "a name that is no text": fields(group(column()), schema=(root(1), leaf(b"\xff"))),
    "a type that there is not": fields(group(column(type=8)), schema=(root(1), leaf(kind=8))),
    "rows that are a text": GOOD | {3: binary(b"5")},
    "row groups that are numbers": GOOD | {4: array(I32, b"\x02")},
    "a number of more bits than its type": GOOD | {1: i32(2), 3: Typed(6, b"\xff" * 9 + b"\x7f")},
    "a list that can't be there": GOOD | {4: Typed(LIST, bytes([0xF0 | STRUCT]) + varint(10**12))},
    "a list of bytes that can't be there": GOOD | {5: Typed(LIST, bytes([0xF0 | BYTE]) + varint(999_999))},
    "a list of texts that can't be there": GOOD | {5: Typed(LIST, bytes([0xF0 | BINARY]) + varint(10**12))},
    "lists in lists": GOOD | {5: Typed(LIST, b"\x19" * 5000)},
    "nothing": b"",
    "a footer that is cut off": struct(GOOD).value[:-9],
}


def test_a_footer_without_a_fault_is_read() -> None:
    (found,) = footer.row_groups(file(GOOD))
    assert found == footer.RowGroup(5, (footer.Chunk(footer.Leaf("c", BYTE_ARRAY), 0, 4, 84, 90, 5),))
    (found,) = footer.row_groups(file(fields(group(column(start=40, dictionary=9)))))
    assert (found.chunks[0].start, found.chunks[0].end) == (9, 89)


@pytest.mark.parametrize("said", REFUSED.values(), ids=REFUSED)
def test_a_footer_that_is_none_or_contradicts_itself_refuses_the_file(said: dict[int, Typed] | bytes) -> None:
    with pytest.raises(FileRefused) as refused:
        footer.row_groups(file(said))
    assert refused.value.code == "corrupt"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 3, b"PAR1" + b"\xff" * 4 + b"PAR1", b"x" * 99 + b"PARE"])
def test_a_file_without_a_footer_is_refused(content: bytes) -> None:
    with pytest.raises(FileRefused) as refused:
        footer.row_groups(io.BytesIO(content))
    assert refused.value.code == "corrupt"


def test_a_row_group_without_rows_may_say_what_it_likes() -> None:
    (found,) = footer.row_groups(file(fields(group(column(start=-1), rows=0), rows=0)))
    assert found == footer.RowGroup(0, ())


@pytest.mark.parametrize(
    "said",
    [
        fields(*[group(column(), rows=0)] * 250_001, rows=0),
        fields(schema=(root(10_000), *[leaf()] * 10_000), rows=0),
        struct(GOOD | {9: binary(bytes(32 << 20))}).value,
    ],
    ids=["column chunks", "columns", "bytes"],
)
def test_a_footer_too_large_to_hold_refuses_the_file(said: dict[int, Typed] | bytes) -> None:
    with pytest.raises(FileRefused) as refused:
        footer.row_groups(file(said))
    assert refused.value.code == "footer_too_large"
