"""Row groups of Parquet cut and joined into batches that are small enough to hold."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loader.batches import array_weight, batches, weight
from loader.errors import FileRefused
from loader.footer import row_groups

MAX_ROWS = 32_768


def written(*tables: pa.Table, **options: Any) -> io.BytesIO:
    """A file with a row group for each table."""
    file = io.BytesIO()
    with pq.ParquetWriter(file, tables[0].schema, **options) as writer:
        for one in tables:
            writer.write_table(one)
    return file


def numbers(start: int, stop: int) -> pa.Table:
    return pa.table({"n": pa.array(range(start, stop), pa.int64())})


def texts(*lengths: int) -> pa.Table:
    return pa.table({"t": ["x" * length for length in lengths]})


def cut(file: io.BytesIO, block_bytes: int, max_row_bytes: int = 1 << 30) -> list[pa.RecordBatch]:
    with pq.ParquetFile(file) as parquet:
        return list(batches(file, parquet, row_groups(file), block_bytes=block_bytes, max_row_bytes=max_row_bytes))


def rows(found: list[pa.RecordBatch]) -> list[int]:
    return [batch.num_rows for batch in found]


# --- Batches ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("group", [1, 7, 100, 300])
@pytest.mark.parametrize("block_bytes", [8, 80, 790, 1 << 20])
def test_all_rows_come_in_order_in_batches_as_full_as_may_be(group: int, block_bytes: int) -> None:
    file = written(*(numbers(start, min(start + group, 300)) for start in range(0, 300, group)))
    found = cut(file, block_bytes)
    assert [number for batch in found for number in batch.column(0).to_pylist()] == list(range(300))
    assert all(batch.num_rows == 1 or 0 < weight(batch) <= block_bytes for batch in found)
    assert all(weight(one) + weight(following) > block_bytes // 2 for one, following in pairwise(found))


def test_small_row_groups_are_joined_until_they_are_as_heavy_as_a_block() -> None:
    file = written(*(numbers(start, start + 1) for start in range(40)))
    one = weight(cut(file, 1)[0])
    assert rows(cut(file, 10 * one)) == rows(cut(file, 11 * one - 1)) == [10] * 4
    assert rows(cut(file, 10 * one - 1)) == [9] * 4 + [4]


def test_a_batch_that_is_heavier_than_a_block_is_halved() -> None:
    file = written(texts(*[100] * 64))  # One value, which a dictionary holds: the file gives no hint of their weight.
    (whole,) = cut(file, 1 << 20)
    assert rows(cut(file, weight(whole))) == [64]
    assert rows(cut(file, weight(whole) - 1)) == [32] * 2
    assert rows(cut(file, weight(whole.slice(0, 32)) - 1)) == [16] * 4
    assert rows(cut(file, 1)) == [1] * 64


@pytest.mark.parametrize("group", [1000, MAX_ROWS, 100_000])
def test_no_batch_has_more_than_32768_rows(group: int) -> None:
    file = written(*(numbers(start, min(start + group, 100_000)) for start in range(0, 100_000, group)))
    found = rows(cut(file, 1 << 30))
    assert sum(found) == 100_000
    assert max(found) <= MAX_ROWS
    assert len(found) == 4


def test_row_groups_are_joined_up_to_32768_rows() -> None:
    half = numbers(0, MAX_ROWS // 2)
    assert rows(cut(written(half, half, half, half, numbers(0, 1), numbers(0, 9)), 1 << 30)) == [MAX_ROWS, MAX_ROWS, 10]


def test_a_row_over_the_limit_comes_alone() -> None:
    file = written(texts(1, 2, 5000, 3), texts(4, 6000), texts(7, 8))
    found = cut(file, 1 << 20, 4000)
    assert [[len(text) for text in batch.column(0).to_pylist()] for batch in found] == [
        *([1, 2], [5000], [3, 4], [6000], [7, 8])
    ]


def test_a_row_is_as_heavy_as_the_block_or_the_limit_whichever_is_less() -> None:
    file = written(texts(*[900] * 8))
    assert rows(cut(file, 4000, 2000)) == rows(cut(file, 2000, 4000)) == rows(cut(file, 2000, 2000))
    assert rows(cut(file, 4000, 2000)) != rows(cut(file, 4000, 4000))


def test_row_groups_without_rows_are_passed_over() -> None:
    empty = numbers(0, 0)
    file = written(empty, numbers(0, 5), empty, empty, numbers(5, 9), empty)
    assert pq.ParquetFile(file).num_row_groups == 6
    found = cut(file, 1 << 20)
    assert [batch.column(0).to_pylist() for batch in found] == [list(range(9))]
    assert cut(written(empty), 1 << 20) == []


def test_a_page_may_be_four_times_as_long_as_a_row_and_no_longer() -> None:
    file = written(texts(*[100] * 390), use_dictionary=False, compression="none")
    assert sum(rows(cut(file, 1 << 20, 10_200))) == 390
    with pytest.raises(FileRefused, match="page_too_large"):
        cut(file, 1 << 20, 10_000)


# --- Weights ---------------------------------------------------------------------------------------------------------

STRUCTS = pa.array([{"a": n, "long name": "x" * n} for n in range(64)])
MAPS = pa.array([[(f"k{i}", "x" * n) for i in range(n % 5)] for n in range(64)], pa.map_(pa.string(), pa.string()))
LISTS = [["x" * n] * (n % 4) for n in range(64)]
ARRAYS = {
    "numbers": pa.array(range(64)),
    "numbers of one byte": pa.array([7] * 64, pa.int8()),
    "booleans": pa.array([True] * 64),
    "nulls": pa.nulls(64),
    "texts": pa.array(["x" * n for n in range(64)]),
    "empty texts": pa.array([""] * 64),
    "lists": pa.array(LISTS),
    "large lists": pa.array(LISTS, pa.large_list(pa.string())),
    "lists of two": pa.array([["x" * n, "y"] for n in range(64)], pa.list_(pa.string(), 2)),
    "lists of lists": pa.array([[["x" * n], []] for n in range(64)]),
    "structs": STRUCTS,
    "structs in structs": pa.array([{"a": {"b": {"c": "x" * n}}} for n in range(64)]),
    "maps": MAPS,
    "maps of maps": pa.array(
        [[("k", [("l", "x" * n)])] for n in range(64)], pa.map_(pa.string(), pa.map_(pa.string(), pa.string()))
    ),
    "a dictionary of texts": pa.array(["x" * (n % 7 * 50) for n in range(64)]).dictionary_encode(),
    "a dictionary of numbers": pa.array([n % 3 for n in range(64)]).dictionary_encode(),
    "a dictionary with nulls": pa.array([None, "x" * 90] * 32).dictionary_encode(),
    "nothing but nulls in a dictionary": pa.array([None] * 64, pa.string()).dictionary_encode(),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_the_weight_of_values_is_about_that_of_their_json(array: pa.Array) -> None:
    text = sum(len(json.dumps(value)) + 1 for value in array.to_pylist())
    assert text / 2 <= array_weight(array) + 64
    assert array_weight(array) <= 4 * text


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 1), (0, 40), (5, 6), (17, 43), (63, 64), (40, 64)])
def test_the_weight_of_a_slice_is_that_of_the_same_values_on_their_own(array: pa.Array, start: int, stop: int) -> None:
    alone = pa.array(array[start:stop].to_pylist(), array.type)
    assert array_weight(array[start:stop]) == array_weight(alone)


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array([1, 2], pa.int64()), 16),
        (pa.array([1, 2, 3], pa.int8()), 12),
        (pa.array([True] * 9), 36),
        (pa.nulls(5), 20),
        (pa.array(["abc", "de"]), 4 * 2 + 5),
        # A name, its punctuation and the value.
        (pa.array([{"ab": 1}] * 3, pa.struct([("ab", pa.int64())])), 3 * (2 + 4 + 8)),
        (pa.array([{"é": 1}] * 3, pa.struct([("é", pa.int64())])), 3 * (2 + 4 + 8)),
        (pa.array([{"a": 1, "bc": 2}] * 3, pa.struct([("a", pa.int64()), ("bc", pa.int64())])), 3 * (3 + 8 + 16)),
        (pa.array([[1, 2], [3]], pa.list_(pa.int64())), 2 * 4 + 3 * 8),
        (pa.array([[1, 2], []], pa.large_list(pa.int64())), 2 * 4 + 2 * 8),
        (pa.array([[1, 2]], pa.list_(pa.int64(), 2)), 4 + 2 * 8),
        (pa.array([[(1, 2), (3, 4)], []], pa.map_(pa.int64(), pa.int64())), 2 * 4 + 2 * 16),
        (pa.array(["abc", "abc", "de"]).dictionary_encode(), 3 * 4 + 3 + 3 + 2),
        (pa.array(["abc", None]).dictionary_encode(), 2 * 4 + 3),
        (pa.array([None, None], pa.string()).dictionary_encode(), 2 * 4),
        (pa.array([7, 7, 8], pa.int64()).dictionary_encode(), 3 * 8),
    ],
    ids=str,
)
def test_names_and_punctuation_are_part_of_the_weight(array: pa.Array, expected: int) -> None:
    assert array_weight(array) == expected


def test_the_weight_of_rows_is_that_of_their_columns() -> None:
    columns = [ARRAYS["texts"], STRUCTS, MAPS]
    assert weight(pa.record_batch(columns, names=["a", "b", "c"])) == sum(map(array_weight, columns))
