"""`loader doctor` on databases that something is wrong with: its own check says so, and no other breaks."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import LiteralString, NamedTuple

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from loader import cli, resources
from loader.operate.doctor import Checked, diagnose
from loader.operate.findings import Finding
from loader.settings import Settings
from tests.support import Load, Query, event, write_ndjson
from tests.test_pooler import pooled
from tests.test_refusals import Role, role_in


class Fault(NamedTuple):
    """What the owner does to the database, which check must say so, how badly, and in which words."""

    does: LiteralString
    check: str
    level: str
    says: str
    mend: bool = False  # the remedy is SQL that mends it


FAULTS = {
    "no_right_to_insert": Fault(
        "REVOKE INSERT ON events FROM {role}", "rights", "fail", "lacks INSERT on events", True
    ),
    "no_right_to_read_events": Fault("REVOKE SELECT ON events FROM {role}", "rights", "fail", "lacks SELECT", True),
    "no_right_to_the_ledger": Fault(
        "REVOKE SELECT, UPDATE ON loader_files FROM {role}", "rights", "fail", "SELECT, UPDATE on loader_files", True
    ),
    "no_right_to_the_sequence": Fault(
        "REVOKE ALL ON SEQUENCE loader_files_file_id_seq FROM {role}", "rights", "fail", "lacks USAGE", True
    ),
    "no_right_to_temporary_tables": Fault(
        "REVOKE TEMPORARY ON DATABASE {database} FROM PUBLIC", "rights", "fail", "lacks TEMPORARY", True
    ),
    "too_many_rights": Fault("GRANT DELETE ON events TO {role}", "rights", "note", "more rights than it needs", True),
    "read_only": Fault(
        "ALTER ROLE {role} SET default_transaction_read_only = on", "writable", "fail", "read-only", True
    ),
    "a_role_without_connections": Fault(
        "ALTER ROLE {role} CONNECTION LIMIT 1", "connections", "fail", "the role has 1 connections left", True
    ),
    "a_database_without_connections": Fault(
        "ALTER DATABASE {database} CONNECTION LIMIT 1", "connections", "fail", "the database has 1", True
    ),
    "a_newer_database": Fault(
        "INSERT INTO loader_migrations (version, name) VALUES (9999, 'x')", "schema", "fail", "install a newer loader"
    ),
    "an_older_database": Fault(
        "DELETE FROM loader_migrations WHERE version > 1", "schema", "fail", "0002_reject_codes.sql"
    ),
    "no_key": Fault("ALTER TABLE events DROP CONSTRAINT events_pkey", "event_key", "fail", "no unique index", True),
    "a_deferrable_key": Fault(
        "ALTER TABLE events DROP CONSTRAINT events_pkey, ADD CONSTRAINT k PRIMARY KEY (event_id) DEFERRABLE",
        "event_key",
        "fail",
        "deferrable",
        True,
    ),
    "a_deferrable_key_beside": Fault(
        "ALTER TABLE events ADD CONSTRAINT k UNIQUE (event_id) DEFERRABLE", "event_key", "fail", "deferrable", True
    ),
    "a_partial_key": Fault(
        "ALTER TABLE events DROP CONSTRAINT events_pkey; CREATE UNIQUE INDEX k ON events (event_id) WHERE line > 0",
        "event_key",
        "fail",
        "no unique index",
        True,
    ),
    "a_wider_key": Fault(
        "ALTER TABLE events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (event_id, event_time)",
        "event_key",
        "fail",
        "no unique index",
    ),
    "an_invalid_key": Fault(
        "ALTER TABLE events DROP CONSTRAINT events_pkey; CREATE UNIQUE INDEX k ON events (event_id); "
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'k'::regclass",
        "event_key",
        "fail",
        "k on event_id is invalid",
        True,
    ),
    "an_invalid_index": Fault(
        'CREATE INDEX "I" ON events (user_id); UPDATE pg_index SET indisvalid = false '
        "WHERE indexrelid = '\"I\"'::regclass",
        "indexes",
        "warn",
        '"I": invalid',
        True,
    ),
    "many_indexes": Fault(
        "CREATE INDEX ON events (user_id); CREATE INDEX ON events (event_name); CREATE INDEX ON events (event_time); "
        "CREATE INDEX ON events USING gin (properties)",
        "indexes",
        "note",
        "4 indexes",
    ),
    "a_trigger_before": Fault(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        'CREATE TRIGGER "T" BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION f()',
        "triggers",
        "warn",
        'trigger "T" may change or drop rows',
        True,
    ),
    "a_trigger_after": Fault(
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'; "
        "CREATE TRIGGER t AFTER INSERT ON events FOR EACH ROW EXECUTE FUNCTION f()",
        "triggers",
        "note",
        "slow",
    ),
    "a_foreign_key": Fault(
        "CREATE TABLE users (id text PRIMARY KEY); ALTER TABLE events ADD FOREIGN KEY (user_id) REFERENCES users",
        "triggers",
        "note",
        "foreign key",
    ),
    "a_rule_on_insert": Fault(
        "CREATE RULE r AS ON INSERT TO events DO ALSO NOTIFY n", "rules", "fail", "nothing can be merged", True
    ),
    "a_rule_on_delete": Fault(
        "CREATE RULE r AS ON DELETE TO events DO INSTEAD NOTHING", "rules", "warn", "slower", True
    ),
    "row_security_without_a_policy": Fault(
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY", "row_security", "fail", "hides all of events", True
    ),
    "row_security_with_a_policy": Fault(
        "ALTER TABLE events ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON events USING (true) WITH CHECK (true)",
        "row_security",
        "warn",
        "slower",
        True,
    ),
    "row_security_on_the_ledger": Fault(
        "ALTER TABLE loader_files ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON loader_files USING (true)",
        "row_security",
        "warn",
        "loaded again",
        True,
    ),
    "a_missing_column": Fault("ALTER TABLE events DROP COLUMN user_id", "columns", "fail", "ADD COLUMN user_id text"),
    "a_column_of_another_type": Fault(
        "ALTER TABLE events ALTER COLUMN user_id TYPE varchar", "columns", "fail", "in events it is character varying"
    ),
    "a_column_that_must_be_given": Fault(
        'ALTER TABLE events ADD COLUMN "Country" text NOT NULL', "columns", "fail", '"Country": the loader', True
    ),
    "a_partitioned_table": Fault(
        "DROP TABLE events; CREATE TABLE events (event_id uuid PRIMARY KEY, event_time timestamptz, "
        "file_id bigint, line bigint, event_name text, user_id text, properties jsonb) PARTITION BY HASH (event_id); "
        "GRANT SELECT, INSERT ON events TO {role}",
        "table",
        "note",
        "partitioned",
    ),
    "a_foreign_table": Fault(
        "DROP TABLE events; CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w; "
        "CREATE FOREIGN TABLE events (event_id uuid) SERVER s",
        "table",
        "fail",
        "a foreign table",
    ),
    "a_view": Fault(
        "ALTER TABLE events RENAME TO facts; CREATE VIEW events AS SELECT * FROM facts", "table", "warn", "a view"
    ),
    "an_unlogged_table": Fault("ALTER TABLE events SET UNLOGGED", "table", "fail", "empties it", True),
    "an_heir": Fault("CREATE TABLE heir () INHERITS (events)", "table", "warn", "inherit from events"),
    "no_events": Fault("DROP TABLE events", "table", "fail", "events: no such table"),
    "tables_out_of_sight": Fault(
        "ALTER ROLE {role} SET search_path = elsewhere", "schema", "fail", "search path leaves out"
    ),
}


class Case(NamedTuple):
    """A migrated database, its owner, and a role that has what the README grants."""

    owner: str
    role: Role

    def execute(self, statement: str) -> None:
        with psycopg.connect(self.owner, autocommit=True) as connection:
            name = connection.info.dbname
            for one in statement.replace("{role}", self.role.name).replace("{database}", f'"{name}"').split("\n"):
                connection.execute(one.encode())


@pytest.fixture
def case(database: str) -> Iterator[Case]:
    with role_in(database) as role:
        yield Case(database, role)


def examine(landing: Path, conninfo: str, jobs: int = 1) -> dict[str, Finding]:
    """All findings, by check; none may be one that can't be checked."""
    checked: list[Checked] = [*diagnose(Settings(landing=landing, database_url=conninfo, jobs=jobs))]
    findings = {one.name: one.finding for one in checked}
    assert len(findings) == len(checked)
    assert not [finding.message for finding in findings.values() if "can't be checked" in finding.message]
    return findings


def failed(findings: dict[str, Finding]) -> set[str]:
    return {name for name, finding in findings.items() if finding.level == "fail"}


def test_a_role_with_the_readmes_grants_on_a_fresh_database_is_in_order(case: Case, landing: Path) -> None:
    findings = examine(landing, case.role.conninfo)
    assert failed(findings) == set()
    assert findings["rights"].level == "ok"
    assert {"database", "event_key", "claims", "wal_size", "landing"} <= set(findings)


@pytest.mark.parametrize("fault", FAULTS.values(), ids=[*FAULTS])
def test_a_fault_is_found_and_its_remedy_mends_it(fault: Fault, case: Case, landing: Path) -> None:
    case.execute(fault.does)
    finding = examine(landing, case.role.conninfo)[fault.check]
    assert (finding.level, fault.says in finding.message) == (fault.level, True), finding
    if fault.mend:
        assert finding.remedy
        case.execute(finding.remedy)
        assert examine(landing, case.role.conninfo)[fault.check].level in ("ok", "note")


@pytest.mark.parametrize("fault", ["a_deferrable_key", "a_deferrable_key_beside", "a_rule_on_insert", "no_key"])
def test_what_is_called_a_failure_does_keep_rows_from_being_merged(
    fault: str, load: Load, query: Query, landing: Path
) -> None:
    query(FAULTS[fault].does)
    write_ndjson(landing / "a.ndjson", *[event()] * 2)
    assert load()[0] == 1


def test_an_owner_is_told_that_a_lesser_role_is_safer(database: str, landing: Path) -> None:
    rights = examine(landing, database)["rights"]
    assert rights.level == "note"
    assert "README" in rights.message


def test_rights_to_columns_count_where_they_cover_the_table(case: Case, landing: Path) -> None:
    columns = "event_id, event_time, file_id, line, event_name, user_id, properties"
    case.execute(
        f"REVOKE ALL ON events FROM {{role}}\nGRANT SELECT ({columns}), INSERT ({columns}) ON events TO {{role}}"
    )
    assert examine(landing, case.role.conninfo)["rights"].level == "ok"


def test_an_empty_database_is_only_a_note_where_the_role_may_migrate(empty_database: str, landing: Path) -> None:
    findings = examine(landing, empty_database)
    assert failed(findings) == set()
    assert findings["schema"].level == "note"
    assert "the next run migrates" in findings["schema"].message


def test_more_jobs_than_connections_are_a_failure(database: str, landing: Path) -> None:
    assert "connections" in failed(examine(landing, database, jobs=100_000))


def test_a_database_that_is_down_does_not_end_the_other_checks(
    landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--landing", str(landing), "--database-url", "postgresql://me:hunter2@127.0.0.1:1/db"]
    assert cli.main(["doctor", *where]) == 1
    said = capsys.readouterr().err
    assert "FAIL  database: can't connect to database 'db'" in said
    assert "ok    landing: " in said
    assert "hunter2" not in said


def test_a_pool_in_transaction_mode_is_a_failure(database: str, landing: Path) -> None:
    with pooled(database, "transaction") as through:
        assert failed(examine(landing, through)) == {"pooler"}


@contextmanager
def session(conninfo: str, *statements: str) -> Iterator[None]:
    """A session with an open transaction in which the statements were run."""
    with psycopg.connect(make_conninfo(conninfo, application_name="loader")) as connection:
        for statement in statements:
            connection.execute(statement.encode())
        try:
            yield
        finally:
            connection.rollback()


def test_whoever_keeps_loads_from_writing_is_named(case: Case, landing: Path) -> None:
    with session(case.owner, "LOCK TABLE events IN SHARE MODE"):
        finding = examine(landing, case.role.conninfo)["events_locked"]
    assert finding.level == "warn"
    assert "ShareLock" in finding.message
    assert "pg_terminate_backend" in str(finding.remedy)


def test_a_table_that_is_locked_exclusively_does_not_hang_the_doctor(database: str, landing: Path) -> None:
    with session(database, "LOCK TABLE events, loader_files IN ACCESS EXCLUSIVE MODE"):
        findings = {one.name: one.finding for one in diagnose(Settings(landing=landing, database_url=database))}
    assert findings["events_locked"].level == "warn"
    assert "staging" in findings


def test_another_loader_at_work_is_a_note(database: str, landing: Path) -> None:
    with session(database, "SELECT pg_advisory_xact_lock(12345)"):
        finding = examine(landing, database)["claims"]
    assert finding.level == "note"


def test_a_loader_that_hangs_is_named(database: str, landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.operate.checks_activity._STALE_SECONDS", -1)
    with session(database, "SELECT pg_advisory_xact_lock(12345)", "SELECT pg_advisory_xact_lock(54321)"):
        finding = examine(landing, database)["claims"]
    assert finding.level == "warn"
    assert "has 2 contents in hand" in finding.message


def test_a_long_transaction_is_named(database: str, landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loader.operate.checks_activity._LONG_SECONDS", -1)
    with session(database, "SELECT count(*) FROM events"):
        finding = examine(landing, database)["long_transactions"]
    assert finding.level == "warn"
    assert "idle in transaction" in finding.message


def test_a_role_that_may_not_see_the_transactions_of_others_says_so(
    case: Case, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.operate.checks_activity._LONG_SECONDS", -1)
    with session(case.owner, "SELECT count(*) FROM events"):
        assert "of others it may not see" in examine(landing, case.role.conninfo)["long_transactions"].message
        case.execute("GRANT pg_read_all_stats TO {role}")
        assert examine(landing, case.role.conninfo)["long_transactions"].level == "warn"


def test_a_server_without_fsync_is_a_failure(database: str, landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The server is every test's: what it says is exchanged instead of what it does.
    said = (resources.bundled("sql") / "doctor_settings.sql").read_bytes()
    lie = said.replace(b"SELECT name, setting,", b"SELECT name, CASE name WHEN 'fsync' THEN 'off' ELSE setting END,")
    exchange(monkeypatch, "doctor_settings", lie)
    findings = examine(landing, database)
    assert failed(findings) == {"durability"}
    assert "ALTER SYSTEM SET fsync = on" in str(findings["durability"].remedy)


@pytest.mark.parametrize(
    ("name", "value", "check", "level"),
    [
        ("full_page_writes", "off", "durability", "warn"),
        ("synchronous_standby_names", "elsewhere", "durability", "fail"),
        ("max_wal_size", "256", "wal_size", "warn"),
        ("max_wal_size", "1024", "wal_size", "note"),
        ("wal_compression", "pglz", "wal_compression", "warn"),
        ("shared_buffers", "1024", "shared_buffers", "note"),
        ("max_locks_per_transaction", "10", "lock_room", "warn"),
        ("idle_in_transaction_session_timeout", "60000", "timeouts", "warn"),
    ],
)
def test_a_server_setting_that_hurts_is_found(
    name: str, value: str, check: str, level: str, database: str, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = (resources.bundled("sql") / "doctor_settings.sql").read_bytes()
    case = f"SELECT name, CASE name WHEN '{name}' THEN '{value}' ELSE setting END,".encode()
    exchange(monkeypatch, "doctor_settings", said.replace(b"SELECT name, setting,", case))
    assert examine(landing, database)[check].level == level


@pytest.mark.parametrize(
    ("name", "rows", "check", "level"),
    [
        ("doctor_checkpoints_17", b"SELECT 1, 50, 3600.0::float8", "checkpoints", "warn"),
        ("doctor_checkpoints_14", b"SELECT 1, 50, 3600.0::float8", "checkpoints", "warn"),
        ("doctor_server", b"SELECT true, true, 0.0::float8", "writable", "fail"),
        ("doctor_server", b"SELECT false, false, 0.0::float8", "server_clock", "warn"),
        ("doctor_staging", b"SELECT 'pg_temp_9.loader_staging'", "staging", "note"),
    ],
)
def test_what_can_not_be_brought_about_here_is_judged_by_what_the_server_says(
    name: str, rows: bytes, check: str, level: str, database: str, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("14", "17"):
        exchange(monkeypatch, name.replace("17", version).replace("14", version), rows)
    assert examine(landing, database)[check].level == level


def test_a_check_that_breaks_ends_no_other(database: str, landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange(monkeypatch, "doctor_rules", b"SELECT 1 / 0")
    findings = {one.name: one.finding for one in diagnose(Settings(landing=landing, database_url=database))}
    assert findings["rules"].level == "fail"
    assert "can't be checked: DivisionByZero" in findings["rules"].message
    assert findings["staging"].level == "ok"


def exchange(monkeypatch: pytest.MonkeyPatch, name: str, text: bytes) -> None:
    """Let a statement be another one."""
    before = resources.sql
    monkeypatch.setattr(resources, "sql", lambda asked: text if asked == name else before(asked))


def test_the_doctor_sees_a_load_at_work_and_does_not_disturb_it(load: Load, landing: Path, database: str) -> None:
    write_ndjson(landing / "a.ndjson", *[event() for _ in range(20_000)])
    codes: list[int] = []
    thread = threading.Thread(target=lambda: codes.append(load()[0]))
    thread.start()
    while thread.is_alive():
        assert failed(examine(landing, database)) == set()
    thread.join()
    assert codes == [0]
