"""JSON objects are told from other texts, many at once, as a parser would tell them one by one."""

from __future__ import annotations

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader.grammar import are_objects

PARTS = ["{", "}", "[", "]", '"a"', ":", ",", "1", "null", "{}", '{"a":1}', " ", "\n", "NaN", '"', "\\"]
TEXTS = st.lists(st.lists(st.sampled_from(PARTS), max_size=6).map("".join) | st.just('{"a":{"b":[1]}}'), max_size=12)


def is_object(text: str) -> bool:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    try:
        return isinstance(json.loads(text, parse_constant=refuse), dict) and text == text.strip()
    except ValueError:
        return False


@given(TEXTS)
def test_each_text_is_an_object_or_is_not(texts: list[str]) -> None:
    expected = [is_object(text) for text in texts]
    assert are_objects(pa.array(texts, pa.large_string())).tolist() == expected
    assert are_objects(pa.array([text.encode() for text in texts], pa.large_binary())).tolist() == expected


@given(TEXTS, st.integers(0, 12), st.integers(0, 12))
def test_part_of_a_column_is_read_from_where_it_starts(texts: list[str], start: int, length: int) -> None:
    part = pa.array(texts, pa.large_string()).slice(start, length)
    assert are_objects(part).tolist() == [is_object(text) for text in texts[start : start + length]]


@pytest.mark.parametrize(
    "texts",
    [
        ['{"a":1', '"b":2}'],
        ['{"a":{}', "{}}"],
        ['{"a":[{}', "{}]}"],
        ['{"a":"{', '}"}'],
        ["{}{}"],
        ["{}{}", "{"],
        ['{"a":1}{"b":2}', '{"c":3'],
        ['{"a":"}', '{"}'],
    ],
)
def test_no_object_goes_over_the_end_of_a_text(texts: list[str]) -> None:
    assert not are_objects(pa.array(texts, pa.large_string())).any()


def test_a_string_that_goes_over_the_end_of_a_text_is_not_made_up_for_by_two_objects_in_one() -> None:
    texts = ['{"a":"}', '{"}', "{}{}", "{}"]
    assert are_objects(pa.array(texts, pa.large_string())).tolist() == [False, False, False, True]


def test_what_is_missing_is_no_object() -> None:
    assert are_objects(pa.array(["{}", None, "{}"], pa.large_string())).tolist() == [True, False, True]


def test_what_is_nested_beyond_measure_is_left_to_others() -> None:
    deep = '{"a":' * 100_000 + "1" + "}" * 100_000
    assert are_objects(pa.array(["{}", deep, "{}"], pa.large_string())).tolist() == [True, False, True]
