"""Keys that stand twice in a line."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from loader import contract, ndjson, repeats
from loader.contract import Contract
from loader.model import Problem

ID = "e31689d9-f900-55b9-a7af-60c4d79e342f"
CONTRACT = """
from __future__ import annotations
import pandera.polars as pa
import polars as pl
from pandera.api.polars.model_config import BaseConfig

class Events(pa.DataFrameModel):
    event_id: pl.String = pa.Field(metadata={{"postgres": "uuid"}})
    t: pl.String = pa.Field(nullable=True, metadata={{"postgres": "text"}})
    n: pl.Int64 = pa.Field(nullable=True, metadata={{"postgres": "bigint"}})
    d: pl.Float64 = pa.Field(nullable=True, metadata={{"postgres": "double precision"}})
    o: pl.Boolean = pa.Field(nullable=True, metadata={{"postgres": "boolean"}})
    j: pl.String = pa.Field(nullable=True, metadata={{"postgres": "jsonb"}})
    é: pl.String = pa.Field(nullable=True, metadata={{"postgres": "jsonb"}})

    class Config(BaseConfig):
        metadata = {{"unknown_fields": "{unknown}"}}
"""


def loaded(folder: Path, unknown: str) -> Contract:
    (folder / "events.py").write_text(CONTRACT.format(unknown=unknown))
    return contract.load(folder)


@pytest.fixture(scope="module")
def terms(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """A contract whose names and values may be as short as can be."""
    return loaded(tmp_path_factory.mktemp("contracts"), "reject")


@pytest.fixture(scope="module")
def lenient(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """The same, where unknown fields are dropped."""
    return loaded(tmp_path_factory.mktemp("contracts"), "ignore")


def line(*members: str) -> bytes:
    return ("{" + ",".join([f'"event_id":"{ID}"', *members]) + "}").encode()


def repeated(terms: Contract, *rows: bytes) -> list[list[str | None]]:
    """Of each row, the keys that are said to stand twice; and nothing else is said."""
    decoder = ndjson.Decoder(terms, max_line_bytes=1 << 20)
    pooled = ndjson.Rows()
    decoder.add(pooled, b"\n".join(rows), file_id=1, first_line=1)
    problems = decoder.block(pooled).problems
    assert {problem.code for found in problems.values() for problem in found} <= {"duplicate_key"}
    return [[problem.column for problem in problems.get(row, [])] for row in range(len(rows))]


@pytest.fixture(autouse=True, params=[False, True], ids=["one by one", "by columns"])
def by_columns(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look at lines as where they are few, and as where they are many."""
    if request.param:
        monkeypatch.setattr(repeats, "_FEW", 0)


SHORTEST = {"t": '""', "n": "1", "d": "1", "o": "true", "j": "1", "é": "1"}
USUAL = {"t": '"a \\"text\\" 1"', "n": "-123", "d": "1.5e3", "o": "false", "j": '{"t":[1,""]}', "é": '"\\u00e9"'}


@pytest.mark.parametrize("first", [SHORTEST, USUAL], ids=["shortest", "usual"])
@pytest.mark.parametrize(
    "second", [SHORTEST, USUAL, dict.fromkeys(SHORTEST, "null")], ids=["shortest", "usual", "null"]
)
@pytest.mark.parametrize("name", SHORTEST)
def test_a_key_that_stands_twice_is_found(
    terms: Contract, lenient: Contract, name: str, first: dict[str, str], second: dict[str, str]
) -> None:
    once, again = f'"{name}":{first[name]}', f'"{name}":{second[name]}'
    others = [f'"{other}":{value}' for other, value in SHORTEST.items() if other != name]
    rows = [
        *(line(once, again), line(again, once), line(once, *others, again), line(*others, once, again)),
        *(line(once, *others), line(again), line(again, *others)),
    ]
    assert repeated(terms, *rows) == [[name]] * 4 + [[]] * 3
    assert repeated(lenient, *rows) == [[name]] * 4 + [[]] * 3


def test_each_key_that_stands_twice_is_named_once_in_the_contracts_order(terms: Contract) -> None:
    members = ('"o":true', '"n":1', '"t":"x"', '"n":2', '"o":true', '"n":3')
    assert repeated(terms, line(*members)) == [["n", "o"]]
    assert repeats.in_line(line(*members), terms) == [
        Problem("duplicate_key", name, "the key stands more than once in the row") for name in ("n", "o")
    ]


@pytest.mark.parametrize(
    "members",
    [
        ['"j":{"t":1,"t":2,"event_id":[{"t":3}]}', '"t":"x"'],
        ['"j":{"j":{"j":1}}', '"é":{"j":{"j":1}}'],
        ['"t":"\\"n\\":1"', '"n":1'],
        ['"t":"t"', '"j":"t"', '"é":["t","t"]'],
        ['"j":""', '"é":""', '"t":""'],
        ['"j":1', '"é":1', '"n":1'],
    ],
)
def test_names_inside_of_values_are_no_keys(terms: Contract, lenient: Contract, members: list[str]) -> None:
    rows = [line(*members), line(*(" " + member + " \t" for member in members)), line(*reversed(members))]
    assert repeated(terms, *rows) == repeated(lenient, *rows) == [[]] * 3


def test_a_key_that_is_spelled_in_two_ways_stands_twice(terms: Contract) -> None:
    rows = [line('"t":"x"', r'"\u0074":""'), line(r'"\u00e9":1', '"é":1'), line(r'"\u0074":""')]
    assert repeated(terms, *rows) == [["t"], ["é"], []]


def test_an_unknown_key_that_is_dropped_may_stand_twice(lenient: Contract) -> None:
    assert repeated(lenient, line('"x":1', '"x":1', '"n":1'), line('"x":{"n":1}', '"n":1', '"x":2')) == [[], []]


def suspected(terms: Contract, row: bytes, **values: object) -> bool:
    """Say whether the line is one that could hold a key twice, given the values that were decoded from it."""
    columns = {
        field.name: pl.Series(
            field.name,
            [ID if field.name == "event_id" else values.get(field.name)],
            pl.Binary() if field.kind.postgres == "jsonb" else field.kind.dtype,
        )
        for field in terms.fields
    }
    return list(repeats.suspects(columns, [row], terms)) == [0]


@pytest.mark.parametrize(
    ("members", "values"),
    [
        ([r'"t":"\n"'], {"t": "\n"}),
        ([r'"t":"\n"', '"n":1'], {"t": "\n", "n": 1}),
        ([r'"t":"\n"', '"d":1'], {"t": "\n", "d": 1.0}),
        ([r'"t":"\né"', '"j":{"a":1}', '"é":[2]'], {"t": "\né", "j": b'{"a":1}', "é": b"[2]"}),
    ],
)
def test_of_many_lines_one_with_no_room_for_another_member_is_no_suspect(
    terms: Contract, members: list[str], values: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeats, "_FEW", 0)
    row = line(*members)  # One byte longer than need be: the escape.
    shortest_member = len(',"n":1')
    assert not suspected(terms, row, **values)
    assert not suspected(terms, row + b" " * (shortest_member - 2), **values)
    assert suspected(terms, row + b" " * (shortest_member - 1), **values)


def test_a_line_with_room_and_no_escape_is_a_suspect_where_a_name_stands_twice_outside_of_documents(
    terms: Contract, lenient: Contract
) -> None:
    members = ['"t":"n"', '"j":{"n":"n"}']
    values = {"t": "n", "j": b'{"n":"n"}'}
    row = line(*members) + b" " * 20
    assert not suspected(terms, row, **values)
    assert suspected(lenient, row, **values)
    assert suspected(terms, line(*members, '"n":1') + b" " * 20, n=1, **values)
    # Of a document that stands there twice, one is taken away.
    assert suspected(terms, line('"j":1,"j":1'), j=b"1")


@pytest.mark.parametrize(
    ("row", "names"),
    [
        (b'{"n":1,"n":1}', ["n"]),
        (b'{"n":%b}' % (b"9" * 5000), []),
        (b'{"d":%b.5,"d":1}' % (b"9" * 5000), ["d"]),
        (b'{"t":"\xff","t":""}', ["t"]),
        (b'{"j":{"n":1},"n":1,"j":[{"j":1}]}', ["j"]),
        (b"{}", []),
    ],
    ids=lambda value: str(value)[:30],
)
def test_any_line_that_is_an_object_can_be_searched(terms: Contract, row: bytes, names: list[str]) -> None:
    assert [problem.column for problem in repeats.in_line(row, terms)] == names


def test_a_line_that_is_nested_too_deep_to_be_searched_says_so(terms: Contract) -> None:
    row = b'{"j":' + b"[" * 100_000 + b'"j"' + b"]" * 100_000 + b"}"
    assert repeats.in_line(row, terms) == [Problem("too_deep", None, "is nested deeper than 500 levels")]


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('"t0":"x","j":0,"t0":"y"', "t0"),
        ('"t0":"a","n":1,"j":",","n":2', "n"),
        ('"t0":"a","t0":"b","j":":"', "t0"),
    ],
    ids=["in a key", "between members", "behind a key"],
)
def test_a_scalar_document_hides_no_key_where_the_like_stands(tmp_path: Path, text: str, key: str) -> None:
    (tmp_path / "events.py").write_text(CONTRACT.format(unknown="reject").replace("    t: ", "    t0: "))
    terms = contract.load(tmp_path)
    without_digits = "abcdefab-abcd-abcd-abcd-abcdefabcdef"
    assert repeated(terms, f'{{{text},"event_id":"{without_digits}"}}'.encode()) == [[key]]


def test_what_the_contract_ignores_has_to_be_utf8_too(lenient: Contract) -> None:
    bad = [
        line('"x":"?"').replace(b"?", b"\xff"),
        line('"?":1').replace(b"?", b"\xff"),
        line('"x":{"?":1}').replace(b"?", b"\xc3"),
    ]
    good = line('"x":"é"')
    decoder = ndjson.Decoder(lenient, max_line_bytes=1 << 20)
    for rows in ([good, one, good] for one in bad):
        pooled = ndjson.Rows()
        decoder.add(pooled, b"\n".join(rows), file_id=1, first_line=1)
        problems = decoder.block(pooled).problems
        assert {row: [problem.code for problem in found] for row, found in problems.items()} == {1: ["invalid_utf8"]}
