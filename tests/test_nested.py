"""Structs, maps and lists of a Parquet file as JSON text."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from loader.nested import check_nested, json_text

MAP_BY_NUMBER = pa.map_(pa.int8(), pa.string())
KEYS = "a map with string keys"
SPELLED = "nothing inside it that JSON can't spell"


@pytest.mark.parametrize(
    "inner",
    [
        *(pa.null(), pa.bool_(), pa.int8(), pa.uint64(), pa.float32(), pa.float64(), pa.decimal128(20, 5)),
        *(pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())),
        *(pa.timestamp("us"), pa.timestamp("us", "UTC"), pa.date32(), pa.date64(), pa.time32("s"), pa.time64("us")),
        *(pa.list_(pa.int8()), pa.large_list(pa.int8()), pa.list_(pa.int8(), 2), pa.struct([])),
        *(pa.map_(pa.string(), pa.int8()), pa.map_(pa.large_string(), pa.list_(pa.int8()))),
    ],
    ids=str,
)
def test_what_json_can_spell_will_do_at_any_depth(inner: pa.DataType) -> None:
    assert check_nested(inner) is None
    assert check_nested(pa.struct([("a", pa.list_(inner)), ("b", pa.map_(pa.string(), inner))])) is None


@pytest.mark.parametrize(
    ("inner", "expected"),
    [
        *((pa.binary(), SPELLED), (pa.binary(16), SPELLED), (pa.duration("s"), SPELLED)),
        *((pa.month_day_nano_interval(), SPELLED), (pa.dictionary(pa.int8(), pa.binary()), SPELLED)),
        *((MAP_BY_NUMBER, KEYS), (pa.map_(pa.binary(), pa.string()), KEYS)),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "around",
    [
        lambda inner: inner,
        lambda inner: pa.struct([("a", pa.int8()), ("b", inner)]),
        lambda inner: pa.struct([("a", inner), ("b", pa.int8())]),
        lambda inner: pa.map_(pa.string(), inner),
        pa.list_,
        pa.large_list,
        lambda inner: pa.list_(inner, 2),
    ],
    ids=["itself", "last in a struct", "first in a struct", "map", "list", "large list", "list of two"],
)
def test_what_json_can_not_spell_is_named_at_any_depth(inner: pa.DataType, expected: str, around: Any) -> None:
    assert check_nested(around(inner)) == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pa.scalar(None, pa.struct([("a", pa.int8())])), None),
        (pa.scalar({"a": None}, pa.struct([("a", pa.int8())])), '{"a":null}'),
        (pa.scalar({"b": "é\n"}), '{"b":"é\\n"}'),
        (pa.scalar([[1], [], None]), "[[1],[],null]"),
        (pa.scalar([1.5, -0.0, 1e300]), "[1.5,-0.0,1e300]"),
        (pa.scalar([True, False]), "[true,false]"),
        (pa.scalar([("k", 1), ("l", None)], pa.map_(pa.string(), pa.int8())), '{"k":1,"l":null}'),
        (pa.scalar({"m": [("k", 1)]}, pa.struct([("m", pa.map_(pa.string(), pa.int8()))])), '{"m":{"k":1}}'),
        (pa.scalar([2**63 - 1]), "[9223372036854775807]"),
        (pa.scalar([Decimal("12345678901234567890.0000000010")]), "[12345678901234567890.0000000010]"),
        (pa.scalar([datetime(2024, 5, 1, 12, tzinfo=UTC)]), '["2024-05-01T12:00:00Z"]'),
        (pa.scalar([date(2024, 5, 1)]), '["2024-05-01"]'),
        (pa.scalar([time(1, 2, 3)]), '["01:02:03"]'),
        (pa.scalar("text"), '"text"'),
    ],
    ids=str,
)
def test_a_value_keeps_its_meaning(value: pa.Scalar, text: str | None) -> None:
    assert json_text(value, "properties") == (text, None)


@pytest.mark.parametrize(
    ("value", "code", "message"),
    [
        (pa.scalar([float("nan")]), "not_json", "JSON has no spelling for a value: nan"),
        (pa.scalar({"a": float("inf")}), "not_json", "JSON has no spelling for a value: inf"),
        (pa.scalar({"a": [float("-inf")]}), "not_json", "JSON has no spelling for a value: -inf"),
        (pa.scalar([b"x"]), "not_json", "JSON has no spelling for a value: bytes"),
        (pa.scalar(2**31 - 1, pa.date32()), "not_json", "JSON has no spelling for a value: "),
        (
            pa.scalar([("k", 1), ("k", 2)], pa.map_(pa.string(), pa.int8())),
            "duplicate_key",
            "a map holds the same key twice",
        ),
    ],
    ids=["NaN", "infinity", "minus infinity", "bytes", "a far date", "a key twice"],
)
def test_a_value_that_json_can_not_spell_is_a_problem(value: pa.Scalar, code: str, message: str) -> None:
    text, problem = json_text(value, "properties")
    assert text is None
    assert problem is not None
    assert (problem.code, problem.column) == (code, "properties")
    assert problem.message.startswith(message)
