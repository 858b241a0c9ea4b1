"""Page headers of Parquet, byte by byte: what they say of the rows that can be decoded at once."""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import pyarrow as pa
import pytest

from loader import pages
from loader.errors import FileRefused
from loader.footer import Chunk, Leaf, RowGroup
from tests.thrift import (
    BINARY,
    BYTE,
    DOUBLE,
    FALSE,
    I16,
    I32,
    I64,
    LIST,
    MAP,
    SET,
    STRUCT,
    TRUE,
    Typed,
    array,
    binary,
    i32,
    struct,
    varint,
    zigzag,
)

MEGABYTE = 1 << 20
EXPANDED = 16 * MEGABYTE  # what values out of dictionaries may take together
PLAIN, PLAIN_DICTIONARY, DELTA_BYTE_ARRAY, RLE_DICTIONARY = 0, 2, 7, 8
BYTE_ARRAY, FIXED_LEN_BYTE_ARRAY = 6, 7


def data_page(
    size: int, values: int, encoding: int = PLAIN, *, compressed: int = 0, extra: dict[int, Typed] | None = None
) -> bytes:
    own = struct({1: i32(values), 2: i32(encoding), 3: i32(3), 4: i32(3)})
    fields = {1: i32(0), 2: i32(size), 3: i32(compressed), 5: own} | (extra or {})
    return struct(fields).value + bytes(compressed)


def data_page_v2(size: int, values: int, encoding: int = PLAIN) -> bytes:
    own = struct({1: i32(values), 2: i32(7), 3: i32(8), 4: i32(encoding), 5: i32(0), 6: i32(0), 7: Typed(TRUE, b"")})
    return struct({1: i32(3), 2: i32(size), 3: i32(0), 8: own}).value


def dictionary_page(content: bytes, *, size: int | None = None) -> bytes:
    own = struct({1: i32(min(1, len(content))), 2: i32(PLAIN)})
    fields = {1: i32(2), 2: i32(len(content) if size is None else size), 3: i32(len(content)), 7: own}
    return struct(fields).value + content


def byte_arrays(*lengths: int) -> bytes:
    return b"".join(length.to_bytes(4, "little") + bytes(length) for length in lengths)


# --- Files -----------------------------------------------------------------------------------------------------------


class Column(NamedTuple):
    """A column chunk: its pages, and what the footer says of it."""

    pages: bytes
    path: str = "c"
    total: int = 0
    physical_type: int = BYTE_ARRAY
    codec: int = 0
    values: int = 100


START = 100  # where the first column begins


def rows_at_once(
    *columns: Column | bytes, rows: int = 1, block_bytes: int = MEGABYTE, max_page_bytes: int = 4 * MEGABYTE
) -> int:
    content, chunks = bytes(START), []
    for column in (Column(it) if isinstance(it, bytes) else it for it in columns):
        start, content = len(content), content + column.pages
        leaf = Leaf(column.path, column.physical_type)
        chunks.append(Chunk(leaf, column.codec, start, len(content), column.total, column.values))
    group = RowGroup(rows, chunks)
    return pages.batch_rows(io.BytesIO(content), group, block_bytes=block_bytes, max_page_bytes=max_page_bytes)


def with_dictionary(content: bytes, *rest: bytes, **described: Any) -> Column:
    page = dictionary_page(content, size=described.pop("size", None))
    return Column(page + b"".join(rest), **described)


@pytest.mark.parametrize(
    ("columns", "bytes_of_a_row"),
    [
        ([data_page(999, 1)], 1000),
        ([data_page_v2(999, 1)], 1000),
        ([data_page(9990, 10)], 1000),
        ([data_page(99, 1) + data_page(999, 1) + data_page(9, 1)], 1000),
        ([data_page(499, 1), data_page(500, 1)], 1000),
        ([data_page_v2(99, 1) + data_page(999, 1)], 1000),
        ([data_page(999, 0)], 1000),
        ([data_page(99, 1, compressed=50) + data_page(999, 1, compressed=7)], 1000),
        ([Column(data_page(1, 1), total=999)], 1000),
        ([Column(data_page(1, 1), path="ab.c.d")], 1 + 6 * 2 + 1),
        ([Column(data_page(1, 1), path="abcdef")], 2),
        # Values out of a dictionary count by the footer's sum.
        ([Column(data_page(9999, 1, PLAIN_DICTIONARY), total=999)], 1000),
        ([Column(data_page_v2(9999, 1, RLE_DICTIONARY), total=999)], 1000),
        # Each value may repeat the one before it.
        ([data_page(9990, 80, DELTA_BYTE_ARRAY)], 1000),
        ([data_page_v2(9990, 80, DELTA_BYTE_ARRAY)], 1000),
        ([data_page(999, 0, DELTA_BYTE_ARRAY)], 1 + 8 * 999),
        ([data_page(9990, 80, DELTA_BYTE_ARRAY) + data_page(99, 1)], 1000),
        ([data_page(999, 1) + data_page(8, 8, DELTA_BYTE_ARRAY)], 1000),
        # A page of an index, and one that nobody knows.
        ([struct({1: i32(1), 2: i32(999), 3: i32(0), 6: struct({})}).value], 1000),
        ([struct({1: i32(99), 2: i32(999), 3: i32(0)}).value], 1000),
    ],
)
def test_the_largest_page_tells_how_large_rows_are(columns: list[Column | bytes], bytes_of_a_row: int) -> None:
    assert rows_at_once(*columns) == MEGABYTE // bytes_of_a_row
    assert rows_at_once(*columns, block_bytes=77_777) == 77_777 // bytes_of_a_row


@pytest.mark.parametrize(("rows", "total"), [(10, 9990), (1, 999), (0, 999)])
def test_the_footers_sum_is_shared_by_all_rows(rows: int, total: int) -> None:
    assert rows_at_once(Column(data_page(1, 1), total=total), rows=rows) == MEGABYTE // 1000


@pytest.mark.parametrize(
    ("columns", "longest"),
    [
        ([with_dictionary(byte_arrays(5000))], 5000),
        ([with_dictionary(byte_arrays(10, 5000, 0, 70))], 5000),
        ([with_dictionary(byte_arrays(5000, 10))], 5000),
        ([with_dictionary(byte_arrays(10, 5000), data_page(1, 1, RLE_DICTIONARY))], 5000),
        ([with_dictionary(byte_arrays(4000)), with_dictionary(byte_arrays(1000))], 5000),
        ([with_dictionary(byte_arrays(5000)), data_page(1, 1)], 5000),
        # Longer than the page: no more than the page can be true.
        ([with_dictionary((9999).to_bytes(4, "little") + bytes(4996))], 5000),
        ([with_dictionary(byte_arrays(5000), physical_type=FIXED_LEN_BYTE_ARRAY)], 0),
        ([with_dictionary(b"", data_page(1, 1))], 0),
        *(
            ([with_dictionary(pa.compress(byte_arrays(5000), codec, asbytes=True), size=5004, codec=number)], 5000)
            for codec, number in {
                "snappy": 1,
                "gzip": 2,
                "zstd": 6,
                "brotli": 4,
                "lz4_raw": 7,
            }.items()
        ),
        # What can't be decompressed counts whole.
        ([with_dictionary(b"\xff" * 60, size=5000, codec=6)], 5000),
        ([with_dictionary(b"\xff" * 60, size=5000, codec=3)], 5000),
    ],
)
def test_the_longest_value_of_a_dictionary_may_stand_in_each_row(columns: list[Column | bytes], longest: int) -> None:
    assert rows_at_once(*columns, block_bytes=1 << 40) == EXPANDED // (1 + longest)


def test_there_is_always_room_for_one_row() -> None:
    assert rows_at_once(data_page(3 * MEGABYTE, 1)) == 1
    assert rows_at_once(with_dictionary(byte_arrays(17 * MEGABYTE)), max_page_bytes=1 << 30) == 1


def test_a_column_without_a_page_takes_what_the_footer_says() -> None:
    assert rows_at_once(Column(b"", total=999)) == MEGABYTE // 1000


def test_a_page_may_be_as_large_as_the_limit_and_no_larger() -> None:
    assert rows_at_once(data_page(1000, 1), max_page_bytes=1000) > 0
    with pytest.raises(FileRefused, match="column c has a page of 1001 bytes; the limit is 1000") as refused:
        rows_at_once(data_page(10, 1) + data_page(1001, 1), max_page_bytes=1000)
    assert refused.value.code == "page_too_large"


@pytest.mark.parametrize(
    "column",
    [
        Column(data_page(9, 101)),
        Column(data_page_v2(9, 101)),
        Column(data_page(9, 100) + data_page(9, 101)),
        Column(struct({1: i32(2), 2: i32(9), 3: i32(0), 7: struct({1: i32(10), 2: i32(PLAIN)})}).value),
    ],
)
def test_a_page_of_more_values_than_there_can_be_refuses_the_file(column: Column) -> None:
    with pytest.raises(FileRefused, match="a page says that it has 10") as refused:
        rows_at_once(column)
    assert refused.value.code == "corrupt"


def test_the_position_in_the_file_stays_what_it_was() -> None:
    file = io.BytesIO(data_page(1, 1))
    column = Chunk(Leaf("c", BYTE_ARRAY), 0, 0, len(file.getvalue()), 1, 1)
    file.seek(7)
    group = RowGroup(1, [column])
    pages.batch_rows(file, group, block_bytes=MEGABYTE, max_page_bytes=MEGABYTE)
    assert file.tell() == 7


# --- What a header may hold ------------------------------------------------------------------------------------------

FLAG = struct({1: Typed(TRUE, b""), 2: Typed(FALSE, b""), 3: i32(1)})
OTHER_FIELDS = {
    "a boolean": Typed(TRUE, b""),
    "a byte": Typed(BYTE, b"\xff"),
    "a double": Typed(DOUBLE, b"\xff" * 8),
    "a short number": Typed(I16, zigzag(-300)),
    "a long number": Typed(I64, zigzag(-(2**63))),
    "no text": binary(b""),
    "a text": binary(b"\xff" * 300),
    "an empty list": array(I32),
    "a list of numbers": array(I32, *[zigzag(n) for n in (1, 200, -70_000)]),
    "a list of 14": array(I32, *[zigzag(n) for n in range(14)]),
    "a list of 15": array(I32, *[zigzag(n) for n in range(15)]),
    "a list of 300": array(I32, *[zigzag(n) for n in range(300)]),
    "a list of true": array(TRUE, b"\x01", b"\x02"),
    "a list of false": array(FALSE, b"\x02", b"\x02"),
    "a list of bytes": array(BYTE, b"\xff", b"\xff"),
    "a list of doubles": array(DOUBLE, b"\xff" * 8, b"\xff" * 8),
    "a list of texts": array(BINARY, *[binary(b"\xff" * n).value for n in (0, 1, 200)]),
    "a list of structs": array(STRUCT, FLAG.value, struct({}).value),
    "a list of lists": array(LIST, array(I32, b"\x02").value, array(BYTE).value),
    "a set": array(I32, b"\x02", held_as=SET),
    "a struct": FLAG,
    "a struct in a struct": struct({1: FLAG, 20: FLAG, 3: i32(5)}),
    "a struct with ids in full": struct({1: i32(5), 3: binary(b"\xff")}, far=True),
}


@pytest.mark.parametrize("field", OTHER_FIELDS.values(), ids=OTHER_FIELDS)
def test_other_fields_of_a_header_are_passed_over(field: Typed) -> None:
    page = data_page(9, 1, extra={6: field, 40: field, 41: field})
    assert rows_at_once(page + data_page(999, 1)) == MEGABYTE // 1000
    assert rows_at_once(data_page(999, 1, extra={6: field})) == MEGABYTE // 1000


@pytest.mark.parametrize("length", [900, 1_000, 1_100, 20_000, 300_000, 5_000_000])
def test_a_header_may_be_long(length: int) -> None:
    page = data_page(9, 1, extra={6: binary(b"\xff" * length)})
    assert rows_at_once(page + data_page(999, 1)) == MEGABYTE // 1000


def nested_structs(levels: int) -> Typed:
    inner = struct({})
    for _ in range(levels - 1):
        inner = struct({1: inner})
    return inner


def test_a_header_may_have_sixteen_levels_below_its_own() -> None:
    assert rows_at_once(data_page(999, 1, extra={6: nested_structs(16)})) == MEGABYTE // 1000


NO_PAGES = {
    "seventeen levels": data_page(9, 1, extra={6: nested_structs(17)}),
    "lists in lists without end": data_page(9, 1, extra={6: Typed(LIST, b"\x1c" + b"\x19\x1c" * 99)}),
    "a map": data_page(9, 1, extra={6: Typed(MAP, b"\0")}),
    "an unknown type": data_page(9, 1, extra={6: Typed(13, b"\0")}),
    "a negative size": data_page(-1, 1),
    "a negative compressed size": struct({1: i32(0), 2: i32(9), 3: i32(-1)}).value,
    "a number without end": b"\x15" + b"\x80" * 10 + b"\0",
    "no type": struct({2: i32(9), 3: i32(0)}).value,
    "no size": struct({1: i32(0), 3: i32(0)}).value,
    "no compressed size": struct({1: i32(0), 2: i32(9)}).value,
    "a size that is no number": struct({1: i32(0), 2: binary(b"9"), 3: i32(0)}).value,
    "a type that is a struct": struct({1: struct({}), 2: i32(9), 3: i32(0)}).value,
    "a number where a struct is to be": struct({1: i32(0), 2: i32(9), 3: i32(0), 5: i32(1)}).value,
    "a count of values that is no number": data_page(9, 1, extra={5: struct({1: binary(b"1"), 2: i32(PLAIN)})}),
    "an encoding that is no number": data_page(9, 1, extra={5: struct({1: i32(1), 2: struct({})})}),
    "an empty header": b"\0",
}


@pytest.mark.parametrize("content", NO_PAGES.values(), ids=NO_PAGES)
def test_what_is_no_page_header_refuses_the_file(content: bytes) -> None:
    with pytest.raises(FileRefused, match=f"column c: no page at byte {START}") as refused:
        rows_at_once(content)
    assert refused.value.code == "corrupt"


@pytest.mark.parametrize("length", [1, 5, 10])
def test_a_header_that_is_cut_off_refuses_the_file(length: int) -> None:
    with pytest.raises(FileRefused, match="column c: a page's header is cut off") as refused:
        rows_at_once(data_page(9, 1)[:length])
    assert refused.value.code == "corrupt"


def test_a_header_that_ends_inside_a_text_is_cut_off() -> None:
    head = data_page(9, 1, extra={6: binary(b"\xff" * 50)})
    with pytest.raises(FileRefused, match="cut off"):
        rows_at_once(head[:-2])


class Endless(io.BytesIO):
    """A file with a header whose text goes on and on."""

    most = 0

    def read(self, size: int | None = -1, /) -> bytes:
        assert size is not None
        self.most = max(self.most, size)
        return (b"\x15\0\x15\x02\x15\0\x38" + varint(1 << 40)).ljust(size, b"x")


def test_a_header_without_end_refuses_the_file_before_it_fills_memory() -> None:
    file = Endless()
    group = RowGroup(1, [Chunk(Leaf("c", BYTE_ARRAY), 0, 0, 1 << 40, 1, 1)])
    with pytest.raises(FileRefused, match="cut off"):
        pages.batch_rows(file, group, block_bytes=MEGABYTE, max_page_bytes=MEGABYTE)
    assert 16 * MEGABYTE <= file.most <= 64 * MEGABYTE


@pytest.mark.parametrize(
    "field",
    [
        pytest.param(Typed(LIST, b"\x19" * 5000), id="lists in lists"),
        pytest.param(Typed(LIST, b"\xf3" + varint(10**12)), id="bytes"),
        pytest.param(Typed(LIST, b"\xf7" + varint(10**12)), id="doubles"),
        pytest.param(Typed(LIST, b"\xf1" + varint(10**12)), id="booleans"),
    ],
)
def test_a_list_that_can_not_be_there_refuses_the_file(field: Typed) -> None:
    with pytest.raises(FileRefused) as refused:
        rows_at_once(data_page(9, 1, extra={6: field}))
    assert refused.value.code == "corrupt"
