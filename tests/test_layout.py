"""Lines that are spelled alike are decoded as columns; nobody can tell that from the outcome."""

from __future__ import annotations

import json
from typing import Any
from unittest import mock

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader import contract, ndjson
from loader.contract import Contract
from loader.layout import Layout, learn
from loader.model import Validated
from loader.text import Text
from loader.validate import validate

TERMS = contract.load()
ID = "0b4a1f3e-7a66-4a2e-9f55-0d6f2f0a6c01"
EVENT = {
    "event_id": ID,
    "event_name": "page_viewed",
    "event_time": "2026-01-02T03:04:05.678Z",
    "user_id": "u-1",
    "properties": {"a": [1, {"user_id": "x"}]},
}


def checked(lines: list[bytes], *, few: int, limit: int = 10_000) -> Validated:
    """Decode and validate lines, as columns where there are `few` or more of them."""
    with mock.patch.object(ndjson, "_FEW", few):
        rows = ndjson.Rows()
        decoder = ndjson.Decoder(TERMS, max_line_bytes=limit)
        decoder.add(rows, b"\n".join(lines) + b"\n", file_id=1, first_line=1)
        return validate(decoder.block(rows), TERMS)


def assert_same_outcome(lines: list[bytes], *, limit: int = 10_000) -> None:
    as_columns, singly = checked(lines, few=1, limit=limit), checked(lines, few=len(lines) + 1, limit=limit)
    assert as_columns.rejects == singly.rejects
    assert as_columns.valid.sort("line").equals(singly.valid.sort("line"), null_equal=True)
    assert as_columns.valid.schema == singly.valid.schema


def spelled(event: dict[str, Any], **dumps: Any) -> bytes:
    return json.dumps(event, **dumps).encode()


SPELLINGS = {
    "compact": spelled(EVENT, separators=(",", ":")),
    "with spaces": spelled(EVENT),
    "with keys sorted, the document in the middle": spelled(EVENT, sort_keys=True),
    "with the document first": spelled({key: EVENT[key] for key in reversed(EVENT)}),
    "with a carriage return": spelled(EVENT) + b"\r",
    "with white space around": b" \t" + spelled(EVENT) + b" \t ",
    "with other than ASCII": spelled(EVENT | {"user_id": "Zoë 🎉"}, ensure_ascii=False),
}


@pytest.mark.parametrize("line", SPELLINGS.values(), ids=SPELLINGS)
def test_a_line_of_any_producer_has_a_layout_that_takes_it(line: bytes) -> None:
    text = line.decode()
    layout = learn(text, TERMS)
    assert layout is not None
    taken, columns = layout.take(Text([line + b"\n"]), np.arange(1), max_bytes=10_000)
    assert taken.tolist() == [0]
    (row,) = pl.DataFrame(columns).iter_rows(named=True)
    given_event = json.loads(line)
    assert json.loads(row.pop("properties")) == given_event.pop("properties")
    assert row == given_event
    assert_same_outcome([line])


NO_LAYOUT = {
    "no JSON": "{",
    "no object": "[1]",
    "a field missing": '{"event_id":"1"}',
    "a field too many": spelled(EVENT | {"more": 1}).decode(),
    "a key that stands twice": spelled(EVENT).decode()[:-1] + ', "user_id": "u-1"}',
    "the last key twice, the same value": spelled({key: EVENT[key] for key in reversed(EVENT)}).decode()[:-1]
    + f', "event_id": "{ID}"}}',
    "an escaped key": spelled(EVENT).decode().replace("user_id", r"user\u005fid", 1),
    "a number for a string": spelled(EVENT | {"user_id": 7}).decode(),
    "an array for the document": spelled(EVENT | {"properties": []}).decode(),
    "nested beyond all measure": '{"properties":' + '{"a":' * 3000 + "1" + "}" * 3001,
}


@pytest.mark.parametrize("text", NO_LAYOUT.values(), ids=NO_LAYOUT)
def test_nothing_is_learned_from_a_line_that_is_not_as_it_should_be(text: str) -> None:
    assert learn(text, TERMS) is None


# Each is put between lines from which the layout is learned. `{0}` is the layout's line.
LINE = SPELLINGS["compact"].decode()
TRAPS = {
    "a quote in a string": LINE.replace("page_viewed", r"a\"b"),
    "an escape in a string": LINE.replace("page_viewed", r"a\u0062"),
    "a backslash at a string's end": LINE.replace("page_viewed", "a\\"),
    "a control character in a string": LINE.replace("page_viewed", "a\tb"),
    "a mark inside of a string": LINE.replace("page_viewed", r"a\",\"event_time\":\"2026-01-01T00:00:00Z"),
    "a mark inside of the document": LINE.replace('"x"', r'"\",\"user_id\":\"y"'),
    "a key twice": LINE.replace('"user_id":"u-1"', '"user_id":"u-2","user_id":"u-1"'),
    "a key once more behind the document": LINE[:-1] + ',"user_id":"u-2"}',
    "a document twice": LINE[:-1] + ',"properties":{}}',
    "an unknown key behind the document": LINE[:-1] + ',"more":{}}',
    "a document that ends early": LINE.replace('{"a":[1,', '{"a":1},{"b":[1,'),
    "a document without its end": LINE.replace("}]}}", "}}"),
    "a bracket too many": LINE.replace("}]}}", "}]}}}"),
    "an empty document": LINE.replace('{"a":[1,{"user_id":"x"}]}', "{}"),
    "no document but null": LINE.replace('{"a":[1,{"user_id":"x"}]}', "null"),
    "a document with NaN": LINE.replace("[1,", "[NaN,"),
    "a document with \\u0000": LINE.replace('"x"', r'"\u0000"'),
    "a document with a lone surrogate": LINE.replace('"x"', r'"\ud800"'),
    "a key twice in the document": LINE.replace('"a":', '"a":0,"a":'),
    "a document that is too deep": LINE.replace("[1,", "[" + "[" * 600 + "]" * 600 + ","),
    "an empty string": LINE.replace("u-1", ""),
    "two documents on a line": LINE + LINE,
    "a comma behind the line": LINE + ",",
    "a bad UUID": LINE.replace("0b4a1f3e", "0b4a1f3g"),
    "an impossible day": LINE.replace("2026-01-02", "2026-02-30"),
    "no offset": LINE.replace("678Z", "678"),
    "a leap day": LINE.replace("2026-01-02", "2024-02-29"),
    "nine digits of a second": LINE.replace("678Z", "678999999Z"),
    "small letters": LINE.replace("T03", "t03").replace("678Z", "678z"),
    "another order of keys": SPELLINGS["with the document first"].decode(),
    "a blank line": " \t",
    "nothing": "",
    "half a line": LINE[:40],
}


@pytest.mark.parametrize("trap", TRAPS.values(), ids=TRAPS)
def test_a_line_that_only_looks_alike_gets_the_verdict_that_it_gets_alone(trap: str) -> None:
    good = [LINE.replace("u-1", f"u-{number}").encode() for number in range(6)]
    assert_same_outcome([*good[:3], trap.encode(), *good[3:]])


@pytest.mark.parametrize("behind", ["garbage", '{"a":"z"}', "}", " x", ',"b":"z"}', "\u2028"])
def test_nothing_may_stand_behind_the_end_of_a_line_without_a_document(behind: str) -> None:
    layout = Layout(("a",), ('{"a":"', '"}'), None, may_be_sorted=False)
    lines = ['{"a":"x"}', '{"a":"y"}' + behind, '{"a":"z"}']
    taken, columns = layout.take(Text([f"{line}\n".encode() for line in lines]), np.arange(3), max_bytes=100)
    assert taken.tolist() == [0, 2]
    assert columns["a"].to_list() == ["x", "z"]


def test_a_document_may_not_be_finished_by_the_next_line() -> None:
    begun, finished = (
        LINE.replace("[1,", '[{"b":1}').replace(',{"user_id":"x"}]}', ""),
        LINE.replace('"a":[1,', '"a":1,'),
    )
    assert_same_outcome([LINE.encode(), begun.encode(), finished.encode(), LINE.encode()])


def test_a_string_that_goes_over_the_ends_of_documents_is_not_made_up_for_by_two_documents_on_a_line() -> None:
    document = '{"a":[1,{"user_id":"x"}]}'
    lines = [LINE.replace(document, other).encode() for other in ('{"a":"}', '{"}', "{}{}", "{}")]
    assert_same_outcome([LINE.encode(), *lines, LINE.encode()])
    assert [reject.line for reject in checked(lines, few=1).rejects] == [1, 2, 3]


def test_a_line_that_is_not_utf8_costs_only_itself() -> None:
    lines = [LINE.encode(), LINE.encode().replace(b"u-1", b"u-\xff"), LINE.encode()]
    assert_same_outcome(lines)
    assert [reject.line for reject in checked(lines, few=1).rejects] == [2]


def test_a_line_over_the_limit_is_rejected_however_it_is_spelled() -> None:
    long = LINE.replace("page_viewed", "x" * 2_000).encode()
    assert_same_outcome([LINE.encode(), long, LINE.encode()], limit=1_000)
    (reject,) = checked([LINE.encode(), long], few=1, limit=1_000).rejects
    assert (reject.problems[0].code, reject.raw.length) == ("line_too_long", len(long))


PARTS = ['"', "\\", "{", "}", "[", "]", ",", ":", " ", "\\u0041", "\\u0000", "\n", "\t", "é", "0", "null"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_lines_of_mixed_producers_damaged_at_random_get_the_verdicts_that_they_get_alone(data: st.DataObject) -> None:
    lines = []
    for line in data.draw(st.lists(st.sampled_from(list(SPELLINGS.values())), min_size=1, max_size=12)):
        text = line.decode()
        for _ in range(data.draw(st.sampled_from([0, 0, 1, 2]))):
            place = data.draw(st.integers(0, len(text)))
            cut = data.draw(st.integers(0, 3))
            text = text[:place] + data.draw(st.sampled_from(PARTS)) + text[place + cut :]
        lines += text.encode().split(b"\n")
    assert_same_outcome(lines)


def test_a_producer_without_any_order_is_not_learned_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    learned: list[Layout | None] = []

    def noting(line: str, contract: Contract) -> Layout | None:
        learned.append(learn(line, contract))
        return learned[-1]

    monkeypatch.setattr(ndjson, "learn", noting)
    lines = [SPELLINGS["compact"] + b" " * number for number in range(300)]
    assert not checked(lines, few=2).rejects
    assert len(set(learned)) <= ndjson._MAX_TRIED


@pytest.mark.parametrize("files", [1, 15, 16, 50])
def test_keys_are_sorted_where_postgres_would_be_waited_for_but_not_those_of_many_small_files(files: int) -> None:
    unsorted, in_order = '{"device":1,"page":2,"b":3,"a":4}', '{"a":4,"b":3,"page":2,"device":1}'
    line = spelled(EVENT | {"properties": 0}, separators=(",", ":")).replace(b'"properties":0', b'"properties":%b')
    rows = ndjson.Rows()
    decoder = ndjson.Decoder(TERMS, max_line_bytes=10_000)
    for file_id in range(files):
        decoder.add(rows, (line % unsorted.encode() + b"\n") * 100, file_id=file_id, first_line=1)
    assert set(decoder.block(rows).frame["properties"]) == {in_order if files < 16 else unsorted}
