"""What the loader must not do for whoever can write to its folders, and what it must never say."""

from __future__ import annotations

import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from loader import cli, quarantine, scratch
from loader.model import Problem, Raw, Reject
from loader.publish import Publisher
from loader.scratch import Scratch, Unnamed, Unsaved
from loader.sidecar import Sidecar
from tests.hostile import ESCAPES, is_safe
from tests.support import Load, Query, event, quarantined, write_ndjson

SECRET = "hunter2"

# --- What lies in the landing folder ---------------------------------------------------------------------------------


def link_to_file(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "target.ndjson")


def link_to_folder(path: Path, outside: Path) -> None:
    path.symlink_to(outside)


def link_to_nowhere(path: Path, outside: Path) -> None:
    path.symlink_to(outside / "nowhere")


def link_to_itself(path: Path, _: Path) -> None:
    path.symlink_to(path)


def fifo(path: Path, _: Path) -> None:
    os.mkfifo(path)


def unix_socket(path: Path, _: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # A socket's path may only have about 100 bytes.
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path.name)
    finally:
        os.chdir(here)


def folder(path: Path, outside: Path) -> None:
    path.mkdir()
    (path / "inside.ndjson").write_bytes((outside / "target.ndjson").read_bytes())


THINGS = [link_to_file, link_to_folder, link_to_nowhere, link_to_itself, fifo, unix_socket, folder]


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that is none of the loader's, with a file that it must not load."""
    place = tmp_path / "outside"
    place.mkdir()
    write_ndjson(place / "target.ndjson", event(user_id="outside"))
    return place


@pytest.mark.parametrize("make", THINGS)
def test_what_is_no_regular_file_is_left_alone(
    load: Load, query: Query, landing: Path, outside: Path, make: Callable[[Path, Path], None]
) -> None:
    paths = [landing / name for name in ("a.ndjson", "a.ndjson.gz", "a.parquet")]
    for path in paths:
        make(path, outside)
    kinds = [stat.S_IFMT(path.lstat().st_mode) for path in paths]
    write_ndjson(landing / "good.ndjson", event(user_id="good"))
    code, report = load()
    assert (code, [file["name"] for file in report["files"]]) == (0, ["good.ndjson"])
    assert query("SELECT user_id FROM events") == [("good",)]
    assert [stat.S_IFMT(path.lstat().st_mode) for path in paths] == kinds
    assert [path.name for path in outside.iterdir()] == ["target.ndjson"]


@pytest.mark.parametrize("make", THINGS)
def test_what_is_no_regular_file_fails_where_it_is_named(
    load: Load, query: Query, landing: Path, outside: Path, make: Callable[[Path, Path], None]
) -> None:
    make(landing / "a.ndjson", outside)
    code, report = load(str(landing / "a.ndjson"))
    assert (code, report["files"][0]["status"]) == (1, "failed")
    assert query("SELECT count(*) FROM events") == [(0,)]
    assert [path.name for path in outside.iterdir()] == ["target.ndjson"]


def test_a_recursive_run_follows_no_symlink_to_a_folder(load: Load, query: Query, landing: Path, outside: Path) -> None:
    (landing / "link").symlink_to(outside)
    (landing / "loop").symlink_to(landing)
    write_ndjson(landing / "good.ndjson", event(user_id="good"))
    assert load("--recursive")[0] == 0
    assert query("SELECT user_id FROM events") == [("good",)]
    assert (outside / "target.ndjson").exists()


def test_a_recursive_run_survives_folders_of_any_depth(load: Load, query: Query, landing: Path) -> None:
    write_ndjson(landing / "good.ndjson", event())
    deep = [str(landing) + "/d" * depth for depth in range(1, 1201)]
    for path in deep:
        os.mkdir(path)  # noqa: PTH102 # pathlib and shutil recurse, too
    try:
        load("--recursive")
    finally:
        for path in reversed(deep):
            os.rmdir(path)  # noqa: PTH106
    assert query("SELECT count(*) FROM events") == [(1,)]


# --- Planted folders -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["archive", "quarantine"])
def test_a_symlink_for_a_folder_of_the_loaders_is_followed(load: Load, landing: Path, outside: Path, name: str) -> None:
    """So can an administrator place it elsewhere on the disk; whoever may write to landing can do the same."""
    (landing / name).symlink_to(outside)
    write_ndjson(landing / "a.ndjson", event(), "{")
    assert load()[0] == 3
    assert (landing / name).is_symlink()
    found = [path for path in outside.rglob("a.*") if path.is_file()]
    assert len(found) == 1
    assert (outside / "target.ndjson").exists()


@pytest.mark.parametrize("taken", ["symlink", "folder", "fifo"])
def test_what_is_planted_under_the_name_of_a_reject_file_is_never_written_through(
    load: Load, landing: Path, outside: Path, taken: str
) -> None:
    write_ndjson(landing / "a.ndjson", "{")
    load()
    (planted,) = (landing / "quarantine").iterdir()
    planted.unlink()
    target = outside / "target.ndjson"
    before = target.read_bytes()
    {"symlink": lambda path: path.symlink_to(target), "folder": Path.mkdir, "fifo": os.mkfifo}[taken](planted)
    _, digest, file_id, *_ = planted.name.split(".")
    with Publisher(planted.parent, Sidecar(files=0)) as publisher:
        rejects = publisher.file("a.ndjson", bytes.fromhex(digest) + bytes(28), int(file_id), None)
        rejects.add([Reject(1, 1, (Problem("malformed_json", None, "x"),), Raw(b"{", 1))])
        if taken == "folder":
            with pytest.raises(quarantine.QuarantineError, match="Is a directory"):
                publisher.publish([rejects])
        else:
            publisher.publish([rejects])
            assert planted.is_file()
            assert not planted.is_symlink()
    assert target.read_bytes() == before
    assert list(planted.parent.glob(".*")) == []


def test_what_is_planted_under_the_name_of_a_temporary_file_is_never_written_through(
    landing: Path, outside: Path
) -> None:
    target = outside / "target.ndjson"
    before = target.read_bytes()
    with Scratch(landing / "quarantine") as place:
        (Path(place.path) / "1").symlink_to(target)
        (inode,) = scratch.save(Unsaved(place.path, [("1", b"rejects")]))
        assert isinstance(inode, int)
    assert target.read_bytes() == before


def test_a_symlink_in_place_of_the_folder_for_temporary_files_is_never_followed(landing: Path, outside: Path) -> None:
    before = sorted(outside.iterdir())
    with Scratch(landing / "quarantine") as place:
        folder = Path(place.path)
        shutil.rmtree(folder)
        folder.symlink_to(outside)
        assert scratch.save(Unsaved(place.path, [("1", b"rejects")])) == ["Not a directory"]
        names = [(path.name, path.stat().st_ino, str(landing / path.name)) for path in before]
        assert scratch.give_names(Unnamed(place.path, names)) == ["Not a directory"] * len(names)
    scratch.sweep(landing / "quarantine")
    assert sorted(outside.iterdir()) == before


def test_a_fifo_in_quarantine_makes_no_run_wait(landing: Path) -> None:
    place = landing / "quarantine"
    place.mkdir()
    os.mkfifo(place / ".load-planted.tmp")
    sweeper = threading.Thread(target=scratch.sweep, args=[place], daemon=True)
    sweeper.start()
    sweeper.join(5)
    is_stuck = sweeper.is_alive()
    if is_stuck:  # Let it go.
        os.close(os.open(place / ".load-planted.tmp", os.O_WRONLY | os.O_NONBLOCK))
        sweeper.join()
    assert not is_stuck


# --- Rights of what the loader writes --------------------------------------------------------------------------------


@pytest.mark.parametrize("mask", [0, 0o022, 0o077])
def test_only_the_owner_can_read_what_quarantine_says(load: Load, landing: Path, mask: int) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{")
    (landing / "b.ndjson.gz").write_bytes(b"no gzip")
    before = os.umask(mask)
    try:
        load()
    finally:
        os.umask(before)
    modes = {
        ".".join(path.name.split(".")[-2:]): stat.S_IMODE(path.stat().st_mode)
        for path in (landing / "quarantine").iterdir()
        if path.suffix in (".json", ".ndjson")
    }
    assert modes == {"rejected.ndjson": 0o600, "error.json": 0o600}


def test_a_moved_file_keeps_its_rights(load: Load, landing: Path) -> None:
    write_ndjson(landing / "a.ndjson", event()).chmod(0o640)
    path = landing / "b.ndjson.gz"
    path.write_bytes(b"no gzip")
    path.chmod(0o600)
    load()
    assert stat.S_IMODE(next(landing.glob("archive/*/a.*")).stat().st_mode) == 0o640
    assert stat.S_IMODE(next(landing.glob("quarantine/b.*.gz")).stat().st_mode) == 0o600


# --- Strings are data ------------------------------------------------------------------------------------------------

INJECTIONS = [
    "'; DROP TABLE events; --",
    '"; DROP TABLE events; --',
    "$$; DROP TABLE events; $$",
    "\\'; DROP TABLE events; --",
    "%s %(sha256)s %% {columns} {staging}",
    "\\N\t\\.\n\\x41",
    "1); SELECT pg_sleep(100); --",
    "${jndi:ldap://127.0.0.1/a}",
    ESCAPES,
]


def test_sql_in_a_value_is_stored_verbatim(load: Load, query: Query, landing: Path) -> None:
    rows = [event(event_name=text, user_id=text, properties={text: [text]}) for text in INJECTIONS]
    write_ndjson(landing / "a.ndjson", *rows)
    assert load()[0] == 0
    stored = query("SELECT event_name, user_id, properties FROM events ORDER BY line")
    assert stored == [(text, text, {text: [text]}) for text in INJECTIONS]


def test_sql_in_a_rejected_row_is_kept_verbatim(load: Load, query: Query, landing: Path) -> None:
    rows = [json.dumps({**event(event_id=text, event_time=text), text: text}) for text in INJECTIONS]
    write_ndjson(landing / "a.ndjson", *rows)
    assert load()[0] == 3
    found = quarantined(landing)
    assert [row["raw"] for row in found] == rows
    for row, text in zip(found, INJECTIONS, strict=True):
        assert text in [error["column"] for error in row["errors"]]
    assert query("SELECT count(*) FROM events") == [(0,)]


def test_sql_in_what_postgres_says_of_a_row_is_kept_verbatim(load: Load, query: Query, landing: Path) -> None:
    query(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN"
        " RAISE EXCEPTION USING MESSAGE = NEW.user_id; END $f$"
    )
    query("CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION refuse()")
    texts = INJECTIONS[::-1]  # so that what the ledger shows is the worst of them
    write_ndjson(landing / "a.ndjson", *(event(user_id=text) for text in texts))
    assert load()[0] == 3
    assert [row["errors"] for row in quarantined(landing)] == [
        [{"code": "refused_by_postgres", "column": None, "message": f"{text} (SQLSTATE P0001)"}] for text in texts
    ]
    ((said_first,),) = query("SELECT first_error FROM loader_files")
    assert is_safe(said_first)


def test_sql_in_a_file_name_is_data(load: Load, query: Query, landing: Path) -> None:
    for text in INJECTIONS:
        write_ndjson(landing / f"{text.replace('/', '_')}.ndjson", event(), "{" + " " * len(text))
    assert load()[0] == 3
    assert query("SELECT sum(rows_inserted) FROM loader_files") == [(len(INJECTIONS),)]
    assert query("SELECT count(*) FROM events") == [(len(INJECTIONS),)]
    assert len(quarantined(landing)) == len(INJECTIONS)


def test_no_name_leads_out_of_the_folders(load: Load, landing: Path, tmp_path: Path) -> None:
    names = ["a\\..\\..\\b", "%2e%2e%2fa", "a..", "a:b", "CON", "archive", "quarantine", "~", "-"]
    for name in names:
        write_ndjson(landing / f"{name}.ndjson", event(), "{" + " " * names.index(name))
    assert load()[0] == 3
    assert [path.name for path in tmp_path.iterdir()] == ["landing"]
    assert sorted(path.name for path in landing.iterdir()) == ["archive", "quarantine"]
    assert len(list(landing.glob("quarantine/*.rejected.ndjson"))) == len(names)
    assert len(list(landing.glob("archive/????-??-??/*.ndjson"))) == len(names)


@pytest.mark.parametrize(
    "arguments", [["x\x1b[31m\n.txt"], ["--landing", "x\x1b[31m\n"], ["--config", "x\x1b[31m\n"]], ids=str
)
def test_a_path_in_an_error_cannot_steer_a_terminal(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "--quiet", "--database-url", "host=127.0.0.1 port=1", *arguments]) == 2
    assert is_safe(capsys.readouterr().err.removesuffix("\n"))


# --- Secrets ---------------------------------------------------------------------------------------------------------


def from_flag(url: str, _: pytest.MonkeyPatch) -> list[str]:
    return ["--database-url", url]


def from_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("DATABASE_URL", url)
    return []


def from_own_environment(url: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setenv("LOADER_DATABASE_URL", url)
    return []


def from_file(url: str, _: pytest.MonkeyPatch) -> list[str]:
    Path("loader.toml").write_text(f"database_url = {json.dumps(url)}\n")
    return []


PLACES = [from_flag, from_environment, from_own_environment, from_file]

SHAPES = {
    "unreachable": "postgresql://me:{}@127.0.0.1:1/db",
    "postgres:// scheme": "postgres://me:{}@127.0.0.1:1/db",
    "no user": "postgresql://:{}@127.0.0.1:1/db",
    "no host": "postgresql://me:{}@:1/db",
    "percent-encoded": f"postgresql://me:%40%2F{{}}{quote(' :')}@127.0.0.1:1/db",
    "colon in the password": "postgresql://me:a:{}@127.0.0.1:1/db",
    "port no number": "postgresql://me:{}@127.0.0.1:port/db",
    "port out of range": "postgresql://me:{}@127.0.0.1:99999/db",
    "unclosed IPv6": "postgresql://me:{}@[::1/db",
    "unknown scheme": "mysql://me:{}@127.0.0.1:1/db",
    "unknown parameter": "postgresql://me:{}@127.0.0.1:1/db?bogus=1",
    "bad parameter": "postgresql://me:{}@127.0.0.1:1/db?sslmode=bogus",
    "password as a parameter": "postgresql://me@127.0.0.1:1/db?password={}",
    "parameter with two signs": "postgresql://me@127.0.0.1:1/db?password={0}={0}",
    "leading space": " postgresql://me:{}@127.0.0.1:1/db",
    "quotes around": '"postgresql://me:{}@127.0.0.1:1/db"',
    "many hosts": "postgresql://me:{}@127.0.0.1:1,127.0.0.1:2/db",
    "unresolvable": "postgresql://me:{}@host.invalid/db",
    "keywords": "host=127.0.0.1 port=1 user=me password={}",
    "keywords with quotes": "host=127.0.0.1 port=1 password='a {}'",
    "keywords with spaces": "host=127.0.0.1 port=1 password = {}",
    "keywords with an escaped quote": r"host=127.0.0.1 port=1 password='a\' dbname={}'",
    "unclosed quote": "host=127.0.0.1 port=1 password='{}",
    "wrong keyword": "host=127.0.0.1 port=1 passwd={}",
    "upper case keyword": "host=127.0.0.1 port=1 PASSWORD={}",
    "password of the key": "host=127.0.0.1 port=1 sslpassword={} sslmode=bogus",
    # What libpq does not take, or takes otherwise than meant:
    "percent sign": "postgresql://me:{}%@127.0.0.1:1/db",
    "wrong percent-encoding": "postgresql://me:%zz{}@127.0.0.1:1/db",
    "percent sign in a parameter": "postgresql://me@127.0.0.1:1/db?password={}%",
    "@ in the password": "postgresql://me:a@{}@127.0.0.1:1/db",
    "@ in the password, unclosed IPv6": "postgresql://me:a@{}@[::1/db",
    "space in the password": "postgresql://me:a {}@127.0.0.1:1/db",
    "parameter without a sign": "postgresql://me@127.0.0.1:1/db?password {}",
    "one slash": "postgresql:/me:{}@127.0.0.1:1/db",
    "no slashes": "postgresql:me:{}@127.0.0.1:1/db",
    "no scheme": "me:{}@127.0.0.1:1/db",
    "slashes only": "//me:{}@127.0.0.1:1/db",
    "three slashes": "postgresql:///me:{}@127.0.0.1:1/db",
    "JDBC": "jdbc:postgresql://127.0.0.1:1/db?user=me&password={}",
    "unquoted space": "host=127.0.0.1 port=1 password=a {}",
    "escaped space": r"host=127.0.0.1 port=1 password=a\ dbname={}",
    "colon for a sign": "host=127.0.0.1 port=1 password:{}",
    "the password alone": "{}",
}


def said(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """All that a command says, a traceback included."""
    crash = ""
    try:
        cli.main(arguments)
    except Exception:  # noqa: BLE001
        crash = traceback.format_exc()
    captured = capsys.readouterr()
    return captured.out + captured.err + crash


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_a_password_is_never_said(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    shape: str,
    place: Callable[[str, pytest.MonkeyPatch], list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "landing").mkdir()
    write_ndjson(tmp_path / "landing" / "a.ndjson", event())
    arguments = place(shape.format(SECRET), monkeypatch)
    words = said(["run", "--json", "--settle", "0", *arguments], capsys)
    words += said(["migrate", *arguments], capsys)
    assert "Traceback" not in words
    assert SECRET not in words
    assert "can't connect to" in words


@pytest.mark.parametrize("password", ["2024#x", "2024?x"])
def test_the_digits_that_begin_a_password_are_not_taken_for_a_port(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, password: str
) -> None:
    url = f"postgresql://me:{password}@127.0.0.1:1/db"
    assert "2024" not in said(["run", "--landing", str(tmp_path), "--database-url", url], capsys)


def test_a_password_that_is_not_utf8_is_one_line(
    capsys: pytest.CaptureFixture[str], landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", os.fsdecode(b"postgresql://me:hunter2\xff@127.0.0.1:1/db"))
    write_ndjson(landing / "a.ndjson", event())
    words = said(["run", "--quiet", "--settle", "0", "--landing", str(landing)], capsys)
    assert words.count("\n") == 1
    assert SECRET not in words


def test_a_password_in_pgpassword_is_never_said(
    capsys: pytest.CaptureFixture[str], landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"PGPASSWORD": SECRET, "PGHOST": "127.0.0.1", "PGPORT": "1"}.items():
        monkeypatch.setenv(name, value)
    write_ndjson(landing / "a.ndjson", event())
    words = said(["run", "--json", "--settle", "0", "--landing", str(landing)], capsys)
    assert "can't connect to" in words
    assert SECRET not in words


SETTINGS = [
    'database_url = "postgresql://me:{}@127.0.0.1:1/db',
    "database_url = postgresql://me:{}@127.0.0.1:1/db",
    'database_url = "postgresql://me:{}@127.0.0.1:1/db" junk',
    'database_url = "postgresql://me:{0}@h"\ndatabase_url = "postgresql://me:{0}@h"',
    'database-url = "postgresql://me:{}@127.0.0.1:1/db"',
    'password = "{}"',
    'database_url = ["postgresql://me:{}@127.0.0.1:1/db"]',
    'database_url = {{password = "{}"}}',
    '[database_url]\npassword = "{}"',
    'jobs = "postgresql://me:{}@127.0.0.1:1/db"',
    '"postgresql://me:{}@127.0.0.1:1/db" = 1',
]


@pytest.mark.parametrize("text", SETTINGS)
def test_a_password_in_a_wrong_settings_file_is_never_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, text: str
) -> None:
    config = tmp_path / "loader.toml"
    config.write_text(text.format(SECRET))
    assert cli.main(["run", "--config", str(config)]) == 2
    words = capsys.readouterr().err
    assert SECRET not in words
    assert words.count("\n") == 1


@contextmanager
def role(database: str) -> Iterator[str]:
    """The conninfo of a role that may load, with a password."""
    name = f"loader_test_secret_{os.getpid()}"
    rights = "GRANT ALL ON ALL TABLES IN SCHEMA public TO {0}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {0}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(SECRET))
        )
        try:
            connection.execute(sql.SQL(rights).format(sql.Identifier(name)))
            yield make_conninfo(database, user=name, password=SECRET)
        finally:
            connection.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(name)))


# Runs the loader, then shows how the process looks from outside.
_SEEN = """
import pathlib, sys
from loader import cli
code = cli.main(["run", "--json", "--settle", "0"])
for name in ("cmdline", "comm"):
    path = pathlib.Path("/proc/self") / name
    sys.stderr.write(path.read_text() if path.exists() else "")
sys.exit(code)
"""


@pytest.mark.parametrize("variable", ["DATABASE_URL", "LOADER_DATABASE_URL", "PGPASSWORD"])
def test_a_password_that_works_is_nowhere_afterwards(database: str, query: Query, landing: Path, variable: str) -> None:
    write_ndjson(landing / "a.ndjson", shared := event(), "{", shared | {"user_id": "other"})
    (landing / "b.ndjson.gz").write_bytes(b"no gzip")
    with role(database) as conninfo:
        environment = dict(os.environ) | {variable: SECRET if variable == "PGPASSWORD" else conninfo}
        if variable == "PGPASSWORD":
            environment["DATABASE_URL"] = make_conninfo(conninfo, password=None)
        done = subprocess.run(
            [sys.executable, "-c", _SEEN], capture_output=True, cwd=landing.parent, env=environment, check=False
        )
    assert done.returncode == 1, done.stderr
    assert query("SELECT count(*) FROM events") == [(1,)]
    kept = [path.read_bytes() for path in landing.rglob("*") if path.is_file()]
    ledger = repr(query("SELECT * FROM loader_files")).encode()
    assert not [text for text in (done.stdout, done.stderr, ledger, *kept) if SECRET.encode() in text]


def test_psql_gets_the_password_where_nobody_else_can_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "psql"
    program.write_text('#!/bin/sh\necho "$@"\necho "password: $PGPASSWORD"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert cli.main(["psql", "--database-url", f"postgresql://me:{SECRET}@127.0.0.1:1/db"]) == 0
    seen, environment = capfd.readouterr().out.splitlines()
    assert "127.0.0.1" in seen
    assert SECRET not in seen
    assert environment == f"password: {SECRET}"
