"""Lines of JSON as rows: how they are numbered, kept, and what is said of the bad ones."""

from __future__ import annotations

import json
import uuid

import pytest

from loader import contract, ndjson
from loader.contract import Contract
from loader.model import Block, Problem, Raw
from loader.validate import validate
from tests.support import event

BUNDLED = contract.load()
LIMIT = 1000


def decoded(*chunks: bytes, terms: Contract = BUNDLED, limit: int = LIMIT) -> Block:
    decoder = ndjson.Decoder(terms, max_line_bytes=limit)
    rows = ndjson.Rows()
    line = 1
    for number, chunk in enumerate(chunks, 1):
        line += decoder.add(rows, chunk, file_id=number, first_line=line)
    return decoder.block(rows)


def lines(count: int) -> list[bytes]:
    return [json.dumps(event(user_id=f"u{number}")).encode() for number in range(count)]


def in_order(block: Block) -> list[int]:
    """The rows of a block in the order of their lines."""
    return sorted(range(block.frame.height), key=block.frame["line"].to_list().__getitem__)


def problems(line: bytes, terms: Contract = BUNDLED) -> list[Problem]:
    return decoded(line, terms=terms, limit=1 << 20).problems.get(0, [])


def messages(line: bytes, terms: Contract = BUNDLED) -> list[str]:
    return [problem.message for problem in problems(line, terms)]


# --- Rows and their places -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [50, 200])
@pytest.mark.parametrize("bad", [None, 0, 15, 16, 17, 32, 49], ids="bad line {}".format)
@pytest.mark.parametrize("end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_each_row_keeps_its_number_its_file_and_its_text(count: int, bad: int | None, end: bytes) -> None:
    some = lines(count)
    if bad is not None:
        some[bad] = b"{"
    decoder = ndjson.Decoder(BUNDLED, max_line_bytes=LIMIT)
    rows = ndjson.Rows()
    assert decoder.add(rows, b"".join(line + end for line in some), file_id=7, first_line=1001) == count
    block = decoder.block(rows)
    found = in_order(block)
    assert [block.frame["line"][row] for row in found] == list(range(1001, 1001 + count))
    assert block.frame["file_id"].to_list() == [7] * count
    assert [raw.content.rstrip(b"\r") for raw in block.raws(found)] == some
    assert [place for place, row in enumerate(found) if row in block.problems] == ([] if bad is None else [bad])
    users = [block.frame["user_id"][row] for row in found]
    assert users == [None if place == bad else f"u{place}" for place in range(count)]


def test_rows_of_many_files_share_a_block() -> None:
    first, second, third = (b"\n".join(lines(count)) for count in (2, 1, 3))
    block = decoded(first, second + b"\n{}\n", third)
    assert block.frame["file_id"].to_list() == [1, 1, 2, 2, 3, 3, 3]
    assert block.frame["line"].to_list() == [1, 2, 3, 4, 5, 6, 7]
    assert list(block.problems) == [3]


def test_rows_are_counted() -> None:
    rows = ndjson.Rows()
    assert not rows
    decoder = ndjson.Decoder(BUNDLED, max_line_bytes=LIMIT)
    decoder.add(rows, b"\n".join([*lines(3), b"[]"]), file_id=1, first_line=1)
    assert len(rows) == 4


def test_blocks_of_the_same_rows_are_the_same() -> None:
    decoder = ndjson.Decoder(BUNDLED, max_line_bytes=LIMIT)
    rows = ndjson.Rows()
    decoder.add(rows, b'{"event_id":"x","event_time":"now"}\n', file_id=1, first_line=1)
    assert decoder.block(rows).problems == decoder.block(rows).problems


# --- Long lines ------------------------------------------------------------------------------------------------------


def of_length(length: int) -> bytes:
    line = json.dumps(event(user_id="")).encode()
    return line.replace(b'"user_id": ""', b'"user_id": "%b"' % (b"x" * (length - len(line))))


@pytest.mark.parametrize("neighbours", [0, 1, 40])
def test_a_line_may_be_as_long_as_the_limit_and_no_longer(neighbours: int) -> None:
    some = lines(neighbours)
    block = decoded(b"\n".join([*some, of_length(LIMIT), of_length(LIMIT + 1), *some]))
    found = {block.frame["line"][row]: [problem.code for problem in said] for row, said in block.problems.items()}
    assert found == {neighbours + 2: ["line_too_long"]}
    assert block.frame.height == 2 * neighbours + 2


def test_of_a_line_over_the_limit_its_start_and_its_length_are_kept() -> None:
    line, (short,) = of_length(10_000), lines(1)
    block = decoded(b"\n".join([short, line]))
    assert block.problems == {1: [Problem("line_too_long", None, "the line is 10000 bytes long; the limit is 1000")]}
    assert block.raws([1, 0]) == [Raw(line[:4096], 10_000), Raw(short, len(short))]


def test_a_line_that_was_cut_short_by_the_reader_is_known_by_its_length() -> None:
    decoder = ndjson.Decoder(BUNDLED, max_line_bytes=LIMIT)
    rows = ndjson.Rows()
    decoder.add(rows, b"\n".join(lines(2)), file_id=3, first_line=1)
    decoder.add_over_limit(rows, b'{"a', length=5000, file_id=3, line=3)
    block = decoder.block(rows)
    assert block.frame.row(2) == (3, 3, None, None, None, None, None)
    assert block.problems == {2: [Problem("line_too_long", None, "the line is 5000 bytes long; the limit is 1000")]}
    assert block.raws([2]) == [Raw(b'{"a', 5000)]


# --- What is said of a bad line --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"7", "the line is a JSON number, not an object"),
        (b"-7", "the line is a JSON number, not an object"),
        (b' "x"', "the line is a JSON string, not an object"),
        (b"[{}]", "the line is a JSON array, not an object"),
        (b"\ttrue", "the line is a JSON boolean, not an object"),
        (b"false", "the line is a JSON boolean, not an object"),
        (b"null\r", "the line is a JSON null, not an object"),
        (b"\xff", "byte 1 of the line is not UTF-8"),
        (b'{"a":"\xc3"}', "byte 7 of the line is not UTF-8"),
        (rb'{"a":"\ud800"}', r"holds half of a \ud800 surrogate pair"),
        (b"[" * 20_000 + b"]" * 20_000, "is nested deeper than 500 levels"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_line_that_is_no_object_says_what_it_is(line: bytes, message: str) -> None:
    assert messages(line) == [message]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        *((r"\ud83c\udf89\ud83c", "lone_surrogate"), (r"\uD83C\uDF89\uDF89", "lone_surrogate")),
        *((r"\uDBFF\uDFFF\uD83C\n", "lone_surrogate"), (r"\\\ud83c", "lone_surrogate")),
        *((r"\ud83c\udf89\x", "malformed_json"), (r"\\ud83c\x", "malformed_json"), (r"\ud7ff\x", "malformed_json")),
        *((r"\ue000\x", "malformed_json"), (r"\ud83\x", "malformed_json")),
    ],
)
def test_half_of_a_surrogate_pair_is_told_from_other_bad_escapes(text: str, code: str) -> None:
    assert [problem.code for problem in problems(b'{"user_id":"%b"}' % text.encode())] == [code]


TYPED = """
from __future__ import annotations
import pandera.polars as pa
import polars as pl
from pandera.api.polars.model_config import BaseConfig

class Events(pa.DataFrameModel):
    event_id: pl.String = pa.Field(metadata={"postgres": "uuid"})
    b: pl.Int64 = pa.Field(metadata={"postgres": "bigint"})
    d: pl.Float64 = pa.Field(metadata={"postgres": "double precision"})
    t: pl.Boolean = pa.Field(metadata={"postgres": "boolean"})
    j: pl.String = pa.Field(nullable=True, metadata={"postgres": "jsonb"})
    o: pl.String = pa.Field(nullable=True, metadata={"postgres": "text"})
"""


@pytest.fixture(scope="module")
def typed(tmp_path_factory: pytest.TempPathFactory) -> Contract:
    """A contract with a field of each type."""
    folder = tmp_path_factory.mktemp("contracts")
    (folder / "events.py").write_text(TYPED)
    return contract.load(folder)


ID = str(uuid.uuid4())


def typed_line(**values: str) -> bytes:
    members = {"event_id": f'"{ID}"', "b": "1", "d": "1", "t": "true"} | values
    return ("{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}").encode()


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("event_id", "7", "expected a string, found number"),
        ("event_id", "-7", "expected a string, found number"),
        ("event_id", "null", "expected a string, found null"),
        ("o", "{}", "expected a string, found object"),
        ("o", "[]", "expected a string, found array"),
        ("b", '"1"', "expected an integer of 64 bits, found string"),
        ("b", "1.5", "expected an integer of 64 bits, found number"),
        ("b", "9223372036854775808", "expected an integer of 64 bits, found number"),
        ("b", "-9223372036854775809", "expected an integer of 64 bits, found number"),
        ("d", "true", "expected a number, found boolean"),
        ("d", "1e999", "expected a number, found one out of range"),
        ("d", "-1e999", "expected a number, found one out of range"),
        ("t", "0", "expected a boolean, found number"),
        ("t", "null", "expected a boolean, found null"),
    ],
)
def test_a_value_of_another_type_says_what_was_expected(typed: Contract, name: str, value: str, message: str) -> None:
    assert problems(typed_line(**{name: value}), typed) == [Problem("wrong_type", name, message)]


def test_what_is_right_in_a_bad_line_is_kept(typed: Contract) -> None:
    block = decoded(typed_line(t='"x"', b="5", d="0.5", j='{"a":1}', o='"o"'), terms=typed)
    assert block.frame.row(0) == (1, 1, ID, 5, 0.5, None, '{"a":1}', "o")


@pytest.mark.parametrize(
    ("value", "held"),
    [
        *(("null", None), (" null", None), ("null\t", None), ('"null"', '"null"'), ("[null]", "[null]")),
        *(("0", "0"), ("false", "false"), ('""', '""'), ("{}", "{}")),
    ],
)
@pytest.mark.parametrize("also_bad", [False, True])
def test_a_nullable_document_is_missing_where_it_is_null(
    typed: Contract, value: str, held: str | None, also_bad: bool
) -> None:
    block = decoded(typed_line(j=value, **({"more": "1"} if also_bad else {})), terms=typed)
    assert block.frame["j"].to_list() == [held]
    assert [problem.code for problem in block.problems.get(0, [])] == ["unknown_field"] * also_bad


@pytest.mark.parametrize("also_bad", [False, True])
def test_nullable_fields_may_be_absent_and_others_not(typed: Contract, also_bad: bool) -> None:
    block = decoded(typed_line(**({"t": "7"} if also_bad else {})), b'{"event_id":"%b"}' % ID.encode(), terms=typed)
    assert block.frame.select("j", "o").rows() == [(None, None)] * 2
    assert [problem.column for problem in block.problems[1]] == ["b", "d", "t"]
    assert {problem.message for problem in block.problems[1]} == {"the field is missing"}
    assert [problem.code for problem in block.problems.get(0, [])] == ["wrong_type"] * also_bad


def test_twenty_unknown_fields_are_named_and_no_more() -> None:
    found = problems(json.dumps(event(**{f"more{number}": 1 for number in range(30)})).encode())
    assert found == [
        Problem("unknown_field", f"more{number}", "the contract has no such field") for number in range(20)
    ]


def test_the_long_name_of_an_unknown_field_is_shortened() -> None:
    found = problems(json.dumps(event(**{"x" * 100: 1, "y" * 101: 1})).encode())
    assert [problem.column for problem in found] == ["x" * 100, "y" * 97 + "..."]


def test_a_bad_line_with_a_key_twice_says_both() -> None:
    line = json.dumps(event(more=1)).encode().replace(b'"user_id"', b'"user_id":"x","user_id"')
    assert [(problem.code, problem.column) for problem in problems(line)] == [
        ("unknown_field", "more"),
        ("duplicate_key", "user_id"),
    ]


# --- Documents and line ends -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"%b%b\n\n",
        b"%b\n%b {\n",
        b"%b,\n%b\n",
        b"%b\n,%b\n",
        b"[%b\n,%b]\n",
        b"%b%b\n%b",
        b"%b\n}%b\n",
        b"%b{\n}%b\n",
    ],
    ids=str,
)
def test_what_msgspec_could_take_for_other_lines_is_decided_line_by_line(content: bytes) -> None:
    content %= tuple(lines(content.count(b"%b")))
    alone = [decoded(line, limit=1 << 20) for line in content.split(b"\n") if line.strip()]
    together = decoded(content, limit=1 << 20)
    assert together.frame.height == len(alone)
    assert [row in together.problems for row in range(len(alone))] == [bool(block.problems) for block in alone]


@pytest.mark.parametrize("blank", [b"", b" ", b"\t", b"\r", b" \t \r"])
def test_a_blank_line_is_no_row_but_has_a_number(blank: bytes) -> None:
    first, second = lines(2)
    block = decoded(b"\n".join([blank, first, blank, second, blank]) + b"\n")
    assert block.frame["line"].to_list() == [2, 4]
    assert validate(block, BUNDLED).rejects == []
