"""The two ways into `events`: new rows are copied, all others are staged and merged. What comes of them is the same."""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from loader import cli, compare, contract, decode, merge, put_off, ranges, resources, run, seen, staging, units
from loader.compare import Found
from loader.database import Connection
from tests.support import Load, Query, event, quarantined, write_ndjson

FEW = 100  # fewer rows are staged, whatever they are


@pytest.fixture(autouse=True)
def _small_units(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of a thousand rows takes several blocks and units."""
    monkeypatch.setattr(decode, "BLOCK_BYTES", 32_768)
    monkeypatch.setattr(units, "_UNIT_BYTES", 32_768)


@pytest.fixture
def copied(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows went straight into events, unit by unit."""
    return _noted(monkeypatch, "copy_into_events")


@pytest.fixture
def staged(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many rows were staged, time by time."""
    return _noted(monkeypatch, "stage")


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many keys were looked up, time by time."""
    rows: list[int] = []
    original = merge.Merger._look_up

    def noting(merger: merge.Merger, keys: pl.Series) -> pl.Series:
        rows.append(len(keys))
        return original(merger, keys)

    monkeypatch.setattr(merge.Merger, "_look_up", noting)
    return rows


def _noted(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    rows: list[int] = []
    original = getattr(staging, name)

    def noting(connection: Any, frame: Any, contract: Any, *where: Any) -> Any:
        rows.append(frame.filter(where[0]).height if where else frame.height)
        return original(connection, frame, contract, *where)

    monkeypatch.setattr(staging, name, noting)
    return rows


def test_new_rows_are_copied_straight_into_events(
    load: Load, landing: Path, copied: list[int], staged: list[int]
) -> None:
    write_ndjson(landing / "a.ndjson", *(event() for _ in range(1_000)))
    _, report = load()
    assert report["inserted"] == sum(copied) + sum(staged) == 1_000
    assert len(copied) > 2
    assert all(rows < FEW for rows in staged)  # the end of the file, perhaps


def test_only_rows_that_are_known_are_staged(load: Load, landing: Path, copied: list[int], staged: list[int]) -> None:
    known = [event() for _ in range(200)]
    write_ndjson(landing / "a.ndjson", *known)
    load()
    copied.clear()
    write_ndjson(landing / "b.ndjson", *known[:99], *(event() for _ in range(900)), *known[100:])
    _, report = load()
    assert (report["inserted"], report["duplicates"]) == (900, 199)
    assert sum(copied) > 900 - FEW
    assert 199 <= sum(staged) < 199 + FEW


def test_into_an_empty_table_no_key_is_looked_up(load: Load, query: Query, landing: Path, looked_up: list[int]) -> None:
    rows = [event() for _ in range(1_000)]
    write_ndjson(landing / "a.ndjson", *rows[:500], *rows[:20], *rows[500:], rows[3] | {"user_id": "other"}, *rows[:9])
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (1_000, 29, 1)
    assert looked_up == []
    assert query("SELECT max(line) FROM events") == [(1_020,)]  # the first row with an id has won


def test_keys_are_looked_up_until_all_of_a_unit_are_new(load: Load, landing: Path, looked_up: list[int]) -> None:
    write_ndjson(landing / "a.ndjson", *(event() for _ in range(300)))
    load()
    write_ndjson(landing / "b.ndjson", *(event() for _ in range(2_000)))
    _, report = load()
    assert report["inserted"] == 2_000
    assert len(looked_up) == 1


def test_after_a_known_key_where_none_was_expected_all_are_looked_up(
    load: Load, landing: Path, looked_up: list[int]
) -> None:
    known = [event() for _ in range(300)]
    write_ndjson(landing / "a.ndjson", *known)
    load()
    rows = [event() for _ in range(4_000)]
    write_ndjson(landing / "b.ndjson", *rows[:1_000], known[7] | {"user_id": "other"}, known[8], *rows[1_000:])
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (4_000, 1, 1)
    assert len(looked_up) > 3
    assert sum(looked_up) > 3_000 - FEW


def test_what_a_run_has_met_is_known_to_its_next_loads(
    load: Load, landing: Path, looked_up: list[int], copied: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ndjson(landing / "before.ndjson", *(event() for _ in range(300)))
    load()
    monkeypatch.setattr(run, "BATCH_FILES", 1)
    copied.clear()
    rows = [event() for _ in range(3_000)]
    for number in range(0, 3_000, 1_000):
        write_ndjson(landing / f"{number}.ndjson", *rows[number : number + 1_000], *rows[number - 9 : number])
    _, report = load()
    assert (report["inserted"], report["duplicates"]) == (3_000, 18)
    assert len(looked_up) == 1
    assert sum(copied) > 3_000 - 3 * FEW


def test_rows_that_a_failed_attempt_has_met_are_copied_by_the_next_one(
    load: Load, landing: Path, staged: list[int]
) -> None:
    write_ndjson(landing / "a.ndjson", *(event() for _ in range(500)))
    write_ndjson(landing / "b.ndjson", *([{}] * 5), *(event() for _ in range(3)))
    status, report = load("--max-reject-ratio", "0.1")
    assert (status, report["inserted"]) == (1, 500)
    assert sum(staged) < 2 * FEW


def test_a_few_rows_are_staged_and_merged(load: Load, landing: Path, copied: list[int], staged: list[int]) -> None:
    write_ndjson(landing / "a.ndjson", *(event() for _ in range(99)))
    load()
    assert (copied, staged) == ([], [99])


def test_a_file_that_is_all_known_is_only_compared(
    load: Load, landing: Path, copied: list[int], staged: list[int]
) -> None:
    known = [event() for _ in range(1_000)]
    write_ndjson(landing / "a.ndjson", *known)
    load()
    copied.clear()
    staged.clear()
    write_ndjson(landing / "b.ndjson", *known[:3], known[3] | {"user_id": "other"}, *known[4:])
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (0, 999, 1)
    assert copied == []
    assert sum(staged) == 1_000  # none of them twice
    assert [row["line"] for row in quarantined(landing)] == [4]


def test_a_file_that_is_all_known_is_not_held_back_as_if_the_index_grew(
    load: Load, landing: Path, query: Query, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = [event() for _ in range(5_000)]
    write_ndjson(landing / "a.ndjson", *known)
    load()
    held: list[int] = []
    original = ranges.Ranges.add

    def noting(self: ranges.Ranges, frame: pl.DataFrame, size: int) -> None:
        held.append(frame.height)
        original(self, frame, size)

    monkeypatch.setattr(ranges.Ranges, "add", noting)
    ((index_bytes,),) = query("SELECT pg_relation_size('events_pkey')")
    monkeypatch.setattr(units, "_SMALL_INDEX_BYTES", index_bytes + 2_500 * units._INDEX_BYTES_PER_ROW)
    write_ndjson(landing / "b.ndjson", *known, " ")
    assert load()[1]["duplicates"] == 5_000
    assert held == []
    write_ndjson(landing / "c.ndjson", *(event() for _ in range(5_000)))
    assert load()[1]["inserted"] == 5_000
    assert held


def test_what_is_stored_in_another_spelling_is_a_duplicate(load: Load, landing: Path, staged: list[int]) -> None:
    known = [event(properties={"a": 1.5, "b": [number, None], "c": {"x": "y"}}) for number in range(1_000)]
    write_ndjson(landing / "a.ndjson", *known)
    load()
    staged.clear()
    respelled = [
        json.dumps(dict(reversed(row.items()))).replace("1.5", "15e-1").replace('"y"', r'"\u0079"') for row in known
    ]
    write_ndjson(landing / "b.ndjson", *respelled)
    _, report = load()
    assert (report["inserted"], report["duplicates"]) == (0, 1_000)
    assert sum(staged) == 1_000


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Connection], object]]:
    """What is to be done before a unit is compared over the second session; called with it, unit by unit."""
    todo: list[Callable[[Connection], object]] = []
    original = compare.find_all

    def finding(connection: Connection, unit: pl.DataFrame, contract: contract.Contract) -> list[Found] | None:
        if threading.current_thread().name.startswith("loader-compare") and todo:
            todo.pop(0)(connection)
        return original(connection, unit, contract)

    monkeypatch.setattr(compare, "find_all", finding)
    return todo


def _load_all_but(load: Load, landing: Path, known: list[dict[str, Any]], *changes: tuple[int, dict[str, Any]]) -> Any:
    """Load events, and then a file with all of them, of which some are changed; return the second report."""
    write_ndjson(landing / "a.ndjson", *known)
    load()
    rows = [*known]
    for place, change in changes:
        rows[place] = change
    write_ndjson(landing / "b.ndjson", *rows, " ")  # not the same content
    return load()[1]


def test_units_that_are_all_known_are_compared_over_two_sessions(
    load: Load, landing: Path, staged: list[int], beside: list[Callable[[Connection], object]]
) -> None:
    sessions: list[Connection] = []
    beside += [sessions.append] * 20
    report = _load_all_but(load, landing, [event() for _ in range(3_000)])
    assert (report["inserted"], report["duplicates"]) == (0, 3_000)
    assert sessions
    assert len({*sessions}) == 1
    assert sum(staged) < 3_000 + FEW  # the end of the first file, perhaps


def test_a_conflict_that_the_second_session_meets_is_quarantined_once(
    load: Load, landing: Path, beside: list[Callable[[Connection], object]]
) -> None:
    known = [event() for _ in range(3_000)]
    changes = [(place, known[place] | {"user_id": "other"}) for place in range(200, 3_000, 100)]
    beside.append(lambda _: time.sleep(0.2))
    report = _load_all_but(load, landing, known, *changes)
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (0, 2_972, 28)
    assert sorted(row["line"] for row in quarantined(landing)) == [place + 1 for place, _ in changes]


def test_a_new_row_that_the_second_session_meets_wins_over_those_after_it(
    load: Load, landing: Path, query: Query, beside: list[Callable[[Connection], object]]
) -> None:
    known = [event() for _ in range(3_000)]
    new = event(user_id="first")
    changes = [(place, new | {"user_id": "first" if place == 300 else "later"}) for place in range(300, 3_000, 50)]
    beside.append(lambda _: time.sleep(0.2))
    report = _load_all_but(load, landing, known, *changes)
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (1, 2_946, 53)
    assert query("SELECT line FROM events WHERE user_id = 'first'") == [(301,)]


def test_new_rows_are_not_compared_though_postgres_refuses_some(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[int] = []
    original = compare.find_all

    def noting(connection: Connection, unit: pl.DataFrame, contract: contract.Contract) -> list[Found] | None:
        compared.append(unit.height)
        return original(connection, unit, contract)

    monkeypatch.setattr(compare, "find_all", noting)
    query("ALTER TABLE events ADD CHECK (user_id <> 'refused')")
    write_ndjson(landing / "a.ndjson", *(event(user_id="refused" if place % 60 == 0 else "u") for place in range(900)))
    _, report = load()
    assert (report["inserted"], report["rejected"]) == (885, 15)
    assert compared == []


def test_a_second_session_that_is_lost_costs_nothing(
    load: Load, landing: Path, query: Query, beside: list[Callable[[Connection], object]]
) -> None:
    ended: list[bool] = []

    def end(connection: Connection) -> None:
        ((was_ended,),) = query(f"SELECT pg_terminate_backend({connection.info.backend_pid}, 10000)")
        ended.append(was_ended)

    beside.append(end)
    report = _load_all_but(load, landing, [event() for _ in range(3_000)])
    assert ended == [True]
    assert (report["inserted"], report["duplicates"]) == (0, 3_000)


def test_a_second_session_that_meets_who_waits_for_the_load_does_not_wait_for_ever(
    load: Load, landing: Path, database: str, query: Query, beside: list[Callable[[Connection], object]]
) -> None:
    waiting = "SELECT 1 FROM pg_locks WHERE relation = 'events'::regclass AND mode = 'AccessExclusiveLock'"

    def change_events() -> None:
        with psycopg.connect(database, autocommit=True) as owner:
            owner.execute("ALTER TABLE events ADD COLUMN more text")

    changing = threading.Thread(target=change_events)

    def begin(_: Connection) -> None:
        changing.start()
        while not query(waiting):
            time.sleep(0.01)

    beside.append(begin)
    report = _load_all_but(load, landing, [event() for _ in range(3_000)])
    changing.join(10)
    assert (report["inserted"], report["duplicates"]) == (0, 3_000)
    assert query("SELECT count(more) FROM events") == [(0,)]


def _with_repeats(rows: int) -> list[dict[str, Any]]:
    """Each hundredth event stands a second time, twenty rows later; every other of those says something else."""
    events = [event() for _ in range(rows)]
    for place in range(0, rows - 20, 100):
        events[place + 20] = events[place] | ({"user_id": "other"} if place % 200 else {})
    return events


@pytest.mark.parametrize("units_put_off", [1, 3, 1_000])
def test_repeats_of_several_units_are_merged_together(
    load: Load, landing: Path, monkeypatch: pytest.MonkeyPatch, copied: list[int], staged: list[int], units_put_off: int
) -> None:
    monkeypatch.setattr(put_off, "_MOST_UNITS", units_put_off)
    write_ndjson(landing / "a.ndjson", *_with_repeats(5_000))
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (4_950, 25, 25)
    assert sorted(row["line"] for row in quarantined(landing)) == [place + 21 for place in range(100, 5_000, 200)]
    assert len(staged) - 1 <= len(copied) // units_put_off + 1  # one of them for the end of the file, perhaps


def test_so_many_repeats_as_are_put_off_are_merged_before_the_end(
    load: Load, landing: Path, monkeypatch: pytest.MonkeyPatch, staged: list[int]
) -> None:
    monkeypatch.setattr(put_off, "_MOST_UNITS", 1_000)
    monkeypatch.setattr(put_off, "_MOST_ROWS", 10)
    write_ndjson(landing / "a.ndjson", *_with_repeats(5_000))
    _, report = load()
    assert report["duplicates"] + report["conflicts"] == 50
    assert len(staged) > 3


def test_a_row_that_was_put_off_in_vain_is_not_overtaken_by_a_later_one_with_its_id(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "BATCH_FILES", 1)
    monkeypatch.setattr(seen, "_MAX_KEYS", 400)
    first = event(user_id="first")
    write_ndjson(landing / "a.ndjson", *(event() for _ in range(200)), first | {"user_id": "refused"}, *["bad"] * 9)
    rows = [event() for _ in range(2_000)]
    write_ndjson(landing / "b.ndjson", *rows[:150], first, *rows[150:], first | {"user_id": "second"})
    _, report = load("--max-rejects", "5")
    assert [file["status"] for file in report["files"]] == ["refused", "loaded"]
    assert (report["inserted"], report["conflicts"]) == (2_001, 1)
    assert query("SELECT user_id FROM events WHERE line = 151") == [("first",)]


def test_what_is_put_off_keeps_no_unit_in_memory() -> None:
    ids = [uuid.uuid4().bytes for _ in range(1_000)]
    unit = pl.DataFrame({"event_id": ids, "text": [f"{number} {'x' * 1_000}" for number in range(1_000)]})
    row = unit.filter(pl.int_range(pl.len()) == 500)
    copied = put_off.apart(row).rows
    assert copied.equals(row)
    assert _buffers(row) > 1_000_000
    assert _buffers(copied) < 10_000


def _buffers(frame: pl.DataFrame) -> int:
    """How many bytes of texts a frame keeps in memory, be they its own or not."""
    texts = frame["text"].to_arrow(compat_level=pl.CompatLevel.newest())
    return sum(buffer.size for buffer in texts.buffers() if buffer is not None)


def test_a_new_row_at_the_end_of_a_file_that_was_all_known_is_inserted(load: Load, query: Query, landing: Path) -> None:
    known = [event() for _ in range(1_000)]
    write_ndjson(landing / "a.ndjson", *known)
    load()
    new = event()
    write_ndjson(landing / "b.ndjson", *known, new, new, new | {"user_id": "other"})
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["conflicts"]) == (1, 1_001, 1)
    assert query(f"SELECT line FROM events WHERE event_id = '{new['event_id']}'") == [(1_001,)]


def test_a_row_that_postgres_refuses_costs_no_other_row_of_its_unit(
    load: Load, query: Query, landing: Path, copied: list[int]
) -> None:
    query("ALTER TABLE events ADD CHECK (user_id <> 'nobody')")
    rows = [event(user_id="nobody" if number == 500 else "somebody") for number in range(1_000)]
    write_ndjson(landing / "a.ndjson", *rows, *rows[498:503])
    _, report = load()
    assert (report["inserted"], report["duplicates"], report["rejected"]) == (999, 4, 2)
    assert sorted(row["line"] for row in quarantined(landing)) == [501, 1_003]
    assert sum(copied) > 500  # the other units went the quick way


def test_what_a_trigger_makes_of_a_row_is_stored(load: Load, query: Query, landing: Path, copied: list[int]) -> None:
    query(
        "CREATE FUNCTION mark() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.user_id := 'seen'; RETURN NEW; END $$"
    )
    query("CREATE TRIGGER mark BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION mark()")
    write_ndjson(landing / "a.ndjson", *(event() for _ in range(300)))
    load()
    assert copied
    assert query("SELECT DISTINCT user_id FROM events") == [("seen",)]


@pytest.fixture
def role(database: str) -> Iterator[str]:
    """The conninfo of a role that row-level security applies to."""
    name = f"loader_test_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(name)))
        for rights in ("ALL TABLES", "ALL SEQUENCES"):
            grant = sql.SQL("GRANT ALL ON {} IN SCHEMA public TO {}")
            connection.execute(grant.format(sql.SQL(rights), sql.Identifier(name)))
    try:
        yield make_conninfo(database, user=name, password="x")
    finally:
        with psycopg.connect(database, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


def test_under_row_level_security_rows_are_merged_and_its_policies_hold(
    role: str, query: Query, landing: Path, copied: list[int]
) -> None:
    query("ALTER TABLE events ENABLE ROW LEVEL SECURITY")
    query("CREATE POLICY reading ON events FOR SELECT USING (true)")
    query("CREATE POLICY writing ON events FOR INSERT WITH CHECK (user_id <> 'nobody')")
    write_ndjson(landing / "a.ndjson", *(event() for _ in range(300)))
    assert cli.main(["run", "--quiet", "--settle", "0", "--landing", str(landing), "--database-url", role]) == 0
    assert query("SELECT count(*) FROM events") == [(300,)]
    assert copied == []


@pytest.mark.parametrize("rows", [1, 300])
def test_a_key_that_is_only_checked_at_commit_loads_nothing(
    load: Load, query: Query, landing: Path, copied: list[int], rows: int
) -> None:
    query("ALTER TABLE events DROP CONSTRAINT events_pkey, ADD PRIMARY KEY (event_id) DEFERRABLE")
    path = write_ndjson(landing / "a.ndjson", *(event() for _ in range(rows)))
    code, _ = load()
    assert (code, copied, path.exists()) == (1, [], True)
    assert query("SELECT count(*) FROM events") == [(0,)]


def test_rows_go_into_the_partitions_of_a_partitioned_table(
    load: Load, query: Query, landing: Path, copied: list[int]
) -> None:
    query("DROP TABLE events")
    query(
        "CREATE TABLE events (event_id uuid PRIMARY KEY, event_time timestamptz NOT NULL, file_id bigint NOT NULL,"
        " line bigint NOT NULL, event_name text NOT NULL, user_id text NOT NULL, properties jsonb NOT NULL)"
        " PARTITION BY HASH (event_id)"
    )
    for number in range(2):
        query(f"CREATE TABLE part_{number} PARTITION OF events FOR VALUES WITH (MODULUS 2, REMAINDER {number})")
    rows = [event() for _ in range(300)]
    write_ndjson(landing / "a.ndjson", *rows, *rows[:10])
    _, report = load()
    assert (report["inserted"], report["duplicates"]) == (300, 10)
    assert copied
    assert query("SELECT count(*) > 50 FROM part_0") == query("SELECT count(*) > 50 FROM part_1") == [(True,)]
    sizes = query("SELECT sum(pg_indexes_size(relid)) FROM pg_partition_tree('events') WHERE isleaf")
    assert query(resources.sql("key_size").decode()) == sizes


def test_what_a_unit_is_marked_with_takes_no_name_from_a_field() -> None:
    terms = contract.load()
    key = str(uuid.uuid4())
    columns = {name: pl.Series([key, key]) for name in terms.columns}
    frame = pl.DataFrame({"file_id": [1, 1], "line": [2, 1]} | columns | {"again": ["b", "a"]})
    ordered = units.in_merge_order(units.with_binary_ids(frame, terms))
    assert ordered["again"].to_list() == ["a", "b"]
    assert ordered[units.AGAIN].to_list() == [False, True]
