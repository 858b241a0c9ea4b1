"""What a jsonb column can't hold, found in the text of JSON."""

from __future__ import annotations

import polars as pl
import pytest

from loader import jsonb
from loader.model import Problem


def problems(*texts: str | None) -> list[tuple[int, Problem]]:
    return list(jsonb.find_problems(pl.Series("p", texts, pl.String)))


def codes(text: str) -> list[str]:
    return [problem.code for _, problem in problems(text)]


FITTING = {
    "many digits": "1" + "0" * 131_071,
    "many digits with a sign": "-" + "9" * 131_072,
    "a long fraction": "0." + "1" * 16_383,
    "both": "9" * 131_072 + "." + "9" * 16_383,
    "a large exponent": "1e131071",
    "a large exponent and two digits": "10e131070",
    "a large exponent and a fraction": "1.5E+131071",
    "a larger exponent behind zeros": "0.1e131072",
    "a yet larger exponent behind more zeros": "0.00001e131076",
    "a large exponent and zeros in front and behind": "0.0100e131073",
    "a small exponent": "1e-16383",
    "a small exponent and a fraction": "1.5e-16382",
    "a fraction that an exponent shortens": "0." + "1" * 16_386 + "e3",
    "a large exponent with many zeros": "1e+" + "0" * 30 + "131071",
    "a small exponent with many zeros": "1e-" + "0" * 30 + "16383",
    "zero": "0.000e00000",
    "zero with a large exponent": "0e131073",
    "zero with the largest exponent": "-0.0e1073741823",
    "zero with the largest exponent behind zeros": "0e+0001073741823",
    "zero with a long fraction": "0." + "0" * 16_383,
}
UNFIT = {
    "too many digits": "1" + "0" * 131_072,
    "too long a fraction": "0." + "1" * 16_384,
    "too large an exponent": "1e131072",
    "too large an exponent and two digits": "10e131071",
    "too large an exponent and a fraction": "1.5e131072",
    "too large an exponent behind zeros": "0.1e131073",
    "too large an exponent behind more zeros": "0.00001e131077",
    "a small exponent": "1e-16384",
    "a small exponent and a fraction": "1.5e-16383",
    "a small exponent behind a digit": "10e-16384",
    "a fraction that an exponent does not shorten enough": "0." + "1" * 16_387 + "e3",
    "zero with a small exponent": "0e-16384",
    "zero with a long fraction": "0." + "0" * 16_384,
    "zero with an exponent too large": "0e1073741824",
    "zero with an exponent far too large": "0.0e+9999999999",
    "zero with an exponent of eleven digits": "0e10000000000",
    "zero with an exponent of thousands of digits": "0e" + "9" * 5000,
    "an exponent far too small": "-1e-99999999999999999999",
}


@pytest.mark.parametrize("number", FITTING.values(), ids=FITTING)
@pytest.mark.parametrize("text", ["{}", '[1, {{"a":{}}}]', "[-1.5e3,{},0]"])
def test_what_numeric_can_hold_is_no_problem(number: str, text: str) -> None:
    assert codes(text.format(number)) == []


@pytest.mark.parametrize("number", UNFIT.values(), ids=UNFIT)
@pytest.mark.parametrize("text", ["{}", '[1, {{"a":{}}}]', "[-1.5e3,{},0]"])
def test_what_numeric_can_not_hold_is_a_problem(number: str, text: str) -> None:
    assert codes(text.format(number)) == ["number_out_of_range"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[1e5,-1e131072,3e131072,2e131072]", "2e131072"),
        ("[2e131072,3e131072,-1e131072]", "2e131072"),
        ("[1e-" + "0" * 31 + "16384]", "1e-" + "0" * 31 + "16384"),
        ("[1e-" + "0" * 32 + "16384]", "1e-" + "0" * 32 + "16384"),
        ("[1e-" + "0" * 33 + "16384]", "1e-" + "0" * 33 + "1..."),
    ],
)
def test_the_same_such_number_is_named_in_any_order_and_a_long_one_shortened(text: str, shown: str) -> None:
    message = f"holds the number {shown}, too large or too fine for jsonb"
    assert problems(text) == [(0, Problem("number_out_of_range", "p", message))]


@pytest.mark.parametrize(
    "text",
    [
        '"1e131072"',
        '{"1e131072":1}',
        r'["\"",  "1e131072"]',
        r'["\\", "\"1e131072"]',
        '["' + "9" * 140_000 + '"]',
        '"0.' + "1" * 16_384 + '"',
    ],
    ids=lambda text: text[:20],
)
def test_a_text_is_no_number(text: str) -> None:
    assert codes(text) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *((r'"\u0000"', True), (r'"a\u0000b"', True), (r'{"\u0000":1}', True), (r'"\\\u0000"', True)),
        *((r'"\\\\\u0000"', True), (r'"\\u0000 \u0000"', True)),
        *((r'"\\u0000"', False), (r'"\\\\u0000"', False), (r'"\u0001"', False), (r'"u0000"', False)),
    ],
)
def test_a_null_character_is_found_where_it_is_one(text: str, found: bool) -> None:
    assert codes(text) == ["null_character"] * found


def levels(count: int, inner: str = "1") -> str:
    return "[" * count + inner + "]" * count


@pytest.mark.parametrize(
    ("text", "deepest"),
    [
        *(("1", 0), ("{}", 1), ("[]", 1), ("[[],[]]", 2), ('[{"a":[]}]', 3), ('[[[]],[],{"a":1}]', 3), ('["[[["]', 1)),
        *((r'["\"[", []]', 2), (r'["\\", []]', 2), ('[{"[{":{}},[[[]]]]', 4), (levels(700), 700)),
    ],
)
def test_the_depth_of_a_text_is_that_of_its_arrays_and_objects(text: str, deepest: int) -> None:
    assert jsonb.depth(text) == deepest


@pytest.mark.parametrize(
    ("text", "too_deep"),
    [
        *((levels(500), False), (levels(501), True), (levels(501, ""), True), (levels(500, "") + " " * 99, False)),
        *((levels(499, '{"a":1}'), False), (levels(500, '{"a":1}'), True), (levels(500, "{}"), True)),
        *(("[" + levels(499) + "," + levels(499) + "]", False), ("[" + levels(2) + "," + levels(500) + "]", True)),
        *(("[" + "[],{}," * 600 + "0]", False), (levels(300, '"' + "[{" * 300 + '"'), False)),
        ('{"a":' * 501 + "1" + "}" * 501, True),
    ],
    ids=lambda value: str(value)[:20],
)
def test_five_hundred_levels_are_the_most(text: str, too_deep: bool) -> None:
    expected = [(0, Problem("too_deep", "p", "is nested deeper than 500 levels"))]
    assert problems(text) == (expected if too_deep else [])


def test_each_row_has_its_own_problems() -> None:
    found = problems("1", r'"\u0000"', None, "1e131072", levels(501), "{}", r'["\u0000",1e-16384,' + levels(500) + "]")
    assert sorted((row, problem.code) for row, problem in found) == [
        *((1, "null_character"), (3, "number_out_of_range"), (4, "too_deep")),
        *((6, "null_character"), (6, "number_out_of_range"), (6, "too_deep")),
    ]
    assert {problem.column for _, problem in found} == {"p"}
