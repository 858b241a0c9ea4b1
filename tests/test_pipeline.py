"""A run as its user sees it: files in, rows accounted for, files moved."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loader import decode, errors, jsonb, ndjson
from tests.support import Load, Query, event, quarantined, write_ndjson


def test_a_file_is_loaded_and_archived(load: Load, query: Query, landing: Path) -> None:
    events = [event() for _ in range(3)]
    write_ndjson(landing / "a.ndjson", *events)

    code, report = load()

    assert code == 0
    assert (report["read"], report["inserted"]) == (3, 3)
    assert {str(row[0]) for row in query("SELECT event_id FROM events")} == {e["event_id"] for e in events}
    assert not list(landing.glob("*.ndjson"))
    assert len(list(landing.glob("archive/*/a.????????.ndjson"))) == 1


def test_every_event_says_which_file_and_line_brought_it(load: Load, query: Query, landing: Path) -> None:
    first, second = event(), event()
    write_ndjson(landing / "a.ndjson", first, "", second)
    load()
    rows = query("SELECT event_id::text, name, line FROM events JOIN loader_files USING (file_id) ORDER BY line")
    assert rows == [(first["event_id"], "a.ndjson", 1), (second["event_id"], "a.ndjson", 3)]


def test_the_same_content_is_skipped_whatever_its_name(load: Load, landing: Path) -> None:
    content = write_ndjson(landing / "a.ndjson", event()).read_bytes()
    load()
    (landing / "b.ndjson").write_bytes(content)

    code, report = load()

    assert code == 0
    assert [file["status"] for file in report["files"]] == ["skipped"]
    assert "as a.ndjson" in report["files"][0]["error"]
    assert not list(landing.glob("*.ndjson"))


def test_the_same_name_with_new_content_is_loaded(load: Load, query: Query, landing: Path) -> None:
    for _ in range(2):
        write_ndjson(landing / "a.ndjson", event())
        load()
    assert query("SELECT count(*) FROM events") == [(2,)]
    assert len(list(landing.glob("archive/*/a.*.ndjson"))) == 2


def test_the_same_content_twice_in_one_run_is_loaded_once(load: Load, query: Query, landing: Path) -> None:
    content = write_ndjson(landing / "a.ndjson", event()).read_bytes()
    (landing / "b.ndjson").write_bytes(content)
    _, report = load()
    assert sorted(file["status"] for file in report["files"]) == ["loaded", "skipped"]
    assert query("SELECT count(*) FROM events") == [(1,)]


def test_a_retried_event_is_a_duplicate_however_its_json_is_spelled(load: Load, query: Query, landing: Path) -> None:
    original = event(properties={"b": 1.0, "a": [1, None]})
    retried = original | {
        "properties": {"a": [1, None], "b": 1},
        "event_id": original["event_id"].upper(),
        "event_time": "2024-05-01T14:00:00+02:00",
    }
    write_ndjson(landing / "a.ndjson", original, retried)
    write_ndjson(landing / "b.ndjson", retried)
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (1, 2, 0)
    assert query("SELECT line FROM events") == [(1,)]


def test_another_content_under_a_known_id_is_a_conflict(load: Load, query: Query, landing: Path) -> None:
    first = event(user_id="first")
    second = first | {"user_id": "second", "event_name": "other"}
    write_ndjson(landing / "a.ndjson", first)
    load()
    write_ndjson(landing / "b.ndjson", event(), second)

    code, report = load()

    assert code == 3
    assert (report["inserted"], report["conflicts"]) == (1, 1)
    assert query("SELECT user_id FROM events WHERE event_id = %(id)s", {"id": first["event_id"]}) == [("first",)]
    (row,) = quarantined(landing)
    assert row["line"] == 2
    assert row["errors"][0]["code"] == "conflict"
    assert row["errors"][0]["column"] == "event_name, user_id"
    assert "line 1 of a.ndjson" in row["errors"][0]["message"]
    assert json.loads(row["raw"]) == second


def test_a_conflict_inside_one_file_keeps_the_first_line(load: Load, query: Query, landing: Path) -> None:
    first = event(user_id="first")
    write_ndjson(landing / "a.ndjson", first, first | {"user_id": "second"}, first | {"user_id": "third"})
    _, report = load()
    assert (report["inserted"], report["conflicts"]) == (1, 2)
    assert query("SELECT user_id FROM events") == [("first",)]
    assert [row["line"] for row in quarantined(landing)] == [2, 3]
    assert "line 1 of the same file" in quarantined(landing)[0]["errors"][0]["message"]


def test_of_files_in_one_run_the_older_wins(load: Load, query: Query, landing: Path) -> None:
    shared = event()
    write_ndjson(landing / "b.ndjson", shared | {"user_id": "older"})
    write_ndjson(landing / "a.ndjson", shared | {"user_id": "newer"})
    for name, moment in (("b", 1_000), ("a", 2_000)):
        os.utime(landing / f"{name}.ndjson", (moment, moment))
    _, report = load()
    assert report["conflicts"] == 1
    assert query("SELECT user_id FROM events") == [("older",)]


@pytest.mark.parametrize("place", range(4))
def test_of_files_in_one_run_the_older_wins_however_large_it_turns_out_to_be(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch, place: int
) -> None:
    monkeypatch.setattr(decode, "SHARED_FILE_BYTES", 10_000)
    shared = event()
    for number in range(4):
        rows = [shared | {"user_id": f"file {number}"}, *(event() for _ in range(200 * (number == place)))]
        content = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
        (landing / f"{number}.ndjson.gz").write_bytes(content)
        os.utime(landing / f"{number}.ndjson.gz", (number + 1, number + 1))
    _, report = load()
    assert (report["read"], report["inserted"], report["conflicts"]) == (204, 201, 3)
    assert query("SELECT user_id FROM events WHERE line = 1") == [("file 0",)]
    assert sorted(file["name"] for file in report["files"]) == [f"{number}.ndjson.gz" for number in range(4)]
    assert {row["source"] for row in quarantined(landing)} == {f"{number}.ndjson.gz" for number in range(1, 4)}


def test_the_ledger_counts_rejected_rows_by_code(load: Load, query: Query, landing: Path) -> None:
    first = event()
    rows = [first, event(user_id=""), event(user_id="", event_time="now"), first | {"user_id": "other"}]
    write_ndjson(landing / "a.ndjson", *rows)
    _, report = load()
    codes = {code for row in quarantined(landing) for code in {error["code"] for error in row["errors"]}}
    ((counted,),) = query("SELECT reject_codes FROM loader_files")
    assert set(counted) == codes
    assert counted["conflict"] == 1
    assert sum(counted.values()) == 4
    assert report["files"][0]["reject_codes"] == counted


def test_rejected_rows_go_to_quarantine_verbatim_and_the_rest_is_loaded(
    load: Load, query: Query, landing: Path
) -> None:
    bad = b'{"event_id": 7,   "oops"\xff'
    good = event()
    write_ndjson(landing / "a.ndjson", good, bad, '{"event_id":"x"}')

    code, report = load()

    assert code == 3
    assert (report["read"], report["inserted"], report["rejected"]) == (3, 1, 2)
    first, second = quarantined(landing)
    assert first["source"] == "a.ndjson"
    assert first["line"] == 2
    assert base64.b64decode(first["raw_base64"]) == bad
    assert second["raw"] == '{"event_id":"x"}'
    assert {error["code"] for error in second["errors"]} == {"missing_field", "bad_uuid"}
    (path,) = (landing / "quarantine").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    assert report["files"][0]["quarantine"] == str(path)
    assert query("SELECT count(*) FROM events") == [(1,)]


def test_a_file_over_its_budget_is_refused_whole_and_its_report_written(
    load: Load, query: Query, landing: Path
) -> None:
    write_ndjson(landing / "bad.ndjson", event(), "{", "{")
    write_ndjson(landing / "good.ndjson", event(), "{")

    code, report = load("--max-rejects", "1")

    assert code == 1
    by_name = {file["name"]: file for file in report["files"]}
    assert by_name["bad.ndjson"]["status"] == "refused"
    assert by_name["bad.ndjson"]["error"].startswith("over_budget: 2 of 3 rows")
    assert (by_name["bad.ndjson"]["inserted"], report["inserted"]) == (0, 1)
    assert by_name["good.ndjson"]["status"] == "loaded"
    assert query("SELECT count(*) FROM events") == [(1,)]
    assert len(quarantined(landing)) == 3
    assert len(list(landing.glob("quarantine/bad.????????.ndjson"))) == 1
    assert len(list(landing.glob("quarantine/bad.????????.error.json"))) == 1


def test_rejects_over_a_budget_are_in_quarantine_once_whatever_shares_the_load(load: Load, landing: Path) -> None:
    content = write_ndjson(landing / "known.ndjson", event()).read_bytes()
    load()
    (landing / "known.ndjson").write_bytes(content)
    write_ndjson(landing / "bad.ndjson", event(), "{", "{")
    _, report = load("--max-rejects", "1")
    assert sorted(file["status"] for file in report["files"]) == ["refused", "skipped"]
    assert sorted(row["line"] for row in quarantined(landing)) == [2, 3]


def test_a_file_that_is_over_its_budget_again_has_its_rejects_in_quarantine_once(load: Load, landing: Path) -> None:
    content = write_ndjson(landing / "a.ndjson", event(), "{").read_bytes()
    for _ in range(2):
        (landing / "a.ndjson").write_bytes(content)
        assert load("--max-rejects", "0")[0] == 1
    assert [row["line"] for row in quarantined(landing)] == [2]


def test_a_ratio_is_a_budget_too_and_conflicts_count(load: Load, query: Query, landing: Path) -> None:
    shared = event()
    write_ndjson(landing / "a.ndjson", shared, shared | {"user_id": "other"}, event(), event())
    assert load("--max-reject-ratio", "0.2")[0] == 1
    assert query("SELECT count(*) FROM events") == [(0,)]


def test_a_refused_content_can_be_loaded_when_the_budget_allows_it(load: Load, query: Query, landing: Path) -> None:
    content = write_ndjson(landing / "a.ndjson", event(), "{").read_bytes()
    load("--max-rejects", "0")
    (landing / "a.ndjson").write_bytes(content)
    assert load()[0] == 3
    assert len(quarantined(landing)) == 1
    assert query("SELECT status, rows_read, rows_inserted, rows_rejected FROM loader_files") == [("loaded", 2, 1, 1)]


def test_a_truncated_gzip_is_refused_and_leaves_nothing(load: Load, query: Query, landing: Path) -> None:
    whole = gzip.compress("".join(json.dumps(event()) + "\n" for _ in range(2_000)).encode())
    (landing / "cut.ndjson.gz").write_bytes(whole[: len(whole) // 2])
    write_ndjson(landing / "good.ndjson", event())

    code, report = load()

    assert code == 1
    assert {file["name"]: file["status"] for file in report["files"]} == {
        "cut.ndjson.gz": "refused",
        "good.ndjson": "loaded",
    }
    assert query("SELECT count(*) FROM events") == [(1,)]
    (error,) = landing.glob("quarantine/cut.*.error.json")
    assert json.loads(error.read_text())["code"] == "truncated"
    assert len(list(landing.glob("quarantine/cut.????????.ndjson.gz"))) == 1


def test_a_row_that_a_users_constraint_refuses_is_quarantined_alone(load: Load, query: Query, landing: Path) -> None:
    query("ALTER TABLE events ADD CONSTRAINT no_bots CHECK (user_id <> 'bot')")
    events = [event() for _ in range(50)]
    bots = [events[i] | {"event_id": event()["event_id"], "user_id": "bot"} for i in (3, 4, 40)]
    write_ndjson(landing / "a.ndjson", *events[:20], *bots, *events[20:])

    code, report = load()

    assert code == 3
    assert (report["inserted"], report["rejected"]) == (50, 3)
    rows = quarantined(landing)
    assert [row["line"] for row in rows] == [21, 22, 23]
    assert {row["errors"][0]["code"] for row in rows} == {"refused_by_postgres"}
    assert "no_bots" in rows[0]["errors"][0]["message"]
    assert json.loads(rows[0]["raw"])["user_id"] == "bot"


@pytest.mark.parametrize("rows", [20, 300])  # merged, and copied straight into events
def test_a_row_without_its_counterpart_is_quarantined_alone_where_that_is_checked_at_commit(
    load: Load, query: Query, landing: Path, rows: int
) -> None:
    query("CREATE TABLE users AS SELECT 'user-1' AS user_id")
    query("ALTER TABLE users ADD PRIMARY KEY (user_id)")
    query("ALTER TABLE events ADD FOREIGN KEY (user_id) REFERENCES users DEFERRABLE INITIALLY DEFERRED")
    events = [event(user_id="nobody" if number == 13 else "user-1") for number in range(rows)]
    write_ndjson(landing / "a.ndjson", *events)
    write_ndjson(landing / "b.ndjson", event())

    code, report = load()

    assert (code, report["inserted"], report["rejected"]) == (3, rows, 1)
    (row,) = quarantined(landing)
    assert (row["line"], row["errors"][0]["code"]) == (14, "refused_by_postgres")
    assert "violates foreign key constraint" in row["errors"][0]["message"]


@pytest.mark.parametrize("rows", [20, 300])
def test_a_row_that_repeats_another_value_is_quarantined_alone_where_that_is_checked_at_commit(
    load: Load, query: Query, landing: Path, rows: int
) -> None:
    query("ALTER TABLE events ADD UNIQUE (user_id) DEFERRABLE INITIALLY DEFERRED")
    events = [event(user_id=f"user-{3 if number == 13 else number}") for number in range(rows)]
    write_ndjson(landing / "a.ndjson", *events)
    write_ndjson(landing / "b.ndjson", event(user_id="another"))

    code, report = load()

    assert (code, report["inserted"], report["rejected"]) == (3, rows, 1)
    (row,) = quarantined(landing)
    assert (row["line"], row["errors"][0]["code"]) == (14, "refused_by_postgres")
    assert "events_user_id_key" in row["errors"][0]["message"]


def test_a_row_that_copy_refuses_is_quarantined_alone(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if jsonb refused something that the loader does not know of."""
    monkeypatch.setattr(jsonb, "find_problems", lambda _: iter(()))
    lines: list[Any] = [event() for _ in range(30)]
    for number in (0, 13, 29):
        lines[number] = json.dumps(event(properties={"n": "NUMBER"})).replace('"NUMBER"', "1e400000")
    write_ndjson(landing / "a.ndjson", *lines)
    _, report = load()
    assert (report["inserted"], report["rejected"]) == (27, 3)
    assert [row["line"] for row in quarantined(landing)] == [1, 14, 30]
    assert {row["errors"][0]["code"] for row in quarantined(landing)} == {"refused_by_postgres"}
    assert query("SELECT count(*) FROM events") == [(27,)]


@pytest.mark.parametrize(
    ("error", "status"), [(pl.exceptions.PanicException("odd"), "refused"), (RuntimeError("a bug"), "failed")]
)
def test_a_panic_or_a_bug_costs_only_the_file_that_caused_it(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: str
) -> None:
    real = ndjson.Decoder.add

    def add(self: ndjson.Decoder, rows: ndjson.Rows, chunk: bytes, **place: int) -> int:
        if b"odd" in chunk:
            raise error
        return real(self, rows, chunk, **place)

    monkeypatch.setattr(ndjson.Decoder, "add", add)
    write_ndjson(landing / "a.ndjson", event())
    write_ndjson(landing / "b.ndjson", event(user_id="odd"))
    write_ndjson(landing / "c.ndjson", event())
    code, report = load()
    assert code == 1
    assert {file["name"]: file["status"] for file in report["files"]} == {
        "a.ndjson": "loaded",
        "b.ndjson": status,
        "c.ndjson": "loaded",
    }
    assert query("SELECT count(*) FROM events") == [(2,)]


def test_what_was_loaded_is_reported_and_archived_whatever_fails_later(
    load: Load, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = ndjson.Decoder.add

    def add(self: ndjson.Decoder, rows: ndjson.Rows, chunk: bytes, **place: int) -> int:
        if b"odd" in chunk:
            raise errors.DatabaseError("gone")
        if b"unlucky" in chunk and len(rows):
            raise RuntimeError("a reason to load each file alone")
        return real(self, rows, chunk, **place)

    monkeypatch.setattr(ndjson.Decoder, "add", add)
    for name, user in (("a", "first"), ("b", "unlucky"), ("c", "odd")):
        write_ndjson(landing / f"{name}.ndjson", event(user_id=user))
    code, report = load()
    assert (code, report["error"]) == (1, "gone")
    assert [(file["name"], file["status"]) for file in report["files"]] == [
        ("a.ndjson", "loaded"),
        ("b.ndjson", "loaded"),
    ]
    assert [path.name for path in landing.glob("*.ndjson")] == ["c.ndjson"]


def test_columns_and_indexes_that_the_user_adds_do_no_harm(load: Load, query: Query, landing: Path) -> None:
    query("ALTER TABLE events ADD COLUMN seen_at timestamptz NOT NULL DEFAULT now()")
    query("CREATE INDEX ON events (user_id, event_time)")
    write_ndjson(landing / "a.ndjson", event())
    assert load()[0] == 0


def test_a_trigger_that_drops_rows_in_silence_is_an_accounting_error(load: Load, query: Query, landing: Path) -> None:
    query(
        "CREATE FUNCTION drop_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER t BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION drop_it()"
    )
    write_ndjson(landing / "a.ndjson", event())
    code, report = load()
    assert code == 1
    assert "trigger" in report["files"][0]["error"]
    assert (landing / "a.ndjson").exists()


@pytest.mark.parametrize("rows", [1, 300])
def test_nothing_is_loaded_into_a_table_that_would_take_an_event_twice(
    load: Load, query: Query, landing: Path, rows: int
) -> None:
    query("ALTER TABLE events DROP CONSTRAINT events_pkey")
    write_ndjson(landing / "a.ndjson", *(event() for _ in range(rows)))
    code, _ = load()
    assert (code, query("SELECT count(*) FROM events")) == (1, [(0,)])
    assert (landing / "a.ndjson").exists()


@pytest.mark.parametrize("same", [True, False])
def test_an_event_that_another_session_inserts_at_the_same_time_is_a_duplicate(
    load: Load, query: Query, database: str, landing: Path, same: bool
) -> None:
    events = [event() for _ in range(300)]
    write_ndjson(landing / "a.ndjson", *events)
    theirs = events[150] if same else events[150] | {"user_id": "another"}
    names = ("event_id", "event_name", "event_time", "user_id", "properties")
    values = [json.dumps(theirs[name]) if name == "properties" else theirs[name] for name in names]
    with psycopg.connect(database) as other, ThreadPoolExecutor() as threads:
        other.execute(f"INSERT INTO events ({', '.join(names)}) VALUES (%s, %s, %s, %s, %s)", values)
        loading = threads.submit(load)
        waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'transactionid'"
        while not query(waits):
            assert not loading.done()
        other.commit()
        _, report = loading.result()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (299, int(same), int(not same))
    assert query("SELECT count(*), count(DISTINCT event_id) FROM events") == [(300, 300)]


def test_of_an_id_that_stands_in_one_file_often_the_first_row_is_stored(
    load: Load, query: Query, landing: Path
) -> None:
    first = event()
    others = [event(event_id=first["event_id"].upper(), user_id=f"u{number}") for number in range(3)]
    write_ndjson(landing / "a.ndjson", *(event() for _ in range(200)), first, *others, first)
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (201, 1, 3)
    assert query(f"SELECT line FROM events WHERE event_id = '{first['event_id']}'") == [(201,)]
    assert [row["line"] for row in quarantined(landing)] == [202, 203, 204]


def test_parquet_and_ndjson_of_the_same_events_store_the_same(load: Load, landing: Path) -> None:
    events = [event(properties={"n": 1.5, "s": "é\t\"'\\"}, event_time="2024-05-01T12:00:00.1234567+05:30")]
    write_ndjson(landing / "a.ndjson", *events)
    columns = {name: [e[name] for e in events] for name in events[0]}
    columns["properties"] = [json.dumps(e["properties"]) for e in events]
    pq.write_table(pa.table(columns), landing / "b.parquet")
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (1, 1, 0)


def test_members_in_another_order_are_the_same_and_what_is_not_stored_stays_as_it_was(
    load: Load, query: Query, landing: Path
) -> None:
    events = [event(properties={"device": {"y": 1, "x": n}, "page": 2, "b": 1.50, "a": None}) for n in range(100)]
    write_ndjson(landing / "a.ndjson", *events)
    again = [one | {"properties": dict(reversed(one["properties"].items()))} for one in events]
    bad = [
        event(event_name="", properties=events[0]["properties"]),
        events[0] | {"properties": events[1]["properties"]},
    ]
    columns = {name: [one[name] for one in again + bad] for name in events[0]}
    columns["properties"] = [json.dumps(properties) for properties in columns["properties"]]
    pq.write_table(pa.table(columns), landing / "b.parquet")
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["rejected"], report["conflicts"]) == (100, 100, 1, 1)
    stored = {str(key): properties for key, properties in query("SELECT event_id, properties FROM events")}
    assert stored == {one["event_id"]: one["properties"] for one in events}
    assert sorted(json.loads(row["raw"])["properties"] for row in quarantined(landing)) == sorted(
        columns["properties"][-2:]
    )


def test_a_null_in_a_column_of_uuids_is_a_rejected_row(load: Load, landing: Path) -> None:
    good = event(properties="{}")
    columns: dict[str, Any] = {name: [value] * 2 for name, value in good.items()}
    columns["event_id"] = pa.array([None, uuid.UUID(good["event_id"]).bytes], pa.uuid())
    pq.write_table(pa.table(columns), landing / "a.parquet")
    _, report = load()
    assert (report["inserted"], report["rejected"]) == (1, 1)
    (row,) = quarantined(landing)
    assert row["errors"][0]["code"] == "missing_field"
    assert json.loads(row["raw"])["event_id"] is None


def test_many_small_files_share_one_transaction(load: Load, query: Query, landing: Path) -> None:
    for number in range(50):
        write_ndjson(landing / f"{number:02}.ndjson", event(), event(), "{")
    _, report = load()
    assert (report["inserted"], report["rejected"]) == (100, 50)
    assert all((file["read"], file["inserted"], file["rejected"]) == (3, 2, 1) for file in report["files"])
    assert query("SELECT count(DISTINCT xmin::text) FROM loader_files") == [(1,)]
    assert len(quarantined(landing)) == 50


def test_several_jobs_load_every_file_once(load: Load, landing: Path) -> None:
    shared = [event() for _ in range(20)]
    padding = {"pad": "x" * 60_000}
    for number in range(6):
        write_ndjson(landing / f"{number}.ndjson", *shared, *(event(properties=padding) for _ in range(20)))
    code, report = load("--jobs", "3")
    assert code == 0
    assert (report["read"], report["inserted"], report["duplicates"]) == (240, 140, 100)


def test_files_named_on_the_command_line_are_loaded_alone(load: Load, landing: Path, tmp_path: Path) -> None:
    inside = write_ndjson(landing / "inside.ndjson", event())
    other = write_ndjson(landing / "other.ndjson", event())
    outside = write_ndjson(tmp_path / "outside.ndjson", event())
    _, report = load(str(inside), str(outside))
    assert [file["name"] for file in report["files"]] == ["inside.ndjson", "outside.ndjson"]
    assert not inside.exists()
    assert other.exists()
    assert outside.exists(), "a file outside of the landing folder stays where its owner put it"


def test_a_content_that_another_loader_has_in_hand_is_left_to_it(load: Load, landing: Path, database: str) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    key = int.from_bytes(hashlib.sha256(path.read_bytes()).digest()[:8], signed=True)
    with psycopg.connect(database) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (key,))
        code, report = load()
        assert code == 0
        assert report["files"][0]["status"] == "busy"
        assert path.exists()
    assert load()[1]["inserted"] == 1


def test_a_file_found_archived_too_late_is_only_moved(load: Load, query: Query, landing: Path) -> None:
    """The machine died between COMMIT and the move."""
    path = write_ndjson(landing / "a.ndjson", event())
    content = path.read_bytes()
    load()
    path.write_bytes(content)
    _, report = load()
    assert report["files"][0]["status"] == "skipped"
    assert not path.exists()
    assert query("SELECT count(*) FROM events") == [(1,)]


def test_a_lost_connection_is_retried(load: Load, query: Query, landing: Path, database: str) -> None:
    write_ndjson(landing / "a.ndjson", *(event(properties={"pad": "x" * 1000}) for _ in range(20_000)))
    stop = threading.Event()
    killed: list[Any] = []

    def kill_one() -> None:
        with psycopg.connect(database, autocommit=True) as connection:
            while not stop.is_set() and not killed:
                killed.extend(
                    connection.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                        "WHERE application_name = 'loader' AND query LIKE '%%COPY events%%' "
                        "AND state = 'active' AND pid <> pg_backend_pid() AND datname = current_database()"
                    ).fetchall()
                )

    thread = threading.Thread(target=kill_one)
    thread.start()
    try:
        code, report = load()
    finally:
        stop.set()
        thread.join()
    assert killed, "the test did not get to kill anything"
    assert (code, report["inserted"]) == (0, 20_000)
    assert query("SELECT count(*) FROM events") == [(20_000,)]


@pytest.mark.parametrize("status", ["r", "w"])
def test_nothing_is_said_on_stdout_but_the_report(
    landing: Path, database: str, capsys: pytest.CaptureFixture[str], status: str
) -> None:
    from loader import cli

    write_ndjson(landing / "a.ndjson", event(), "{" if status == "r" else event())
    cli.main(["run", "--json", "--settle", "0", "--landing", str(landing), "--database-url", database])
    captured = capsys.readouterr()
    assert set(json.loads(captured.out)) == {
        *("files", "read", "inserted", "duplicates", "conflicts", "rejected", "seconds", "error", "exit_code")
    }
    assert "total" in captured.err
