"""Members come in the order in which jsonb keeps them, and no object is another one for that."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from typing import Any
from unittest import mock

import psycopg
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from loader import key_order
from loader.grammar import are_objects
from loader.key_order import in_key_order, learn

MANY = 70  # enough to be worth it
UNSORTED = '{"device":{"os":"ios"},"page":1.50,"b":[1,{"device":2}],"a":null}'
SORTED = '{"a":null,"b":[1,{"device":2}],"page":1.50,"device":{"os":"ios"}}'


def ordered(texts: Sequence[str | None]) -> list[str | None]:
    """Return `texts` as they come back, after looking that it is said of each whether it is an object."""
    array = pa.array(texts, pa.large_string())
    in_order, good = in_key_order(array)
    in_order.validate(full=True)
    assert good.tolist() == are_objects(array).tolist()
    return in_order.to_pylist()  # type: ignore[no-any-return]


def ordered_with_others(texts: list[str]) -> list[str | None]:
    """Return `texts` as they come back from among many objects that are spelled alike."""
    return ordered([UNSORTED] * MANY + texts)[MANY:]


def test_members_are_sorted_as_postgres_sorts_them(database: str) -> None:
    with psycopg.connect(database) as connection:
        row = connection.execute("SELECT %s::jsonb::text", (UNSORTED,)).fetchone()
    assert row is not None
    assert row[0].replace(" ", "") == SORTED
    assert ordered([UNSORTED] * MANY) == [SORTED] * MANY


def test_values_stay_the_text_that_they_are() -> None:
    numbers = ["1.50", "-0.0", "1e400", "12345678901234567890123", '"\\u00e9 \\" }"', '[ 1 , {"b":2, "a":1} ]', "true"]
    texts = [f'{{"device":{number},"page":1,"b":"é","a":{number}}}' for number in numbers] * 20
    assert ordered(texts) == [f'{{"a":{number},"b":"é","page":1,"device":{number}}}' for number in numbers] * 20


def test_white_space_that_all_have_does_no_harm() -> None:
    texts = [f'{{ "device": {number},\n "page": 1, "b": 2, "a": {{ }}}}' for number in range(MANY)]
    assert ordered(texts) == [f'{{ "a": {{ }}, "b": 2,\n "page": 1, "device": {number}}}' for number in range(MANY)]


def test_each_of_several_spellings_is_sorted() -> None:
    others = '{"zeta":1,"yam":2,"xi":3,"w":4}', '{"w":4,"xi":3,"yam":2,"zeta":1}'
    texts = [UNSORTED, others[0], "{}", "[]", "null"] * MANY
    assert ordered(texts) == [SORTED, others[1], "{}", "[]", "null"] * MANY


def test_null_stays_null() -> None:
    assert ordered([None, UNSORTED] * MANY) == [None, SORTED] * MANY


def test_part_of_a_column_is_read_from_where_it_starts() -> None:
    part = pa.array(["x", *[UNSORTED] * MANY, "y", "z"], pa.large_string()).slice(1, MANY + 1)
    in_order, good = in_key_order(part)
    assert in_order.to_pylist() == [SORTED] * MANY + ["y"]
    assert good.tolist() == [True] * MANY + [False]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param('{"device":{"x":1,"page":2},"b":{"y":1,"a":2}}', id="marks inside of values"),
        pytest.param('{"device":{"x":1,"page":2,"b":3,"a":4}}', id="all marks inside of one value"),
        pytest.param('{"device":1,"page":2,"b":3,"page":4,"a":5}', id="a key twice"),
        pytest.param('{"device":1,"page":2,"b":3,"a":4,"device":5}', id="the first key twice"),
        pytest.param('{"device":1,"page":2,"b":3,"c":6,"a":4}', id="a key more"),
        pytest.param('{"device":1,"page":2,"b":3,"a":4,"c":6}', id="a key more at the end"),
        pytest.param('{"page":2,"device":1,"b":3,"a":4}', id="another order"),
        pytest.param('{"device":1,"page":2,"b":3}', id="a key less"),
        pytest.param('{"device":1,"page":2,"b":3,"a": 4}', id="other white space"),
        pytest.param('{"device":1,"page":2,"b":3 ,"a":4}', id="white space before a comma"),
        pytest.param('{"device":1,"page":2,"b":3,"a":4}}', id="a brace too many"),
        pytest.param('{"device":1,"page":2,"b":3,"a":4', id="a brace too few"),
        pytest.param('{"device":1,"page":2,"b":3,"a":4]', id="a bracket for the brace"),
        pytest.param('{"device":","page":","b":1 2,"a":4}', id="two halves of a string, and two values in one place"),
        pytest.param('{"device":[1,"page":2],"b":3,"a":4}', id="an array over a mark"),
        pytest.param('{"device":{"x":1,"page":"x":2},"b":3,"a":4}', id="two halves of an object"),
        pytest.param('{"device":{"x","page":1},"b":3,"a":4}', id="a key without a value"),
        pytest.param('{"device":1 2,"page":[3,"b":4],"a":5}', id="two values here, half of one there"),
        pytest.param('{"device":1\n2,"page":3,"b":4,"a":5}', id="two values on two lines"),
        pytest.param('{"device":,"page":3,"b":4,"a":5}', id="no value"),
        pytest.param('{"device":01,"page":3,"b":4,"a":5}', id="no JSON"),
        pytest.param('{"device":"1\n","page":3,"b":4,"a":5}', id="a newline in a string"),
        pytest.param('{"device":"é', id="cut off"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_only_looks_alike_stays_as_it_is(text: str) -> None:
    with mock.patch.object(key_order, "_CHECKED_NEAR", 1):
        assert ordered_with_others([text, UNSORTED]) == [text, SORTED]


def test_one_bad_object_leaves_only_those_near_it_unsorted() -> None:
    with mock.patch.multiple(key_order, _CHECKED_ROWS=8, _CHECKED_NEAR=2):
        bad = UNSORTED.replace("1.50", "01.5")
        assert ordered([UNSORTED, UNSORTED, bad, UNSORTED] * MANY) == [SORTED, SORTED, bad, UNSORTED] * MANY


def test_objects_with_a_key_more_are_told_from_those_without() -> None:
    more, less = '{"zeta":1,"yam":2,"xi":3,"w":4,"v":5}', '{"zeta":1,"yam":2,"xi":3,"w":4}'
    texts = [less, more] * MANY
    assert ordered(texts) == ['{"w":4,"xi":3,"yam":2,"zeta":1}', '{"v":5,"w":4,"xi":3,"yam":2,"zeta":1}'] * MANY


@pytest.mark.parametrize(
    ("teacher", "text"),
    [
        pytest.param(
            r'{"\\u0061":{"\u0061":0},"zz":1,"a":2,"y":3,"x":4}',
            r'{"\u0061":1,"zz":1,"a":2,"y":3,"x":4}',
            id="an escape in a name",
        ),
        pytest.param(
            r'{"zzzz":[{"q":0,"a":1,"b":2}],"a\":1,\"b":1, "a":2,"y":3,"x":4}',
            '{"zzzz":1,"a":1,"b":1, "a":2,"y":3,"x":4}',
            id="a name that looks like two members",
        ),
        pytest.param(
            '{" ,\\t ":["x{" ,\t ": y"],"zz":1,"a":2,"y":3,"x":4}',
            '{" ,\t ": 1,"zz":1,"a":2,"y":3,"x":4}',
            id="a control character in a name",
        ),
    ],
)
def test_a_name_that_is_spelled_otherwise_than_it_reads_teaches_nothing(teacher: str, text: str) -> None:
    assert learn(teacher) is None
    assert ordered([teacher] * MANY + [text] * MANY) == [teacher] * MANY + [text] * MANY


def test_what_few_are_spelled_like_is_not_looked_for() -> None:
    names = [f"name{number}" for number in range(9, 0, -1)]
    texts = [json.dumps(dict.fromkeys(some)) for some in permutations(names, 4)]
    with mock.patch.object(key_order, "_Cut") as cut:
        assert ordered(texts) == texts
        assert ordered([UNSORTED.replace("1.50", f'"{"x" * 5000}"')] * MANY)
    cut.assert_not_called()


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(SORTED, id="sorted"),
        pytest.param('{"b":1,"a":2}', id="nearly sorted"),
        pytest.param("[1]", id="no object"),
        pytest.param("{", id="no JSON"),
        pytest.param("[" * 100_000, id="too deep"),
        pytest.param('{"device":1,"page":2,"\\u0062":3,"a":4}', id="an escape in a key"),
        pytest.param('{"device":{"x":1,"a":2},"page":2,"b":3,"a":4}', id="a mark that stands earlier, too"),
        pytest.param("{" + ",".join(f'"{n}":1' for n in range(999, 900, -1)) + "}", id="very many keys"),
    ],
)
def test_what_is_sorted_or_not_worth_it_or_no_object_teaches_nothing(text: str) -> None:
    assert learn(text) is None


KEYS = ["device", "page", "b", "a"]
MARKS = ['{"device":', ',"page":', ',"b":', ',"a":']
PARTS = [
    *MARKS,
    *MARKS,
    "{",
    "}",
    "[",
    "]",
    '"x":',
    '"x"',
    ",",
    "1",
    "null",
    "1e5",
    '"',
    "\\",
    "\n",
    " ",
    "{}",
    "true",
    "e",
]
VALUES = st.recursive(
    st.sampled_from(["1", "-2.50", "null", "true", '"x"', '",\\"a\\":"', '"}"', "{}", "[]"]),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda values: f"[{','.join(values)}]")
        | st.lists(st.tuples(st.sampled_from([*KEYS, "x"]), inner), max_size=3).map(
            lambda members: "{" + ",".join(f'"{key}":{value}' for key, value in members) + "}"
        )
    ),
    max_leaves=4,
)
BROKEN = st.lists(st.sampled_from(PARTS), max_size=3).map("".join)
ALIKE = st.tuples(*[VALUES | BROKEN] * 4).map(
    lambda values: "".join(mark + value for mark, value in zip(MARKS, values, strict=True)) + "}"
)
JUMBLED = st.lists(st.sampled_from(PARTS), max_size=12).map("".join)


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise ValueError(constant)

    return json.loads(text, parse_constant=refuse)


@given(st.lists(ALIKE | JUMBLED, max_size=8))
@example(['{"device":{"x":1,"page":2},"b":{"y":3},"a":4}'])
def test_no_object_is_another_one_for_it(texts: list[str]) -> None:
    many = [UNSORTED] * 8 + texts
    with mock.patch.multiple(key_order, _FEW=1, _FEWEST_SAMPLES=1, _CHECKED_ROWS=5, _CHECKED_NEAR=2):
        for before, after in zip(many, ordered(many), strict=True):
            assert after is not None
            if before != after:
                assert strict(before) == strict(after)
                assert list(strict(after)) == ["a", "b", "page", "device"]
                assert sorted(before) == sorted(after)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(ALIKE, min_size=1, max_size=8))
def test_postgres_stores_the_same(database_session: Any, texts: list[str]) -> None:
    with mock.patch.multiple(key_order, _FEW=1, _FEWEST_SAMPLES=1, _CHECKED_NEAR=1):
        after = ordered([UNSORTED, *texts])[1:]
    for one, other in zip(texts, after, strict=True):
        if one == other:
            continue
        row = database_session.execute("SELECT %s::jsonb::text = %s::jsonb::text", (one, other)).fetchone()
        assert row[0]
