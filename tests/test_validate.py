"""Blocks of rows against a contract: every row is valid or rejected, with what was known of it before."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl

from loader import contract
from loader.model import Block, Counts, Problem, Raw, Reject
from loader.validate import validate

BUNDLED = contract.load()
ID = "e31689d9-f900-55b9-a7af-60c4d79e342f"
MISSING = "the value is missing (null)"
BAD = Problem("bad_timestamp", "event_time", "'now' is not an RFC 3339 timestamp")
EMPTY = Problem("empty_string", "user_id", "expected text that is not empty, found ''")
NO_UUID = Problem("bad_uuid", "event_id", "expected a UUID, hyphenated 8-4-4-4-12, found 'x'")


def block(problems: dict[int, list[Problem]], *changes: dict[str, object]) -> Block:
    good = {
        "event_id": ID,
        "event_name": "n",
        "event_time": datetime(2024, 5, 1, tzinfo=UTC),
        "user_id": "u",
        "properties": "{}",
    }
    dtypes = {"file_id": pl.Int64(), "line": pl.Int64(), **{field.name: field.kind.dtype for field in BUNDLED.fields}}
    rows = [{"file_id": 7, "line": 11 + row} | good | change for row, change in enumerate(changes)]
    return Block(
        pl.DataFrame(rows, schema=dtypes), problems, lambda some: [Raw(b"row %d" % row, 100 + row) for row in some]
    )


def test_a_block_of_valid_rows_stays_as_it_is() -> None:
    rows = block({}, {}, {}, {})
    checked = validate(rows, BUNDLED)
    assert checked.rejects == []
    assert checked.valid.equals(rows.frame)


def test_each_row_is_valid_or_rejected() -> None:
    rows = block({3: [BAD]}, {}, {"user_id": ""}, {}, {"event_time": None}, {}, {"event_id": "x"})
    checked = validate(rows, BUNDLED)
    assert checked.valid.equals(rows.frame[[0, 2, 4]])
    assert checked.rejects == [
        Reject(7, 12, (EMPTY,), Raw(b"row 1", 101)),
        Reject(7, 14, (BAD,), Raw(b"row 3", 103)),
        Reject(7, 16, (NO_UUID,), Raw(b"row 5", 105)),
    ]


def test_rows_may_all_be_rejected() -> None:
    checked = validate(block({}, {"user_id": ""}, {"user_id": ""}), BUNDLED)
    assert checked.valid.height == 0
    assert [reject.line for reject in checked.rejects] == [11, 12]


def test_a_value_that_is_missing_is_a_problem_unless_it_is_known_why() -> None:
    nothing: dict[str, object] = dict.fromkeys(BUNDLED.columns)
    known = [Problem("unknown_field", "more", ""), BAD]
    whole = [Problem("malformed_json", None, "")]
    checked = validate(block({1: known, 2: whole}, nothing, nothing, nothing), BUNDLED)
    missing = [Problem("missing_field", name, MISSING) for name in BUNDLED.columns]
    assert sorted(checked.rejects[0].problems) == sorted(missing)
    assert sorted(checked.rejects[1].problems) == sorted([*known, *(it for it in missing if it.column != "event_time")])
    assert checked.rejects[2].problems == tuple(whole)


def test_the_problems_of_a_row_are_in_the_order_of_the_fields() -> None:
    checked = validate(block({}, {"event_id": "x", "event_name": None, "user_id": ""}), BUNDLED)
    assert checked.rejects[0].problems == (NO_UUID, Problem("missing_field", "event_name", MISSING), EMPTY)


def test_an_unknown_field_says_nothing_of_a_missing_one_of_its_name() -> None:
    checked = validate(block({0: [Problem("unknown_field", "user_id", "")]}, {"user_id": None}), BUNDLED)
    assert [problem.code for problem in checked.rejects[0].problems] == ["unknown_field", "missing_field"]


def test_other_failures_of_a_field_are_told_beside_what_was_known_of_it() -> None:
    known = Problem("null_character", "properties", "")
    checked = validate(block({0: [known]}, {"properties": "[]"}), BUNDLED)
    assert checked.rejects[0].problems == (
        known,
        Problem("properties_not_object", "properties", "expected a JSON object, found '[]'"),
    )


def test_what_was_known_of_a_block_stays_as_it_was() -> None:
    rows = block({0: [BAD]}, {"event_time": None, "user_id": ""}, {"user_id": ""})
    first = validate(rows, BUNDLED)
    assert rows.problems == {0: [BAD]}
    assert validate(rows, BUNDLED).rejects == first.rejects


def test_a_long_value_is_shortened() -> None:
    checked = validate(block({}, {"event_id": "x" * 80}, {"event_id": "x" * 81}), BUNDLED)
    assert [reject.problems[0].message.partition("found ")[2] for reject in checked.rejects] == [
        *(f"'{'x' * 80}'", f"'{'x' * 77}...'")
    ]


def test_conflicts_and_rejects_are_in_quarantine() -> None:
    assert Counts(read=15, inserted=1, duplicates=2, conflicts=4, rejected=8).quarantined == 12
    assert Counts() == Counts(0, 0, 0, 0, 0)
