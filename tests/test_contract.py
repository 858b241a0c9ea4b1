"""The contract as a table of cases: a line, and what becomes of it."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from loader import contract, ndjson
from loader.contract import Contract
from loader.errors import UsageError
from loader.model import Block, Problem, Raw, Validated
from loader.validate import validate

ID = "e31689d9-f900-55b9-a7af-60c4d79e342f"
GOOD = {
    "event_id": ID,
    "event_name": "n",
    "event_time": "2021-03-11T14:54:13Z",
    "user_id": "u",
    "properties": {"a": 1},
}
BUNDLED = contract.load()
MAX_LINE = 1 << 20


def decode(content: bytes, terms: Contract = BUNDLED, *, first_line: int = 1) -> Validated:
    decoder = ndjson.Decoder(terms, max_line_bytes=MAX_LINE)
    rows = ndjson.Rows()
    decoder.add(rows, content, file_id=1, first_line=first_line)
    return validate(decoder.block(rows), terms)


def line(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def raw(old: str, new: str | bytes) -> bytes:
    """The good line with a piece of its text replaced."""
    text = json.dumps(GOOD, separators=(",", ":")).encode()
    assert old.encode() in text
    return text.replace(old.encode(), new if isinstance(new, bytes) else new.encode())


def without(name: str) -> bytes:
    return json.dumps({key: value for key, value in GOOD.items() if key != name}).encode()


def properties(text: str | bytes) -> bytes:
    return raw('{"a":1}', text)


NOT_STRINGS: tuple[object, ...] = (7, 1.5, True, None, [], {})
NOT_OBJECTS: tuple[object, ...] = (7, True, None, [], "{}", [{}])
ACCEPTED = {
    "the good line": line(),
    "compact": raw("n", "n"),
    "white space around everything": b' \t{ "event_id" : "%b" , ' % ID.encode()
    + b'"event_name":"n","event_time":"2021-03-11T14:54:13Z" ,"user_id":"u","properties" : { } } \r',
    "another order of fields": json.dumps(dict(reversed(GOOD.items()))).encode(),
    "an escaped key": raw('"user_id"', r'"user\u005fid"'),
    "upper case uuid": line(event_id=ID.upper()),
    "the nil uuid": line(event_id="00000000-0000-0000-0000-000000000000"),
    "the max uuid": line(event_id="ffffffff-ffff-ffff-ffff-ffffffffffff"),
    "SQL and COPY escapes": line(event_name="\\.", user_id="\\N\t'; DROP TABLE events; --\n"),
    "emoji and combining letters": line(event_name="🎉 e\u0301", user_id="\U0010ffff"),
    "a surrogate pair": raw('"u"', r'"\ud83c\udf89"'),
    "a blank as text": line(user_id=" "),
    r"an escaped backslash before u0000": properties(r'{"a":"\\u0000"}'),
    "a text that looks like a huge number": properties('{"a":"1e400000"}'),
    "the largest number": properties('{"a":1e131071}'),
    "zero with the largest exponent": properties('{"a":0e1073741823,"b":-0.00E+0001073741823}'),
    "the finest number": properties('{"a":1e-16383}'),
    "a number beyond 64 bits": properties('{"a":123456789012345678901234567890.123456789}'),
    "empty properties": line(properties={}),
    "a key twice inside properties": properties('{"a":1,"a":2}'),
    "field names inside properties": line(properties={"user_id": 1, "event_id": {"properties": []}}),
    "field names as values": line(event_name="user_id", user_id='"user_id":'),
    "500 levels": properties('{"a":' * 500 + "1" + "}" * 500),
    "brackets inside a text": properties('{"a":"' + "[{" * 600 + '"}'),
    **{
        f"time {text}": line(event_time=text)
        for text in (
            *("2024-02-29T23:59:59Z", "2024-01-01t00:00:00z", "2024-01-01T00:00:00.1Z", "2024-01-01T00:00:00.123456Z"),
            *("2024-01-01T00:00:00.1234567890123Z", "2024-01-01T00:00:00+14:00", "2024-01-01T00:00:00-12:00"),
            *("2024-01-01T00:00:00-00:00", "2024-01-01T00:00:00+23:59", "0001-01-01T00:00:00Z"),
            *("9999-12-31T23:59:59.9999999Z", "0000-12-31T23:59:59-00:01", "1900-02-28T00:00:00Z"),
        )
    },
}

REJECTED: dict[str, tuple[bytes, list[tuple[str, str | None]]]] = {
    "truncated": (line()[:-4], [("malformed_json", None)]),
    "junk behind": (line() + b"x", [("malformed_json", None)]),
    "two documents": (line() + line(), [("malformed_json", None)]),
    "two documents with a comma": (line() + b"," + line(), [("malformed_json", None)]),
    "a trailing comma": (raw('{"a":1}}', '{"a":1},}'), [("malformed_json", None)]),
    "a trailing comma inside": (properties('{"a":1,}'), [("malformed_json", None)]),
    "NaN": (properties('{"a":NaN}'), [("malformed_json", None)]),
    "a leading zero": (properties('{"a":01}'), [("malformed_json", None)]),
    "a comment": (properties('{"a":1/*x*/}'), [("malformed_json", None)]),
    "single quotes": (properties("{'a':1}"), [("malformed_json", None)]),
    "a raw control character": (raw('"u"', '"u\x01"'), [("malformed_json", None)]),
    "a raw NUL": (raw('"u"', '"u\0"'), [("malformed_json", None)]),
    "a bad escape": (raw('"u"', r'"\x"'), [("malformed_json", None)]),
    "a BOM inside the file": (b"\xef\xbb\xbf" + line(), [("malformed_json", None)]),
    "an array": (b"[" + line() + b"]", [("not_an_object", None)]),
    "a number": (b"7", [("not_an_object", None)]),
    "a string": (b'"x"', [("not_an_object", None)]),
    "null": (b"null", [("not_an_object", None)]),
    **{f"no {name}": (without(name), [("missing_field", name)]) for name in GOOD},
    **{
        f"{name} is {json.dumps(value)}": (line(**{name: value}), [("wrong_type", name)])
        for name in ("event_id", "event_name", "event_time", "user_id")
        for value in NOT_STRINGS
    },
    **{
        f"properties is {json.dumps(value)}": (line(properties=value), [("properties_not_object", "properties")])
        for value in NOT_OBJECTS
    },
    "an unknown field": (line(more=1), [("unknown_field", "more")]),
    "a field in another case": (line(User_id="u"), [("unknown_field", "User_id")]),
    "an empty name": (line(event_name=""), [("empty_string", "event_name")]),
    "an empty user": (line(user_id=""), [("empty_string", "user_id")]),
    **{
        f"uuid {text!r}": (line(event_id=text), [("bad_uuid", "event_id")])
        for text in (
            *("", "x", ID.replace("-", ""), f"{{{ID}}}", f"urn:uuid:{ID}", f"{ID}\n", f" {ID}", ID[:-1] + "g"),
            *(ID[:-1], ID + "0", "e31689d9f-900-55b9-a7af-60c4d79e342f", ID[:-1] + "\uff11"),
        )
    },
    **{
        f"time {text!r}": (line(event_time=text), [(code, "event_time")])
        for code, texts in {
            "time_without_offset": ("2024-01-01T00:00:00", "2024-01-01T00:00:00.5", "2024-01-01 00:00:00"),
            "leap_second": ("2016-12-31T23:59:60Z", "2024-01-01T00:00:60.5+01:00"),
            "impossible_time": (
                *("2023-02-29T00:00:00Z", "2024-13-01T00:00:00Z", "2024-00-10T00:00:00Z", "2024-01-32T00:00:00Z"),
                *("2024-01-01T24:00:00Z", "2024-01-01T25:00:00Z", "2024-01-01T00:60:00Z", "2024-01-01T00:00:61Z"),
                *("2024-01-01T00:00:00+24:00", "2024-01-01T00:00:00+00:60", "1900-02-29T00:00:00Z"),
            ),
            "time_out_of_range": (
                *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"),
                *("0000-02-29T00:00:00Z",),
            ),
            "bad_timestamp": (
                *("", "now", "today", "infinity", "2024-01-01", "2024-01-01T00:00Z", "20240101T000000Z", "1704067200"),
                *("2024-001T00:00:00Z", "2024-W01-1T00:00:00Z", "2024-01-01T00:00:00,5Z", "2024-01-01T00:00:00.Z"),
                *("2024-01-01 00:00:00Z", "2024-1-1T0:0:0Z", "+2024-01-01T00:00:00Z", "-0001-01-01T00:00:00Z"),
                *("2024-01-01T00:00:00+01", "2024-01-01T00:00:00+0100", "2024-01-01T00:00:00 +01:00"),
                *("2024-01-01T00:00:00\u221201:00", "2024-01-01T00:00:00Z\n", " 2024-01-01T00:00:00Z"),
                *("\uff12024-01-01T00:00:00Z", "10000-01-01T00:00:00Z", "2024-01-01T00:00:00 UTC", "Z", "T"),
                *("2024-01-01T00:00:00+01:30:15", "01/02/2024", "2024-01-01T00:00:00Europe/Paris"),
            ),
        }.items()
        for text in texts
    },
    r"\u0000 in a name": (line(event_name="a\0b"), [("null_character", "event_name")]),
    r"\u0000 in a user": (line(user_id="\0"), [("null_character", "user_id")]),
    r"\u0000 in properties": (line(properties={"a": "\0"}), [("null_character", "properties")]),
    r"\u0000 in a key": (line(properties={"deep": [{"\0": 1}]}), [("null_character", "properties")]),
    r"\u0000 behind a backslash": (properties(r'{"a":"\\\u0000"}'), [("null_character", "properties")]),
    "a lone high surrogate": (raw('"u"', r'"\ud800"'), [("lone_surrogate", None)]),
    "a lone low surrogate": (raw('"u"', r'"\udc00"'), [("lone_surrogate", None)]),
    "surrogates the wrong way round": (raw('"u"', r'"\udc00\ud800"'), [("lone_surrogate", None)]),
    "a lone surrogate in properties": (properties(r'{"a":"\ud800x"}'), [("lone_surrogate", None)]),
    "invalid UTF-8 in a user": (raw('"u"', b'"\xff"'), [("invalid_utf8", None)]),
    "invalid UTF-8 in properties": (properties(b'{"a":"\xff"}'), [("invalid_utf8", "properties")]),
    "an encoded surrogate": (properties(b'{"a":"\xed\xa0\x80"}'), [("invalid_utf8", "properties")]),
    "an overlong encoding": (properties(b'{"a":"\xc0\xaf"}'), [("invalid_utf8", "properties")]),
    "invalid UTF-8 in a key": (raw('"user_id"', b'"user_\xff"'), [("invalid_utf8", None)]),
    "501 levels": (properties('{"a":' * 501 + "1" + "}" * 501), [("too_deep", "properties")]),
    "100,000 levels": (properties("[" * 100_000 + "]" * 100_000), [("too_deep", None)]),
    "a number too large": (properties('{"a":1e131072}'), [("number_out_of_range", "properties")]),
    "a number too fine": (properties('{"a":[1e-16384]}'), [("number_out_of_range", "properties")]),
    "zero with an exponent too large": (properties('{"a":0e1073741824}'), [("number_out_of_range", "properties")]),
    "zero with an exponent far too large": (properties('{"a":0e2147483649}'), [("number_out_of_range", "properties")]),
    "two reasons in one field": (
        properties(r'["\u0000"]'),
        [("null_character", "properties"), ("properties_not_object", "properties")],
    ),
    "a number with a huge exponent": (properties('{"a":-1E+99999999999}'), [("number_out_of_range", "properties")]),
    "a number of too many digits": (properties('{"a":' + "9" * 131_073 + "}"), [("number_out_of_range", "properties")]),
    "a fraction of too many digits": (
        properties('{"a":0.' + "1" * 16_384 + "}"),
        [("number_out_of_range", "properties")],
    ),
    "a line over the limit": (line(user_id="x" * MAX_LINE), [("line_too_long", None)]),
    "a key twice": (raw('"user_id"', '"user_id":"v","user_id"'), [("duplicate_key", "user_id")]),
    "a key twice, far apart": (raw('{"a":1}}', f'{{"a":1}} , "event_id" : "{ID}"}}'), [("duplicate_key", "event_id")]),
    "a key twice, once escaped": (raw('{"a":1}}', r'{"a":1},"user\u005fid":"v"}'), [("duplicate_key", "user_id")]),
    "properties twice": (raw('{"a":1}}', '{"a":1},"properties":{"a":1}}'), [("duplicate_key", "properties")]),
    "every reason": (
        line(event_id="x", event_name="", event_time="now", user_id=7, properties=[], more=1),
        [
            *(("wrong_type", "user_id"), ("unknown_field", "more"), ("bad_timestamp", "event_time")),
            *(("bad_uuid", "event_id"), ("empty_string", "event_name"), ("properties_not_object", "properties")),
        ],
    ),
}


@pytest.mark.parametrize("case", ACCEPTED)
def test_accepted(case: str) -> None:
    checked = decode(ACCEPTED[case] + b"\n")
    assert [reject.problems for reject in checked.rejects] == []
    assert checked.valid.height == 1


@pytest.mark.parametrize("case", REJECTED)
def test_rejected_with_every_reason_and_verbatim(case: str) -> None:
    content, expected = REJECTED[case]
    checked = decode(content + b"\n")
    assert checked.valid.is_empty()
    (reject,) = checked.rejects
    assert sorted(map(str, [(problem.code, problem.column) for problem in reject.problems])) == sorted(
        map(str, expected)
    )
    assert reject.raw.length == len(content)
    assert content.startswith(reject.raw.content)


def test_bad_lines_cost_their_neighbours_nothing() -> None:
    contents: list[bytes] = []
    good: list[int] = []
    for content, _ in REJECTED.values():
        contents += [content, line(), b"", line()]
        good += [len(contents) - 2, len(contents)]
    checked = decode(b"\n".join(contents) + b"\n", first_line=1)
    assert checked.valid["line"].to_list() == good
    assert [reject.line for reject in checked.rejects] == list(range(1, len(contents) + 1, 4))
    codes = [[problem.code for problem in reject.problems] for reject in checked.rejects]
    assert [sorted(found) for found in codes] == [
        sorted(code for code, _ in expected) for _, expected in REJECTED.values()
    ]


def test_one_document_over_two_lines_is_two_bad_rows() -> None:
    text = line()
    middle = text.index(b",")
    checked = decode(text[:middle] + b"\n" + text[middle:] + b"\n" + line() + line() + b"\n" + line() + b"\n")
    assert [reject.line for reject in checked.rejects] == [1, 2, 3]
    assert checked.valid["line"].to_list() == [4]


def test_crlf_and_blank_lines_are_numbered() -> None:
    checked = decode(b"\r\n".join([line(), b"", b" \t", line(), line()]))
    assert checked.valid["line"].to_list() == [1, 4, 5]


def test_digits_below_the_microsecond_are_cut_off_before_1970_too() -> None:
    checked = decode(line(event_time="1969-12-31T23:59:59.9999999Z"))
    assert checked.valid["event_time"].to_physical().to_list() == [-1]


def test_the_text_of_properties_is_not_touched() -> None:
    text = r'{ "b":1.10,  "a":"C:\\new\u00e9\/", "a":[1E5 , 123456789012345678901234567890], "":null }'
    checked = decode(properties(text))
    assert checked.valid["properties"].to_list() == [text]


RANGE = "value_out_of_range"
CUSTOM = """
from __future__ import annotations
import pandera.polars as pa
import polars as pl
from pandera.api.polars.model_config import BaseConfig
UUID = r"^[0-9a-f-]{{36}}$"

class Events(pa.DataFrameModel):
    event_id: pl.String = pa.Field(str_matches=UUID, metadata={{"postgres": "uuid"}})
    {fields}

    class Config(BaseConfig):
        strict = True
        metadata = {{"version": "7", "unknown_fields": "{unknown}"}}
"""


def custom(folder: Path, fields: str, unknown: str = "reject") -> Contract:
    (folder / "events.py").write_text(CUSTOM.format(fields=fields, unknown=unknown))
    return contract.load(folder)


def codes_of(terms: Contract, *values: dict[str, object]) -> list[list[str]]:
    content = b"".join(json.dumps({"event_id": ID} | value).encode() + b"\n" for value in values)
    found: list[list[str]] = [[] for _ in values]
    for reject in decode(content, terms).rejects:
        found[reject.line - 1] = sorted(problem.code for problem in reject.problems)
    return found


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ('x: pl.Int64 = pa.Field(metadata={"postgres": "bigint"})', [0, -(2**63), 2**63 - 1], [1.5, "1", 2**63, None]),
        ('x: pl.Float64 = pa.Field(metadata={"postgres": "double precision"})', [0, 1.5, -1e300], ["1", True, None]),
        ('x: pl.Boolean = pa.Field(metadata={"postgres": "boolean"})', [True, False], [0, "true", None]),
        ('x: pl.String = pa.Field(isin=["a"], metadata={"postgres": "text"})', ["a"], ["b", "", None]),
        ('x: pl.String = pa.Field(nullable=True, metadata={"postgres": "text"})', ["a", None, ""], [7]),
        ('x: pl.Int64 = pa.Field(nullable=True, ge=3, metadata={"postgres": "bigint"})', [3, None], [2, "3"]),
        ('x: pl.String = pa.Field(nullable=True, metadata={"postgres": "jsonb"})', [None, [], 1, {"a": 1}], []),
    ],
)
def test_a_users_field_of_each_type(tmp_path: Path, field: str, good: list[object], bad: list[object]) -> None:
    terms = custom(tmp_path, field)
    assert terms.version == "7"
    assert codes_of(terms, *({"x": value} for value in good)) == [[] for _ in good]
    assert all(codes_of(terms, *({"x": value} for value in bad)))


UUID_FIELD = 'x: pl.String = pa.Field(nullable=True, metadata={"postgres": "uuid"}{more})'


def test_text_that_is_no_uuid_is_a_bad_one_in_each_field_of_that_type(tmp_path: Path) -> None:
    terms = custom(tmp_path, UUID_FIELD.replace("{more}", ""))
    good: list[object] = [ID, ID.upper(), None]
    assert codes_of(terms, *({"x": value} for value in good)) == [[] for _ in good]
    bad: list[object] = ["", "x", ID[:-1], ID.replace("-", ""), f"{{{ID}}}", f"{ID}\n"]
    assert codes_of(terms, *({"x": value} for value in bad)) == [["bad_uuid"] for _ in bad]
    (reject,) = decode(json.dumps({"event_id": ID, "x": "y"}).encode(), terms).rejects
    assert reject.problems == (Problem("bad_uuid", "x", "expected a UUID, hyphenated 8-4-4-4-12, found 'y'"),)


def test_a_uuid_that_its_field_checks_by_itself_is_not_checked_twice(tmp_path: Path) -> None:
    terms = custom(tmp_path, UUID_FIELD.replace("{more}", f', str_matches=r"{contract.UUID}"'))
    assert codes_of(terms, {"x": "y"}) == [["pattern_mismatch"]]


def test_a_nullable_field_may_be_absent(tmp_path: Path) -> None:
    terms = custom(tmp_path, 'x: pl.String = pa.Field(nullable=True, metadata={"postgres": "text"})')
    assert codes_of(terms, {}) == [[]]


def test_what_is_not_a_number_is_missing_where_one_is_required(tmp_path: Path) -> None:
    for nullable, lines in ("", [2, 3]), ("nullable=True, ", []):
        terms = custom(tmp_path, f'x: pl.Float64 = pa.Field({nullable}metadata={{"postgres": "double precision"}})')
        values = {"file_id": 1, "event_id": ID, "x": [1.5, math.nan, None]}
        frame = pl.DataFrame(values).select("file_id", pl.int_range(1, 4).alias("line"), "event_id", "x")
        checked = validate(Block(frame, {}, lambda rows: [Raw(b"", 0) for _ in rows]), terms)
        assert [reject.line for reject in checked.rejects] == lines
        assert {problem.code for reject in checked.rejects for problem in reject.problems} <= {"missing_field"}


def test_unknown_fields_are_dropped_where_the_contract_says_so(tmp_path: Path) -> None:
    terms = custom(tmp_path, 'x: pl.String = pa.Field(metadata={"postgres": "text"})', unknown="ignore")
    assert codes_of(terms, {"x": "a", "more": 1}, {"x": "a", "more": {"x": 1}}) == [[], []]
    assert decode(b'{"event_id":"%b","x":"a","more":1,"x":"b"}' % ID.encode(), terms).valid.is_empty()


def test_no_verdict_depends_on_the_rows_beside(tmp_path: Path) -> None:
    terms = custom(
        tmp_path, r'x: pl.String = pa.Field(str_matches=r"^.{2}yy", metadata={"postgres": "jsonb"})', unknown="reject"
    )
    row: dict[str, object] = {"x": {"yy": 1, "zz": 2, "b": 3, "a": 4}}
    assert codes_of(terms, row) == [[]]
    assert codes_of(terms, *[row] * 200) == [[]] * 200


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("unique=True, ", "field x: unique can't be checked here; event_id is unique in the table"),
        ('default="a", ', "field x: a default would be no fact; use nullable=True"),
    ],
)
def test_what_depends_on_other_rows_or_stands_in_no_file_is_refused(tmp_path: Path, field: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        custom(tmp_path, f'x: pl.String = pa.Field({field}metadata={{"postgres": "text"}})')


def test_a_check_of_whole_frames_is_refused(tmp_path: Path) -> None:
    check = "@pa.dataframe_check\n    def few(cls, data):\n        return True"
    with pytest.raises(UsageError, match="it can check fields, but not whole frames"):
        custom(tmp_path, check)


def test_a_check_of_the_users_own_gives_its_name_as_the_code(tmp_path: Path) -> None:
    terms = custom(
        tmp_path,
        """x: pl.String = pa.Field(metadata={"postgres": "text"})

    @pa.check("x", name="shouting")
    def is_calm(cls, data):
        return data.lazyframe.select(~pl.col(data.key).str.contains("!"))
""",
    )
    assert codes_of(terms, {"x": "a"}, {"x": "a!"}) == [[], ["shouting"]]


def test_a_check_that_fails_to_run_stops_the_run_instead_of_letting_rows_through(tmp_path: Path) -> None:
    terms = custom(
        tmp_path,
        """x: pl.String = pa.Field(metadata={"postgres": "text"})

    @pa.check("x", name="broken")
    def broken(cls, data):
        raise RuntimeError("no")
""",
    )
    with pytest.raises(UsageError, match="broken"):
        codes_of(terms, {"x": "a"})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ("x: pl.String = pa.Field()", "known types: uuid, text"),
        ('x: pl.Int64 = pa.Field(metadata={"postgres": "text"})', "is held as String"),
        ('line: pl.String = pa.Field(metadata={"postgres": "text"})', "the loader's own"),
        ('file_id: pl.Int64 = pa.Field(metadata={"postgres": "bigint"})', "the field name file_id is the loader's own"),
        ("x: no_such_name = 1", "events.py is broken: NameError"),
        ("_x = 1 / 0", "events.py is broken: ZeroDivisionError: division by zero"),
    ],
)
def test_a_broken_contract_says_what_is_wrong(tmp_path: Path, fields: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        custom(tmp_path, fields)


HEAD = """
from __future__ import annotations
import pandera.polars as pa
import polars as pl

"""
KEYED = """class {}(pa.DataFrameModel):
    event_id: pl.String = pa.Field(nullable={}, metadata={{"postgres": "{}"}})

"""


@pytest.mark.parametrize(
    ("models", "message"),
    [
        ("", "expected one pandera DataFrameModel, found 0"),
        (KEYED.format("A", "False", "uuid") + KEYED.format("B", "False", "uuid"), "DataFrameModel, found 2"),
        (KEYED.format("A", "True", "uuid"), "needs the field event_id, of Postgres type uuid and not nullable"),
        (KEYED.format("A", "False", "text"), "needs the field event_id, of Postgres type uuid and not nullable"),
        (KEYED.format("A", "False", "uuid").replace("event_id", "id"), "needs the field event_id"),
    ],
)
def test_a_contract_is_one_model_with_a_key(tmp_path: Path, models: str, message: str) -> None:
    (tmp_path / "events.py").write_text(HEAD + models)
    with pytest.raises(UsageError, match=message):
        contract.load(tmp_path)


def test_a_contract_that_says_no_more_has_no_version_and_rejects_unknown_fields(tmp_path: Path) -> None:
    (tmp_path / "events.py").write_text(HEAD + KEYED.format("Events", "False", "uuid"))
    terms = contract.load(tmp_path)
    assert (terms.version, terms.ignore_unknown, terms.columns) == ("unversioned", False, ["event_id"])
    assert terms.source == tmp_path / "events.py"


def test_unknown_fields_are_rejected_or_ignored_and_nothing_else(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown_fields is 'drop'; it can be 'reject' or 'ignore'"):
        custom(tmp_path, "", unknown="drop")


def test_threads_that_load_contracts_do_not_disturb_each_other() -> None:
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # Otherwise a thread is seldom interrupted in the middle of an import.
    try:
        with ThreadPoolExecutor(4) as pool:
            loaded = list(pool.map(lambda _: contract.load(), range(60)))
    finally:
        sys.setswitchinterval(interval)
    assert {terms.fields for terms in loaded} == {BUNDLED.fields}


def test_a_contract_can_import_its_neighbours_and_no_other_contracts(tmp_path: Path) -> None:
    for name in ("a", "b"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "neighbour.py").write_text(f'VERSION = "{name}"\n')
        text = CUSTOM.format(fields="", unknown="reject").replace('"7"', "VERSION")
        (folder / "events.py").write_text(
            text.replace("import polars", "from contracts.neighbour import VERSION\nimport polars")
        )
    assert [contract.load(tmp_path / name).version for name in ("a", "b", "a")] == ["a", "b", "a"]


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ('pl.String = pa.Field(str_matches="^a$", metadata={"postgres": "text"})', "b", "pattern_mismatch"),
        ('pl.String = pa.Field(str_contains="a", metadata={"postgres": "text"})', "b", "pattern_mismatch"),
        ('pl.String = pa.Field(str_length={"max_value": 1}, metadata={"postgres": "text"})', "bb", "bad_length"),
        ('pl.String = pa.Field(isin=["a"], metadata={"postgres": "text"})', "b", "value_not_allowed"),
        ('pl.String = pa.Field(notin=["b"], metadata={"postgres": "text"})', "b", "value_not_allowed"),
        ('pl.Int64 = pa.Field(eq=1, metadata={"postgres": "bigint"})', 2, "value_not_allowed"),
        ('pl.Int64 = pa.Field(ne=2, metadata={"postgres": "bigint"})', 2, "value_not_allowed"),
        ('pl.Int64 = pa.Field(in_range={"min_value": 3, "max_value": 4}, metadata={"postgres": "bigint"})', 2, RANGE),
        ('pl.Int64 = pa.Field(gt=2, metadata={"postgres": "bigint"})', 2, RANGE),
        ('pl.Int64 = pa.Field(ge=3, metadata={"postgres": "bigint"})', 2, RANGE),
        ('pl.Int64 = pa.Field(lt=2, metadata={"postgres": "bigint"})', 2, RANGE),
        ('pl.Int64 = pa.Field(le=1, metadata={"postgres": "bigint"})', 2, RANGE),
        ('pl.Int64 = pa.Field(le=1, metadata={"postgres": "bigint", "codes": {"less_than_or_equal_to": "c"}})', 2, "c"),
        ('pl.Int64 = pa.Field(ge=0, le=1, metadata={"postgres": "bigint", "codes": {"in_range": "c"}})', 2, RANGE),
    ],
)
def test_a_failed_check_has_the_code_of_its_kind_or_the_fields_own(
    tmp_path: Path, field: str, value: object, code: str
) -> None:
    assert codes_of(custom(tmp_path, f"x: {field}"), {"x": value}) == [[code]]


def test_a_missing_value_has_the_code_that_its_field_names(tmp_path: Path) -> None:
    terms = custom(
        tmp_path, 'x: pl.String = pa.Field(metadata={"postgres": "text", "codes": {"not_nullable": "who_is_it"}})'
    )
    assert terms.codes["x", "not_nullable"] == "who_is_it"
    assert terms.codes["event_id", "not_nullable"] == "missing_field"


def test_each_failed_check_of_a_field_has_its_own_code_and_message(tmp_path: Path) -> None:
    codes = {"str_contains": "no_dot", "str_length": "short", "str_matches": "shape"}
    terms = custom(
        tmp_path,
        'x: pl.String = pa.Field(str_contains="[.]", str_length={"min_value": 3}, str_matches="^a", '
        f'description="a name", metadata={{"postgres": "text", "codes": {codes}}})',
    )
    values: tuple[object, ...] = ("a.b", "abc", "x.", "b", "a")
    assert codes_of(terms, *({"x": value} for value in values)) == [
        *([], ["no_dot"], ["shape", "short"], ["no_dot", "shape", "short"], ["no_dot", "short"])
    ]
    (reject,) = decode(json.dumps({"event_id": ID, "x": "x.y"}).encode(), terms).rejects
    assert reject.problems == (Problem("shape", "x", "expected a name, found 'x.y'"),)


def test_a_check_without_a_description_is_spelled_out(tmp_path: Path) -> None:
    terms = custom(tmp_path, 'x: pl.Int64 = pa.Field(le=1, metadata={"postgres": "bigint"})')
    (reject,) = decode(json.dumps({"event_id": ID, "x": 2}).encode(), terms).rejects
    assert reject.problems == (Problem(RANGE, "x", "expected less_than_or_equal_to(1), found '2'"),)


@pytest.mark.parametrize("switch", ["PANDERA_VALIDATION_ENABLED=False", "PANDERA_VALIDATION_DEPTH=SCHEMA_ONLY"])
def test_the_environment_cannot_turn_validation_off(tmp_path: Path, switch: str) -> None:
    path = tmp_path / "a.ndjson"
    path.write_bytes(line(event_id="x"))
    done = subprocess.run(
        [sys.executable, "-m", "loader", "validate", str(path)],
        env=os.environ | dict([switch.split("=")]),
        capture_output=True,
        check=False,
    )
    assert done.returncode == 3


@pytest.mark.parametrize("field", ["event_id", "event_time"])
def test_a_message_shows_the_value_and_shortens_a_long_one(field: str) -> None:
    (short,) = decode(line(**{field: "x" * 80})).rejects
    (long,) = decode(line(**{field: "x" * 81})).rejects
    assert f"'{'x' * 80}'" in short.problems[0].message
    assert f"'{'x' * 77}...'" in long.problems[0].message
