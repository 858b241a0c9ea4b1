"""`loader history`: the ledger, filtered."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest

from loader import cli
from loader.errors import UsageError
from loader.operate import history
from tests.support import Ask, Load, Query, event, write_ndjson

NOW = datetime(2024, 5, 10, 12, tzinfo=UTC)

FILL = """
    INSERT INTO loader_files (sha256, name, size_bytes, status, contract_version, loader_version, host,
        rows_read, rows_inserted, rows_duplicate, rows_conflict, rows_rejected, started_at, finished_at)
    SELECT sha256(i::text::bytea), 'file-' || i || '.ndjson', 1, 'loaded', '1', '1', 'host', 1, 1, 0, 0, 0,
        timestamptz '2024-05-01Z' + i * interval '1 day', timestamptz '2024-05-01Z' + i * interval '1 day'
    FROM generate_series(1, %(count)s) AS i
"""


def names(ask: Ask, *arguments: str) -> list[str]:
    code, out = ask("history", "--json", *arguments)
    assert code == 0
    return [file["name"] for file in json.loads(out)["files"]]


def test_the_newest_file_comes_first(query: Query, ask: Ask) -> None:
    query(FILL, {"count": 3})
    assert names(ask) == ["file-3.ndjson", "file-2.ndjson", "file-1.ndjson"]
    assert names(ask, "--limit", "1") == ["file-3.ndjson"]


def test_times_cut_out_a_part(query: Query, ask: Ask) -> None:
    query(FILL, {"count": 5})
    assert names(ask, "--since", "2024-05-05") == ["file-5.ndjson", "file-4.ndjson"]
    assert names(ask, "--until", "2024-05-03") == ["file-2.ndjson", "file-1.ndjson"]
    assert names(ask, "--until", "2024-05-03T00:00:00Z") == ["file-1.ndjson"]
    assert names(ask, "--since", "2024-05-03", "--until", "2024-05-03") == ["file-2.ndjson"]
    assert names(ask, "--since", "7d") == []


def test_names_are_shell_patterns(query: Query, ask: Ask) -> None:
    query(FILL, {"count": 12})
    assert names(ask, "--name", "file-?.nd*", "--limit", "2") == ["file-9.ndjson", "file-8.ndjson"]
    assert names(ask, "--name", "*[12].ndjson") == [f"file-{n}.ndjson" for n in (12, 11, 2, 1)]
    assert names(ask, "--name", "*-[!0-8].ndjson") == ["file-9.ndjson"]
    assert names(ask, "--name", "file") == []
    assert names(ask, "--name", "FILE-*") == []


@pytest.mark.parametrize(
    "name", ["a+b.ndjson", "é[1].ndjson", r"a\x0ab.ndjson", "%_.ndjson", "(x|y)$.ndjson", "[.ndjson", "a-]^.ndjson"]
)
def test_a_pattern_without_wildcards_means_itself(query: Query, ask: Ask, name: str) -> None:
    query(FILL, {"count": 1})
    query("UPDATE loader_files SET name = %(name)s", {"name": name})
    pattern = name.replace("[1", "[[]1")
    assert names(ask, "--name", pattern) == [name]


@pytest.mark.parametrize(("pattern", "name"), [("[]x]y", "]y"), ("[^x]y", "^y"), (r"[\x]y", "\\y"), ("[a-c]y", "by")])
def test_sets_hold_what_they_hold_in_a_shell(query: Query, ask: Ask, pattern: str, name: str) -> None:
    query(FILL, {"count": 1})
    query("UPDATE loader_files SET name = %(name)s", {"name": name})
    assert names(ask, "--name", pattern) == [name]


def test_status_says_which(landing: Path, load: Load, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", event())
    (landing / "b.ndjson.gz").write_bytes(b"no gzip")
    load()
    assert names(ask, "--status", "refused") == ["b.ndjson.gz"]
    assert names(ask, "--status", "loaded") == ["a.ndjson"]


def test_the_table_has_counts_and_reasons(landing: Path, load: Load, ask: Ask) -> None:
    same = event()
    write_ndjson(landing / "a.ndjson", same, same, same | {"user_id": "x"}, event(user_id=7), event())
    (landing / "b.ndjson.gz").write_bytes(b"no gzip")
    load()
    code, out = ask("history")
    assert code == 0
    header, *lines = out.splitlines()
    assert header.split() == ["finished", "(UTC)", "status", "read", "inserted", "dupl.", "confl.", "rej.", "file"]
    assert "  wrong_extension: the name says gzip, the content is something else" in lines
    (row,) = [line for line in lines if line.endswith("a.ndjson")]
    assert row.split()[2:] == ["loaded", "5", "2", "1", "1", "1", "a.ndjson"]


def test_a_table_shows_the_newest_50_and_says_so(
    query: Query, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    query(FILL, {"count": 51})
    assert cli.main(["history", "--database-url", database]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 51
    assert "the newest 50; --limit says how many" in captured.err
    assert cli.main(["history", "--database-url", database, "--limit", "60"]) == 0
    captured = capsys.readouterr()
    assert len(captured.out.splitlines()) == 52
    assert captured.err == ""


def test_lines_are_cut_off_at_the_width_of_a_terminal(query: Query, database: str) -> None:
    from loader.database import connected
    from loader.operate.entries import Filter, entries

    query(FILL, {"count": 1})
    query("UPDATE loader_files SET name = repeat('x', 100)")
    with connected(database) as connection:
        (_, line) = history.as_table(entries(connection, Filter()), width=80)
    assert len(line) == 80
    assert line.endswith("x…")


def test_csv_has_every_column(landing: Path, load: Load, query: Query, ask: Ask) -> None:
    write_ndjson(landing / 'a,"b.ndjson', event(user_id=7), event())
    load()
    code, out = ask("history", "--csv")
    assert code == 0
    (row,) = csv.DictReader(StringIO(out))
    assert row["name"] == 'a,"b.ndjson'
    assert (row["rows_read"], row["rows_inserted"], row["rows_rejected"]) == ("2", "1", "1")
    assert json.loads(row["reject_codes"]) == {"wrong_type": 1}
    columns = query("SELECT attname FROM pg_attribute WHERE attrelid = 'loader_files'::regclass AND attnum > 0")
    assert {column for (column,) in columns} == set(row)


def test_an_empty_ledger_is_no_error(ask: Ask) -> None:
    assert ask("history") == (0, "")
    assert names(ask) == []
    code, out = ask("history", "--csv")
    assert (code, len(out.splitlines())) == (0, 1)


@pytest.mark.slow
def test_many_files_stream_and_a_reader_may_stop(query: Query, database: str) -> None:
    query(FILL, {"count": 30_000})
    command = [sys.executable, "-m", "loader", "history", "--json", "--database-url", database]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b'{"files": [\n'
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
    done = subprocess.run(command, capture_output=True, check=True)
    assert len(json.loads(done.stdout)["files"]) == 30_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("7d", NOW - timedelta(days=7)),
        ("2w", NOW - timedelta(days=14)),
        ("2024-05-01", datetime(2024, 5, 1, tzinfo=UTC)),
        ("2024-05-01T12:00", datetime(2024, 5, 1, 12, tzinfo=UTC)),
        ("2024-05-01T12:00:00+02:00", datetime(2024, 5, 1, 10, tzinfo=UTC)),
    ],
)
def test_times_may_be_given_in_many_ways(text: str, expected: datetime) -> None:
    assert history.moment(text, now=NOW) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7y", "2024-13-01", "999999999w", "9999-12-31T99"])
def test_what_is_no_time_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError, match="is no time"):
        history.moment(text, now=NOW)


@pytest.mark.parametrize("arguments", [["--since", "soon"], ["--limit", "0"], ["--name", "[z-a]"]])
def test_senseless_filters_are_exit_code_2(database: str, arguments: list[str]) -> None:
    assert cli.main(["history", "--database-url", database, *arguments]) == 2


def test_a_database_that_is_down_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history", "--database-url", "postgresql://127.0.0.1:1/x"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
