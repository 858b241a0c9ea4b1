"""`loader status`: what waits, what is in hand, what came last."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from hashlib import sha256
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from loader import cli, resources
from loader.operate.words import duration, section, size
from tests.support import Ask, Load, Query, Report, event, write_ndjson

LONG_AGO = 1_600_000_000


def status(ask: Ask, *arguments: str) -> Report:
    code, out = ask("status", "--json", *arguments)
    assert code == 0
    found: Report = json.loads(out)
    return found


def claim(connection: psycopg.Connection, path: Path) -> None:
    """Do what a loader does first with a content, in a transaction that stays open."""
    digest = sha256(path.read_bytes()).digest()
    connection.execute(resources.sql("claim_contents"), {"keys": [int.from_bytes(digest[:8], signed=True)]})
    connection.execute(resources.sql("find_contents"), {"contents": [digest]})


def test_the_backlog_is_what_is_ready_and_what_is_not_yet(landing: Path, ask: Ask) -> None:
    for name in ("a.ndjson", "b.parquet"):
        (landing / name).write_bytes(b"12345")
        os.utime(landing / name, (LONG_AGO, LONG_AGO))
    (landing / "young.ndjson").touch()
    (landing / "a.ndjson.part").touch()
    (landing / "readme.txt").touch()
    (landing / "link.ndjson").symlink_to(landing / "a.ndjson")
    (landing / "archive").mkdir()
    found = status(ask, "--settle", "1000")["landing"]
    assert (found["ready"], found["ready_bytes"]) == (2, 10)
    assert found["oldest_seconds"] > time.time() - LONG_AGO - 1000
    assert found["not_yet"] == {"settling": 1, "temporary_name": 1}
    assert found["left_alone"] == {"unknown_suffix": 1, "not_a_file": 1}


def test_the_backlog_counts_folders_below_only_when_asked(landing: Path, ask: Ask) -> None:
    (landing / "below").mkdir()
    write_ndjson(landing / "below" / "a.ndjson", event())
    assert status(ask, "--settle", "0")["landing"]["ready"] == 0
    assert status(ask, "--settle", "0", "--recursive")["landing"]["ready"] == 1


def test_the_last_run_is_counted_from_the_ledger(landing: Path, load: Load, query: Query, ask: Ask) -> None:
    write_ndjson(landing / "old.ndjson", event())
    load()
    query(
        "UPDATE loader_files SET started_at = started_at - interval '1 hour', finished_at = finished_at - interval '1h'"
    )
    same = event()
    write_ndjson(landing / "a.ndjson", same, same, event(user_id=7))
    (landing / "b.ndjson.gz").write_bytes(b"no gzip")
    load()
    run = status(ask)["last_run"]
    assert (run["loaded"], run["refused"]) == (1, 1)
    assert (run["read"], run["inserted"], run["duplicates"], run["conflicts"], run["rejected"]) == (3, 1, 1, 0, 1)


def test_quarantine_is_counted_by_rows_and_refused_files(landing: Path, load: Load, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", event(user_id=7), "x", event())
    (landing / "b.ndjson.gz").write_bytes(b"no gzip")
    load()
    found = status(ask)["quarantine"]
    assert (found["files"], found["rows"], found["refused"]) == (1, 2, 1)
    assert found["refused_codes"] == {"wrong_extension": 1}


def test_a_small_table_is_counted(landing: Path, load: Load, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", event(), event())
    load()
    found = status(ask)["events"]
    assert (found["rows"], found["is_estimate"]) == (2, False)
    assert found["table_bytes"] > 0
    assert found["index_bytes"] > 0


def test_a_large_table_is_estimated_and_says_so(query: Query) -> None:
    query(
        "INSERT INTO events SELECT gen_random_uuid(), now(), 0, 0, 'a', 'b', '{}' FROM generate_series(1, 10000)",
    )
    statement = resources.sql("size_of_events").decode()
    rows, is_estimate, *_ = query(statement, {"exact_bytes": 8192})[0]
    assert (rows, is_estimate) == (None, True)
    query("ANALYZE events")
    rows, is_estimate, *_ = query(statement, {"exact_bytes": 8192})[0]
    assert is_estimate
    assert 9_000 < rows < 11_000


def test_a_partitioned_table_is_as_large_as_its_partitions(query: Query) -> None:
    query("ALTER TABLE events RENAME TO plain")
    query("CREATE TABLE events (LIKE plain INCLUDING ALL) PARTITION BY HASH (event_id)")
    query("CREATE TABLE first PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 0)")
    query("CREATE TABLE second PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER 1)")
    query("INSERT INTO events SELECT gen_random_uuid(), now(), 0, 0, 'a', 'b', '{}' FROM generate_series(1, 1000)")
    rows, is_estimate, table_bytes, _ = query(resources.sql("size_of_events").decode(), {"exact_bytes": 1 << 20})[0]
    assert (rows, is_estimate) == (1000, False)
    assert table_bytes > 50_000


def test_a_content_in_hand_is_named(landing: Path, database: str, ask: Ask) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    assert status(ask)["in_flight"] == []
    with psycopg.connect(database) as connection:
        claim(connection, path)
        (found,) = status(ask)["in_flight"]
        assert found["name"] == "a.ndjson"
        assert found["sha256_begins"] == sha256(path.read_bytes()).hexdigest()[:16]
        assert found["process"] == connection.info.backend_pid
        path.unlink()
        assert status(ask)["in_flight"][0]["name"] is None
    assert status(ask)["in_flight"] == []


def test_advisory_locks_of_others_are_no_contents(database: str, ask: Ask) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("SELECT pg_advisory_xact_lock(1), pg_advisory_xact_lock(2, 3)")
        assert status(ask)["in_flight"] == []


@pytest.mark.slow
def test_a_loader_at_work_is_seen(landing: Path, database: str, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", event())
    command = [sys.executable, "-m", "loader", "run", "--settle", "0", "--landing", str(landing)]
    with psycopg.connect(database) as connection:
        connection.execute("LOCK TABLE events IN EXCLUSIVE MODE")
        with subprocess.Popen([*command, "--database-url", database], stderr=subprocess.DEVNULL) as loader:
            while not (found := status(ask, "--settle", "0")["in_flight"]):
                assert loader.poll() is None
                time.sleep(0.1)
            connection.rollback()
    assert found[0]["name"] == "a.ndjson"
    assert loader.returncode == 0
    assert status(ask)["in_flight"] == []


def test_a_database_that_is_down_hides_only_itself(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / "a.ndjson", event())
    where = ["--landing", str(landing), "--database-url", "postgresql://me:hunter2@127.0.0.1:1/db", "--settle", "0"]
    assert cli.main(["status", "--json", *where]) == 1
    captured = capsys.readouterr()
    found = json.loads(captured.out)
    assert found["landing"]["ready"] == 1
    assert "can't connect" in found["error"]
    assert (found["in_flight"], found["last_run"], found["events"]) == (None, None, None)
    assert cli.main(["status", *where]) == 1
    text = capsys.readouterr()
    assert "1 file ready" in text.out
    assert "can't connect" in text.err
    assert "hunter2" not in captured.out + captured.err + text.out + text.err


def test_an_empty_database_is_not_migrated(
    landing: Path, empty_database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["status", "--landing", str(landing), "--database-url", empty_database]) == 1
    assert "loader migrate" in capsys.readouterr().err
    with psycopg.connect(empty_database) as connection:
        assert connection.execute("SELECT to_regclass('loader_files')").fetchone() == (None,)


def test_no_embedded_database_is_made(
    landing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADER_EMBEDDED", str(tmp_path / "none"))
    assert cli.main(["status", "--landing", str(landing)]) == 1
    assert "there is no database in" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_a_missing_landing_folder_is_a_usage_error(tmp_path: Path) -> None:
    assert cli.main(["status", "--landing", str(tmp_path / "none"), "--database-url", "dbname=x"]) == 2


def test_the_text_fits_on_80_columns(landing: Path, load: Load, database: str, ask: Ask) -> None:
    write_ndjson(landing / f"{'long' * 20}.ndjson", event(user_id=7), event())
    (landing / "b.ndjson.gz").write_bytes(b"no gzip")
    load()
    path = write_ndjson(landing / "a.ndjson", event())
    with psycopg.connect(database) as connection:
        claim(connection, path)
        code, out = ask("status", "--settle", "0")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    starts = [line[:12].strip() for line in out.splitlines() if not line.startswith(" ")]
    assert starts == ["database", "landing", "in flight", "last run", "quarantine", "events"]
    assert "a.ndjson (" in out


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (400_000, "5 d")]
)
def test_durations_are_short(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 bytes"), (1, "1 byte"), (1500, "1.5 kB"), (2 * 10**12, "2.0 TB")])
def test_sizes_are_short(number: int, text: str) -> None:
    assert size(number) == text


def test_long_texts_go_on_below() -> None:
    lines = list(section("title", ["word " * 30, "short\x1b"]))
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("title       word")
    assert lines[1].startswith(" " * 14 + "word")
    assert lines[-1] == " " * 12 + r"short\x1b"


def test_the_loaders_own_role_may_look(landing: Path, load: Load, database: str, query: Query, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", event())
    load()
    role = f"reader_{uuid.uuid4().hex[:12]}"
    query(f"CREATE ROLE {role}")
    try:
        query(f"GRANT SELECT ON events, loader_files, loader_migrations TO {role}")
        path = write_ndjson(landing / "b.ndjson", event())
        with psycopg.connect(database) as connection:
            claim(connection, path)
            found = status(ask, "--database-url", make_conninfo(database, options=f"-c role={role}"))
        assert found["last_run"]["loaded"] == 1
        assert found["events"]["rows"] == 1
        assert (found["in_flight"][0]["name"], found["in_flight"][0]["seconds"]) == ("b.ndjson", None)
    finally:
        query(f"DROP OWNED BY {role}; DROP ROLE {role}")
