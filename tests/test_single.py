"""One event at a time: the same contract, the same merge."""

from __future__ import annotations

import math
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row, namedtuple_row

from loader import ValidationError, ingest_event, validate_event
from tests.support import Load, Query, event, quarantined, write_ndjson


def codes(error: pytest.ExceptionInfo[ValidationError]) -> list[str]:
    return [problem.code for problem in error.value.problems]


def test_a_new_event_is_stored_and_a_retry_is_not_new(database: str, query: Query) -> None:
    one = event()
    with psycopg.connect(database, autocommit=True) as connection:
        assert ingest_event(one, connection=connection) is True
        assert ingest_event(one, connection=connection) is False
    assert query("SELECT event_id::text, file_id, line FROM events") == [(one["event_id"], 0, 0)]


def test_another_event_under_a_known_id_is_a_conflict(database: str, query: Query) -> None:
    one = event()
    with psycopg.connect(database, autocommit=True) as connection:
        ingest_event(one, connection=connection)
        with pytest.raises(ValidationError) as error:
            ingest_event(one | {"user_id": "other"}, connection=connection)
        assert ingest_event(event(), connection=connection) is True
    assert codes(error) == ["conflict"]
    assert "ingest_event()" in str(error.value)
    assert query("SELECT count(*) FROM events") == [(2,)]


def test_the_event_is_part_of_the_callers_transaction(database: str, query: Query) -> None:
    with psycopg.connect(database) as connection:
        with connection.transaction(force_rollback=True):
            ingest_event(event(), connection=connection)
            ingest_event(event(), connection=connection)
        ingest_event(event(), connection=connection)
    assert query("SELECT count(*) FROM events") == [(1,)]


def test_the_database_comes_from_the_settings_and_is_migrated(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", empty_database)
    one = event()
    assert ingest_event(one) is True
    assert ingest_event(one) is False


def test_a_file_and_a_single_event_know_each_other(load: Load, database: str, landing: Path) -> None:
    one = event()
    with psycopg.connect(database, autocommit=True) as connection:
        ingest_event(one, connection=connection)
    write_ndjson(landing / "a.ndjson", one, one | {"user_id": "other"})
    _, report = load()
    assert (report["duplicates"], report["conflicts"]) == (1, 1)
    assert "from ingest_event()" in quarantined(landing)[0]["errors"][0]["message"]


def test_every_reason_is_given() -> None:
    with pytest.raises(ValidationError) as error:
        validate_event({"event_id": "x", "event_name": "", "user_id": 7, "properties": [], "more": 1})
    assert sorted(codes(error)) == [
        *("bad_uuid", "empty_string", "missing_field", "properties_not_object", "unknown_field", "wrong_type")
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"properties": {"n": math.nan}},
        {"properties": {1: "a key that is no string"}},
        {"properties": {"deep": [{"er": {2: 1}}]}},
        {"event_id": uuid.uuid4()},
        {"properties": {"set": {1, 2}}},
    ],
)
def test_what_is_not_plain_json_is_refused_not_coerced(changes: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as error:
        validate_event(event(**changes))
    assert codes(error) == ["not_json"]


def test_a_row_that_postgres_refuses_leaves_the_connection_usable(database: str, query: Query) -> None:
    query("ALTER TABLE events ADD CHECK (user_id <> 'bot')")
    with psycopg.connect(database, autocommit=True) as connection:
        with pytest.raises(ValidationError) as error:
            ingest_event(event(user_id="bot"), connection=connection)
        assert ingest_event(event(), connection=connection) is True
    assert codes(error) == ["refused_by_postgres"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("row_factory", dict_row), ("row_factory", namedtuple_row), ("cursor_factory", psycopg.RawCursor)],
)
def test_the_callers_cursors_and_rows_may_be_of_any_kind_and_stay_so(database: str, name: str, value: Any) -> None:
    one = event()
    with psycopg.connect(database, autocommit=True) as connection:
        setattr(connection, name, value)
        assert ingest_event(one, connection=connection) is True
        with pytest.raises(ValidationError) as error:
            ingest_event(one | {"user_id": "other"}, connection=connection)
        assert getattr(connection, name) is value
    assert codes(error) == ["conflict"]


def test_the_callers_connection_may_prepare_every_statement(database: str) -> None:
    with psycopg.connect(database, autocommit=True, prepare_threshold=0) as connection:
        assert ingest_event(event(), connection=connection) is True
