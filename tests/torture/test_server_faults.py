"""The server ends sessions, dies, refuses and keeps one waiting: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.types.json import Jsonb

from loader import database as loader_database
from loader import embedded, ledger, units
from tests.conftest import new_database
from tests.support import is_alive
from tests.torture import corpus, model
from tests.torture.corpus import Maker, drop, ndjson, other
from tests.torture.harness import (
    QUICK_RETRIES,
    SMALL_BLOCKS,
    Child,
    ask,
    backends,
    check,
    inputs_left,
    is_long,
    recover_and_check,
    run,
    some_waits,
    standing,
    terminate,
    until,
)
from tests.torture.model import Content, Input
from tests.torture.proxy import Break, wire

pytestmark = pytest.mark.slow
ALL = [file.name for file in corpus.corpus()]
PATIENT = (*SMALL_BLOCKS, *QUICK_RETRIES)


@pytest.fixture(autouse=True)
def _quick_and_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """For loaders in this process: short pauses, and a corpus that takes several loads, blocks and units."""
    for assignment in PATIENT:
        target, _, value = assignment.partition("=")
        monkeypatch.setattr(target, json.loads(value))


class Background:
    """The real loader, in a thread."""

    def __init__(self, landing: Path, database: str) -> None:
        self.code = -1
        self._thread = threading.Thread(target=self._run, args=(landing, database), daemon=True)
        self._thread.start()

    def _run(self, landing: Path, database: str) -> None:
        self.code = run(landing, database)

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def end(self) -> int:
        until(lambda: self.is_done, "the loader's end")
        return self.code


@contextmanager
def session(database: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """Somebody else's session, with a transaction that is rolled back unless it is committed."""
    connection = psycopg.connect(database)
    try:
        yield connection
    finally:
        connection.close()


def store(connection: psycopg.Connection[tuple[Any, ...]], *events: dict[str, Any]) -> None:
    for event in events:
        columns = {name: event[name] for name in model.FIELDS[:-1]}
        connection.execute(
            "INSERT INTO events (event_id, event_name, event_time, user_id, properties)"
            " VALUES (%(event_id)s, %(event_name)s, %(event_time)s, %(user_id)s, %(properties)s)",
            columns | {"properties": Jsonb(event["properties"])},
        )


def contents(*events: dict[str, Any]) -> dict[str, Content]:
    """Events as the model sees them."""
    rows = model.rows_of(Input("stored.ndjson", ndjson(*events)))
    return {row.event_id: row.content for row in rows if row.content is not None}


# The server ends sessions.

LOST = [
    "wrote half a block to COPY",
    "merged a unit",
    "quarantine renamed",
    "ledger written",
    "COMMIT sent",
    "committed",
]
REFUSING = "refusal: not in the ledger"


@pytest.mark.parametrize("step", [*(LOST if is_long() else LOST[::2]), REFUSING])
def test_sessions_are_ended_and_the_loader_finishes_by_itself(database: str, landing: Path, step: str) -> None:
    drop(landing, corpus.corpus())
    nth = 1 if step == REFUSING else 2
    with standing(landing, database, step, nth, settings=PATIENT) as loader:
        assert terminate(database) == 1
        loader.go_on()
        code, _, said = loader.end()
    assert code == 1, said  # One file is refused.
    assert "Traceback" not in said
    assert inputs_left(landing) == []
    recover_and_check(landing, database, corpus.corpus())


TAKEN_OVER = ["merged all", "quarantine renamed", "ledger not written", "ledger written", "committed", "not archived"]


@pytest.mark.parametrize("step", TAKEN_OVER if is_long() else TAKEN_OVER[1:4:2])
def test_sessions_are_ended_and_another_loader_takes_over(database: str, landing: Path, step: str) -> None:
    """A machine sleeps in the middle of a load, and wakes up when its files are loaded and gone."""
    drop(landing, corpus.corpus())
    with standing(landing, database, step, 2, settings=PATIENT) as loader:
        terminate(database)
        run(landing, database)
        assert inputs_left(landing) == []
        loader.go_on()
        code, _, said = loader.end()
    assert code in (0, 1, 3), said
    recover_and_check(landing, database, corpus.corpus())


def test_who_lost_its_session_leaves_the_quarantine_of_its_successor_alone(database: str, landing: Path) -> None:
    events = Maker(11).events(5)
    file = Input("slept.ndjson", ndjson(*events))
    earlier = Input("earlier.ndjson", ndjson(other(events[1]), other(events[2])))
    drop(landing, [file])
    with standing(landing, database, "ledger written", settings=PATIENT) as loader:
        terminate(database)
        drop(landing, [earlier])
        assert run(landing, database, str(landing / earlier.name)) == 0
        # To the one that takes over two of the five are conflicts.
        assert run(landing, database) == 3
        loader.go_on()
        loader.end()
    recover_and_check(landing, database, [earlier, file], together=())


# The server dies. This one is our own.


@pytest.fixture(scope="module")
def own_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="loader-torture-"))
    folder.chmod(0o755)  # The server runs as another user where the tests run as root.
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def mortal(own_folder: Path) -> Iterator[str]:
    """A database on a server that may be killed."""
    with embedded.running(own_folder) as conninfo, new_database(conninfo) as (_, database):
        yield database


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "data" / "postmaster.pid").read_text().split("\n")[0])


def start_again(folder: Path) -> None:
    with embedded.running(folder):
        pass  # It stays up for the one that `mortal` counts as its user.


def is_gone(database: str, backend: int) -> bool:
    """Say whether the server is up, and done with a backend that was killed. It notices such a thing after a while."""
    try:
        return backend not in backends(database)
    except psycopg.OperationalError:
        return False


def crash(folder: Path) -> None:
    """Shut the server down at once: no checkpoint, no goodbye. What it has in memory is lost."""
    os.kill(pid := postmaster(folder), signal.SIGQUIT)
    until(lambda: not is_alive(pid), "the server's end")


@pytest.mark.parametrize("step", ["ledger written", *["wrote half a block to COPY"] * is_long()])
def test_a_backend_is_killed(mortal: str, landing: Path, step: str) -> None:
    """The server then ends all sessions, and recovers."""
    drop(landing, corpus.corpus())
    with standing(landing, mortal, step, 2, settings=PATIENT) as loader:
        victim, *_ = backends(mortal)
        os.kill(victim, signal.SIGKILL)
        until(lambda: is_gone(mortal, victim), "the server's recovery")
        loader.go_on()
        code, _, said = loader.end()
    assert (code, inputs_left(landing)) == (1, []), said
    recover_and_check(landing, mortal, corpus.corpus())


@pytest.mark.parametrize(("step", "nth"), [("COMMIT sent", 2), (REFUSING, 1), *[("merged a unit", 2)] * is_long()])
def test_the_server_crashes_and_comes_back(mortal: str, own_folder: Path, landing: Path, step: str, nth: int) -> None:
    drop(landing, corpus.corpus())
    with standing(landing, mortal, step, nth, settings=PATIENT) as loader:
        crash(own_folder)
        start_again(own_folder)
        loader.go_on()
        code, _, said = loader.end()
    assert (code, inputs_left(landing)) == (1, []), said
    recover_and_check(landing, mortal, corpus.corpus())


@pytest.mark.parametrize("step", ["merged a unit", *["not archived"] * is_long()])
def test_the_server_crashes_and_stays_away(mortal: str, own_folder: Path, landing: Path, step: str) -> None:
    drop(landing, corpus.corpus())
    with standing(landing, mortal, step, 2, settings=PATIENT) as loader:
        crash(own_folder)
        loader.go_on()
        code, _, said = loader.end()
    assert code == 1, said
    assert "Traceback" not in said
    assert inputs_left(landing)
    start_again(own_folder)
    recover_and_check(landing, mortal, corpus.corpus())


def test_the_server_crashes_and_gives_out_the_ids_of_a_load_that_died_again(
    mortal: str, own_folder: Path, landing: Path
) -> None:
    """What a sequence has given out is only sure to be on disk when a transaction that asked for it has committed."""
    make = Maker(14)
    file, earlier = (Input(name, ndjson(make.bad(2))) for name in ("file.ndjson", "earlier.ndjson"))
    drop(landing, [file])
    with standing(landing, mortal, "quarantine published") as loader:
        crash(own_folder)
        loader.kill()
    start_again(own_folder)
    drop(landing, [earlier, file])
    recover_and_check(landing, mortal, [earlier, file], together=())


def test_the_server_crashes_and_has_all_that_was_moved_whatever_its_default_for_commits(
    mortal: str, own_folder: Path, landing: Path
) -> None:
    files = [*corpus.corpus(), Input("k-bad.ndjson", ndjson(Maker(15).bad(2)))]
    drop(landing, files)
    ((name,),) = ask(mortal, "SELECT current_database()")
    ask(mortal, f"ALTER DATABASE {name} SET synchronous_commit = off")
    ask(mortal, "ALTER SYSTEM SET wal_writer_delay = '10s'")
    ask(mortal, "SELECT pg_reload_conf()")
    try:
        assert run(landing, mortal) == 1  # One file is refused.
        crash(own_folder)
    finally:
        start_again(own_folder)
        ask(mortal, "ALTER SYSTEM RESET wal_writer_delay")
        ask(mortal, "SELECT pg_reload_conf()")
    recover_and_check(landing, mortal, files)


# The connection breaks at a COMMIT.


@pytest.mark.parametrize("nth", [1, 2, 3, 4] if is_long() else [2, 3])
@pytest.mark.parametrize("kind", [Break.COMMIT_IS_LOST, Break.ANSWER_IS_LOST])
def test_the_wire_breaks_at_commit(database: str, landing: Path, kind: Break, nth: int) -> None:
    drop(landing, corpus.corpus())
    with wire(database, kind, nth) as broken:
        assert run(landing, broken.conninfo) == 1  # One file is refused.
        assert broken.is_broken
    recover_and_check(landing, database, corpus.corpus())


def test_the_wire_breaks_and_the_server_does_not_notice(database: str, landing: Path) -> None:
    """Its session holds on to the file: for the time being it is in somebody's hand."""
    drop(landing, corpus.corpus())
    with wire(database, Break.SERVER_DOES_NOT_NOTICE, 2) as broken:
        loader = Background(landing, broken.conninfo)
        until(lambda: broken.is_broken and (loader.is_done or some_waits(database)), "the loader")
    loader.end()
    recover_and_check(landing, database, corpus.corpus())


def test_told_to_stop_while_the_network_drops_everything_the_loader_ends(database: str, landing: Path) -> None:
    drop(landing, corpus.corpus())
    with wire(database, Break.NOBODY_NOTICES, 2) as broken:
        loader = Child(landing, broken.conninfo)
        until(lambda: broken.is_broken, "the break")
        loader.process.send_signal(signal.SIGINT)
        code, _, said = loader.end()
    assert code == 130
    assert said.splitlines()[-1] == "loader: interrupted; what was not committed is rolled back, its files stay"
    recover_and_check(landing, database, corpus.corpus())


def test_each_side_asks_after_a_minute_of_silence_whether_the_other_is_there(database: str) -> None:
    with wire(database, Break.NOBODY_NOTICES, 0) as whole, loader_database.connected(whole.conninfo) as connection:
        with socket.socket(fileno=os.dup(connection.fileno())) as own:
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 60
        asked = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        changed = "SELECT name FROM pg_settings WHERE name = ANY (%s) AND source = 'session'"
        assert {name for (name,) in connection.execute(changed, [list(asked)])} == {*asked}


# Somebody else is in the way.


@pytest.mark.parametrize("end", ["commit", "rollback"])
def test_another_writer_has_the_same_ids_in_hand(database: str, landing: Path, end: str) -> None:
    make = Maker(12)
    events = make.events(30)
    file = Input("a.ndjson", ndjson(*events))
    same, different, fresh = events[4:9], [other(event) for event in events[20:23]], make.events(2)
    drop(landing, [file])
    with session(database) as writer:
        store(writer, *same, *different, *fresh)
        loader = Background(landing, database)
        until(lambda: some_waits(database), "the loader's wait")
        writer.commit() if end == "commit" else writer.rollback()
        assert loader.end() == (3 if end == "commit" else 0)
    stored = contents(*same, *different, *fresh) if end == "commit" else None
    check(landing, database, [file], stored=stored)


def test_events_is_locked_for_a_while(database: str, landing: Path) -> None:
    drop(landing, corpus.corpus())
    with session(database) as owner:
        owner.execute("LOCK events IN ACCESS EXCLUSIVE MODE")
        loader = Background(landing, database)
        until(lambda: some_waits(database), "the loader's wait")
        owner.rollback()
        assert loader.end() == 1  # One file is refused.
    check(landing, database, corpus.corpus())


def test_events_is_locked_for_too_long(database: str, landing: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader_database, "LOCK_TIMEOUT", "50ms")
    drop(landing, corpus.corpus())
    with session(database) as owner:
        owner.execute("LOCK events IN ACCESS EXCLUSIVE MODE")
        assert run(landing, database) == 1
        assert sorted(inputs_left(landing)) == sorted(ALL)
    recover_and_check(landing, database, corpus.corpus())


def test_a_deadlock_with_another_writer(database: str, landing: Path) -> None:
    """Whoever the server picks as the victim."""
    events = sorted(Maker(13).events(20), key=lambda event: str(event["event_id"]))
    file = Input("a.ndjson", ndjson(*events))
    drop(landing, [file])
    ((name,),) = ask(database, "SELECT current_database()")
    ask(database, f"ALTER DATABASE {name} SET deadlock_timeout = '2s'")
    with session(make_conninfo(database, options="-c deadlock_timeout=4s")) as writer:
        store(writer, events[9])
        loader = Background(landing, database)
        until(lambda: some_waits(database), "the loader's wait")
        try:
            store(writer, events[3])
        except psycopg.errors.DeadlockDetected:
            writer.rollback()
            stored = None
        else:
            writer.commit()
            stored = contents(events[3], events[9])
        assert loader.end() == 0
    recover_and_check(landing, database, [file], stored=stored)


def test_two_loads_that_meet_in_a_deadlock_end_one_after_the_other(database: str, landing: Path) -> None:
    events = Maker(14).events(2_000)
    files = [Input("a.ndjson", ndjson(*events)), Input("b.ndjson", ndjson(*reversed(events)))]
    with ExitStack() as stack:
        loaders = []
        for file in files:
            drop(landing, [file])
            more = [str(landing / file.name)]
            loader = standing(landing, database, "merged a unit", settings=PATIENT, more=more)
            loaders.append(stack.enter_context(loader))
        for each in loaders:
            each.go_on()
        ends = [each.end() for each in loaders]
    assert [code for code, _, _ in ends] == [0, 0]
    deadlocks = "SELECT 1 FROM pg_stat_database WHERE datname = current_database() AND deadlocks = 1"
    until(lambda: ask(database, deadlocks), "the count of one deadlock")
    check(landing, database, files, together=())


def test_who_met_another_in_a_deadlock_waits_until_all_loads_in_hand_have_ended(database: str, landing: Path) -> None:
    events = sorted(Maker(13).events(20), key=lambda event: str(event["event_id"]))
    drop(landing, [Input("a.ndjson", ndjson(*events))])
    with session(database) as other_load, session(make_conninfo(database, options="-c deadlock_timeout=4s")) as writer:
        ledger.enter_load(other_load, is_alone=False)
        store(writer, events[9])
        loader = Background(landing, database)
        until(lambda: some_waits(database), "the loader's wait")
        store(writer, events[3])
        writer.commit()
        until(lambda: some_waits(database), "the loader's wait for the other load")
        time.sleep(0.5)
        assert some_waits(database)
        other_load.rollback()
        assert loader.end() == 0
    assert ask(database, "SELECT count(*) FROM events") == [(20,)]


@pytest.mark.parametrize("state", ["40P01", "57P01", *["40001", "55P03", "57014", "53200", "53300"] * is_long()])
def test_a_failure_that_passes_is_tried_again(database: str, landing: Path, state: str) -> None:
    """The server fails twice, once at the first row of the second load."""
    drop(landing, corpus.corpus())
    ask(database, "CREATE SEQUENCE rows_seen")
    ask(
        database,
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        f" IF nextval('rows_seen') IN (3, 300) THEN RAISE EXCEPTION 'injected' USING ERRCODE = '{state}'; END IF;"
        " RETURN NEW; END $$",
    )
    ask(database, "CREATE TRIGGER fail BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION fail()")
    assert run(landing, database) == 1  # One file is refused.
    assert ask(database, "SELECT last_value > 300 FROM rows_seen") == [(True,)]
    recover_and_check(landing, database, corpus.corpus())


@pytest.mark.parametrize(
    "setting",
    [
        "statement_timeout",
        *["idle_in_transaction_session_timeout"] * is_long(),
        "idle_session_timeout",
        "transaction_timeout",
    ],
)
def test_the_database_sets_a_timeout_and_each_merge_takes_longer(
    database: str, landing: Path, setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(units, "_UNIT_BYTES", 1)  # each block by itself
    files = [file for file in corpus.corpus() if file.name == corpus.LARGE]
    drop(landing, files)
    ask(
        database,
        "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql"
        " AS $$ BEGIN PERFORM pg_sleep(0.8); RETURN NULL; END $$",
    )
    ask(database, "CREATE TRIGGER slow BEFORE INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION slow()")
    ((name, version),) = ask(database, "SELECT current_database(), current_setting('server_version_num')::int")
    if setting == "transaction_timeout" and version < 170_000:
        pytest.skip("PostgreSQL 17 is the first to have it")
    ask(database, f"ALTER DATABASE {name} SET {setting} = '500ms'")
    assert run(landing, database) == 3
    ask(database, f"ALTER DATABASE {name} RESET {setting}")
    check(landing, database, files)
