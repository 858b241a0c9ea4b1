"""The command line: exit codes, where words go, settings, and what a database in trouble looks like."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import polars as pl
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from loader import cli, migrate, resources
from loader.conninfo import describe, redact
from loader.errors import UsageError
from loader.settings import Settings, read
from tests.conftest import new_database
from tests.support import Load, Query, commands, event, write_ndjson


def run(landing: Path, conninfo: str, *arguments: str) -> int:
    return cli.main(["run", "--settle", "0", "--landing", str(landing), "--database-url", conninfo, *arguments])


def test_an_idle_run_opens_no_connection_and_imports_nothing_heavy(landing: Path) -> None:
    code = (
        "import sys; from loader.cli import main; "
        f"assert main(['run', '--landing', {str(landing)!r}, '--database-url', 'postgresql://127.0.0.1:1/x']) == 0; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} "
        "& {'polars', 'pandera', 'psycopg', 'pyarrow', 'msgspec', 'rich', 'dataclasses', 'hashlib'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    assert "nothing to load" in done.stderr


@pytest.mark.parametrize(("name", "imported"), [("a.ndjson", "False"), ("a.parquet", "True")])
def test_what_reads_parquet_is_imported_only_for_such_a_file(
    landing: Path, database: str, name: str, imported: str
) -> None:
    if name == "a.parquet":
        pl.DataFrame([event(properties="{}")]).write_parquet(landing / name)
    else:
        write_ndjson(landing / name, event())
    code = (
        "import sys; from loader.cli import main; "
        f"assert main(['run', '--settle=0', '--landing', {str(landing)!r}, '--database-url', {database!r}]) == 0; "
        "print('pyarrow.parquet' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == imported


@pytest.mark.parametrize(
    ("chosen", "taken"),
    [
        ({}, "in-memory 1"),
        ({"POLARS_ENGINE_AFFINITY": "streaming", "POLARS_MAX_THREADS": "3"}, "streaming 3"),
    ],
)
def test_polars_is_set_up_for_small_queries_where_nobody_chose_otherwise(
    landing: Path, chosen: dict[str, str], taken: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("POLARS_")}
    file = write_ndjson(landing / "a.ndjson", event())
    code = (
        f"from loader.cli import main; assert main(['validate', {str(file)!r}]) == 0; import polars; "
        "print(polars.Config.state(if_set=True)['POLARS_ENGINE_AFFINITY'], polars.thread_pool_size())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**environment, **chosen}, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == taken


@pytest.mark.parametrize("command", ["", *commands()])
def test_help_says_what_the_exit_codes_mean(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([*([command] if command else []), "--help"])
    assert stop.value.code == 0
    assert "exit codes:" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["run", "--jobs", "many"], ["run", "--nonsense"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2


@pytest.mark.parametrize("arguments", [["--jobs", "0"], ["--settle", "-1"], ["--max-reject-ratio", "2"], ["a.txt"]])
def test_senseless_values_are_exit_code_2(landing: Path, arguments: list[str]) -> None:
    assert run(landing, "dbname=x", *arguments) == 2


def test_a_database_that_is_down_is_one_line_and_touches_nothing(
    landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_ndjson(landing / "a.ndjson", event())
    assert run(landing, "postgresql://me:hunter2@127.0.0.1:1/db", "--quiet") == 1
    captured = capsys.readouterr().err
    assert captured.count("\n") == 1
    assert captured.startswith("loader: can't connect to database 'db' on 127.0.0.1, port 1, as 'me'")
    assert "hunter2" not in captured
    assert path.exists()


def test_a_database_that_is_down_is_in_the_json_too(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, "postgresql://me:hunter2@127.0.0.1:1/db", "--json") == 1
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert report["files"] == []
    assert "can't connect" in report["error"]
    assert "hunter2" not in captured.out + captured.err


def test_a_connection_that_is_lost_right_after_the_login_is_one_line(
    database: str, landing: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminated(connection: psycopg.Connection, _: str) -> None:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")

    monkeypatch.setattr("loader.database._prepare", terminated)
    path = write_ndjson(landing / "a.ndjson", event())
    assert run(landing, database, "--quiet") == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert path.exists()


def test_a_database_that_is_not_utf8_is_refused(server: str, landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / "a.ndjson", event())
    with new_database(server, template="template0", options="ENCODING 'LATIN1' LOCALE 'C'") as (_, conninfo):
        assert run(landing, conninfo) == 1
    assert "LATIN1" in capsys.readouterr().err


def test_a_database_newer_than_the_program_is_refused(load: Load, query: Query, landing: Path) -> None:
    query("INSERT INTO loader_migrations (version, name) VALUES (9999, 'from the future')")
    write_ndjson(landing / "a.ndjson", event())
    code, report = load()
    assert code == 1
    assert "install a newer loader" in report["error"]


def test_two_loaders_migrate_an_empty_database_at_once(empty_database: str) -> None:
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(cli.main(["migrate", "--database-url", empty_database])))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0, 0, 0, 0]
    with psycopg.connect(empty_database) as connection:
        recorded = connection.execute("SELECT version FROM loader_migrations ORDER BY version").fetchall()
    assert recorded == [(migration.version,) for migration in migrate.known()]


def test_the_grants_in_the_readme_are_enough_and_needed(database: str, landing: Path, query: Query) -> None:
    readme = (resources.bundled("sql").parent / "README.md").read_text()
    grants = [line for line in readme.splitlines() if line.startswith("GRANT ")]
    assert len(grants) == 4
    role = f"loader_test_role_{os.getpid()}"
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'pw'").format(sql.Identifier(role)))
        try:
            name = f"{role}.ndjson"
            write_ndjson(landing / name, shared := event(), "{", shared | {"user_id": "other"})
            limited = make_conninfo(database, user=role, password="pw")
            for number, grant in enumerate(grants):
                assert run(landing, limited, "--quiet") == 1, f"works before grant {number}"
                connection.execute(grant.replace("TO loader;", f"TO {role}").encode())
            assert run(landing, limited, "--quiet") == 3
            assert query("SELECT count(*) FROM events") == [(1,)]
        finally:
            connection.execute(f"DROP OWNED BY {role}; DROP ROLE {role}".encode())


def test_validate_needs_no_database_and_moves_nothing(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_ndjson(landing / "a.ndjson", event(), *["{"] * 12)
    assert cli.main(["validate", "--json", str(path)]) == 3
    captured = capsys.readouterr()
    report = json.loads(captured.out)
    assert (report["files"][0]["status"], report["read"], report["rejected"]) == ("invalid", 13, 12)
    assert "line 2: malformed_json" in captured.err
    assert "... and 2 more" in captured.err
    assert path.exists()
    assert cli.main(["validate", "--quiet", "--max-rejects", "3", str(path)]) == 1
    assert cli.main(["validate", "--quiet", str(write_ndjson(landing / "good.ndjson", event()))]) == 0


def test_settings_come_from_the_flag_then_the_environment_then_the_file(tmp_path: Path) -> None:
    config = tmp_path / "loader.toml"
    config.write_text('landing = "from-file"\njobs = 3\nsettle = 7\nrecursive = true\n')
    environment = {"LOADER_JOBS": "4", "LOADER_SETTLE": "5.5"}
    settings = read({"settle": 1.5, "jobs": None}, config=config, environment=environment)
    assert settings == Settings(landing=Path("from-file"), jobs=4, settle=1.5, recursive=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jobz = 1", "unknown setting jobz; known: "),
        ('jobs = "x"', "is not a int"),
        ("jobs = true", "is not a int"),
        ("jobs = 0", "must be at least 1"),
        ("landing = [", "loader.toml"),
    ],
)
def test_a_wrong_settings_file_says_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    config = tmp_path / "loader.toml"
    config.write_text(text)
    with pytest.raises(UsageError, match=message):
        read({}, config=config, environment={})


@pytest.mark.parametrize(
    ("conninfo", "expected"),
    [
        ("postgresql://me:pw@db.example:5433/x", "database 'x' on db.example, port 5433, as 'me'"),
        ("host=db.example dbname=x user=me password='p w'", "database 'x' on db.example, port 5432, as 'me'"),
        ("postgresql:///x?host=/run/pg&user=me", "database 'x' on /run/pg, port 5432, as 'me'"),
        ("service=prod", "the database of service 'prod'"),
    ],
)
def test_the_database_is_named_without_its_password(conninfo: str, expected: str) -> None:
    assert describe(conninfo) == expected


@pytest.mark.parametrize("text", ["postgresql://me:s3cret@h/x", "host=h password=s3cret", "password = 's3cret x' a=b"])
def test_passwords_are_struck_out(text: str) -> None:
    assert "s3cret" not in redact(text)
