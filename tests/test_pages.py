"""However a Parquet file is made, what is decoded of it at once stays small."""

from __future__ import annotations

import io
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import contract, footer, pages, parquet
from loader.batches import weight
from loader.errors import FileRefused
from tests.support import Load, Query, event, quarantined

BUNDLED = contract.load()
BLOCK = 1 << 20
LIMIT = 64 << 20


def write(file: io.BytesIO | Path, rows: int, properties: Any = '{"a":1}', **options: Any) -> None:
    events = [event() for _ in range(rows)]
    columns: dict[str, Any] = {name: [one[name] for one in events] for name in BUNDLED.columns}
    columns["properties"] = [properties] * rows if isinstance(properties, str) else properties
    pq.write_table(pa.table(columns), file, **options)


def batch_rows(file: io.BytesIO, *, max_page_bytes: int = LIMIT) -> int:
    return pages.batch_rows(file, footer.row_groups(file)[0], block_bytes=BLOCK, max_page_bytes=max_page_bytes)


@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
def test_ordinary_rows_make_full_blocks(version: str, compression: str) -> None:
    file = io.BytesIO()
    write(file, 5_000, compression=compression, data_page_version=version)
    assert 2_000 < batch_rows(file) < 50_000


@pytest.mark.parametrize("compression", ["none", "snappy", "gzip", "zstd", "lz4", "brotli"])
def test_a_long_value_that_a_dictionary_repeats_makes_small_batches(compression: str) -> None:
    file = io.BytesIO()
    write(file, 50, '{"a":"' + "x" * 1_000_000 + '"}', compression=compression, dictionary_pagesize_limit=LIMIT)
    assert 1 <= batch_rows(file) <= 16


def test_a_stretch_of_long_values_among_short_ones_makes_small_batches() -> None:
    file = io.BytesIO()
    values = ['{"a":"' + random.Random(n).randbytes(10_000).hex() + '"}' if n < 100 else "{}" for n in range(20_000)]
    write(file, len(values), values, use_dictionary=False)
    assert batch_rows(file) < 1_000


def test_a_page_too_large_to_hold_refuses_the_file() -> None:
    file = io.BytesIO()
    write(file, 2, ['{"a":"' + "x" * 2_000_000 + '"}', "{}"], use_dictionary=False)
    with pytest.raises(FileRefused, match="properties has a page of 20000"):
        batch_rows(file, max_page_bytes=1 << 20)


def test_a_row_over_the_limit_is_quarantined_alone(load: Load, query: Query, landing: Path) -> None:
    long = '{"a":"' + "x" * 2_000_000 + '"}'
    write(landing / "a.parquet", 5, ["{}", long, "{}", long, "{}"])
    _, report = load("--max-line-bytes", str(1 << 20))
    assert (report["read"], report["inserted"], report["rejected"]) == (5, 3, 2)
    assert query("SELECT line FROM events ORDER BY line") == [(1,), (3,), (5,)]
    rows = quarantined(landing)
    assert [(row["line"], row["errors"][0]["code"]) for row in rows] == [(2, "line_too_long"), (4, "line_too_long")]
    assert all(row["raw_truncated_from"] > 2_000_000 for row in rows)


SAMPLE = io.BytesIO()
write(SAMPLE, 300, data_page_size=1_000)


@given(st.lists(st.tuples(st.integers(0, len(SAMPLE.getvalue()) - 1), st.integers(0, 255)), max_size=6))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(damage: list[tuple[int, int]]) -> None:
    content = bytearray(SAMPLE.getvalue())
    for position, byte in damage:
        content[position] = byte
    try:
        rows = sum(
            block.frame.height
            for block in parquet.blocks(
                io.BytesIO(content), BUNDLED, file_id=1, block_bytes=BLOCK, max_row_bytes=16 << 20
            )
        )
    except FileRefused:
        return
    assert rows == 300


@pytest.mark.parametrize(
    "value",
    [
        pa.array([{"a": 1}], pa.struct([("a", pa.int8())])),
        pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int8())),
        pa.array([[1]], pa.list_(pa.int8())),
        pa.array([[1]], pa.large_list(pa.int8())),
        pa.array([[1]], pa.list_(pa.int8(), 1)),
        pa.array([{"a": [{"b": [None]}]}]),
        pa.array(["a"]),
        pa.array(["a"]).dictionary_encode(),
        pa.array([0.5]).dictionary_encode(),
        pa.nulls(1),
    ],
    ids=lambda value: str(value.type),
)
def test_the_weight_of_rows_is_the_sum_of_their_weights(value: pa.Array) -> None:
    one = pa.record_batch([value], names=["a"])
    many = pa.concat_batches([one] * 64)
    assert weight(one) > 0
    assert 32 * weight(one) <= weight(many) <= 64 * weight(one)
    halves = [many.slice(0, 32), many.slice(32)]
    assert weight(many) <= sum(map(weight, halves)) <= weight(many) + weight(one)


def test_tiny_row_groups_are_decoded_together() -> None:
    file = io.BytesIO()
    write(file, 500, row_group_size=1)
    blocks = parquet.blocks(file, BUNDLED, file_id=1, block_bytes=BLOCK, max_row_bytes=16 << 20)
    assert [block.frame["line"].to_list() for block in blocks] == [list(range(1, 501))]


def test_a_large_dictionary_is_not_the_weight_of_each_row() -> None:
    values = pa.array([f"user-{number}" for number in range(10_000)]).dictionary_encode()
    assert weight(pa.record_batch([values], names=["a"]).slice(7, 1)) < 100
