"""`loader report`: the page's numbers are the database's, and nothing in it comes from anywhere else."""

from __future__ import annotations

import json
import os
import re
import sys
from collections import Counter
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from loader import cli, resources
from loader.operate import page, page_data
from loader.operate.page_words import lateness, lateness_bins, name, share, size_bins
from tests.pages import HOSTILE, Page, Report, load_all_sorts
from tests.support import Load, Query, event, quarantined, write_ndjson

pytest.importorskip("vl_convert")


def test_every_number_is_the_databases(load: Load, landing: Path, report: Report, query: Query) -> None:
    load_all_sorts(load, landing)
    shown = report()
    ((files, read, inserted, duplicates, conflicts, rejected),) = query(
        "SELECT count(*), sum(rows_read), sum(rows_inserted), sum(rows_duplicate), sum(rows_conflict),"
        " sum(rows_rejected) FROM loader_files WHERE status = 'loaded'"
    )
    assert (files, read, inserted, duplicates, conflicts, rejected) == (2, 40, 31, 4, 1, 4)
    due = {"read": read, "inserted": inserted, "duplicates": duplicates, "conflicts": conflicts, "rejected": rejected}
    assert {head: shown.column("rows", head) for head in due} == due
    assert {head: int(shown.tiles[head]) for head in due} == due
    assert (shown.tiles["files"], shown.tiles["refused"]) == ("2", "1")
    assert shown.column("rows", "files") == files
    assert len(shown.tables["rows"]) == 1 + 30
    codes = query("SELECT key, sum(value::bigint) FROM loader_files, jsonb_each_text(reject_codes) GROUP BY key")
    assert shown.sums("codes", 0, 1) == Counter({code: int(rows) for code, rows in codes})
    assert shown.sums("codes-by-day", 1, 2) == shown.sums("codes", 0, 1)
    assert shown.column("lateness", "events") == inserted
    assert shown.column("names", "events") == inserted
    assert shown.sums("names", 0, 1)["name-1"] == 10
    assert shown.column("files", "rows") == read
    assert shown.column("sizes", "files") == files
    assert shown.column("waiting", "rows") == int(shown.tiles["waiting"]) == len(quarantined(landing)) == 5
    assert shown.tables["refused"][1][1:3] == ["<b>broken.parquet", "wrong_extension"]
    assert shown.tables["waiting-refused"][1][:2] == ["<b>broken.parquet", "wrong_extension"]


def test_hostile_text_is_text(load: Load, landing: Path, report: Report) -> None:
    load_all_sorts(load, landing)
    shown = report()
    assert "<script>hacked" not in shown.text
    assert "\u202e" not in shown.text
    assert (shown.tags["script"], shown.tags["img"]) == (3, 0)
    assert HOSTILE in [row[0] for row in shown.tables["names"]]
    assert "&lt;/script&gt;&lt;script&gt;hacked=1&lt;/script&gt;" in shown.text  # the rejected row


def test_nothing_is_fetched_and_only_the_pages_own_scripts_may_run(load: Load, landing: Path, report: Report) -> None:
    load_all_sorts(load, landing)
    text = report().text
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', text)
    assert policy is not None
    assert policy[1].startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy[1]
    assert not re.search(
        r"<(?:link|iframe|object|embed|img)\b|<script[^>]*\bsrc=|@import|url\(", text.split("<script")[0]
    )
    assert len(text) < 2_000_000


def test_files_from_before_the_days_are_left_out(load: Load, landing: Path, report: Report, query: Query) -> None:
    write_ndjson(landing / "old.ndjson", event(), event(), "{")
    load()
    query(
        "UPDATE loader_files SET started_at = started_at - interval '9 days', finished_at = now() - interval '9 days'"
    )
    write_ndjson(landing / "new.ndjson", event())
    load()
    shown = report("--days", "9")
    assert len(shown.tables["rows"]) == 1 + 9
    assert shown.tiles["read"] == "1"
    assert shown.column("names", "events") == shown.column("lateness", "events") == 1
    assert "codes" not in shown.tables
    assert report("--days", "10").tiles["read"] == "4"


def test_days_without_a_load_say_so(load: Load, landing: Path, report: Report, query: Query) -> None:
    write_ndjson(landing / "a.ndjson", event())
    load()
    query(
        "UPDATE loader_files SET started_at = started_at - interval '9 days', finished_at = now() - interval '9 days'"
    )
    shown = report("--days", "3")
    assert "Nothing was loaded in these days" in shown.text
    assert shown.tiles["last-success"] != "never"


def test_a_large_table_is_sampled_and_the_page_says_so(
    load: Load, landing: Path, report: Report, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ndjson(landing / "a.ndjson", *[event() for _ in range(5000)])
    load()
    assert "from a sample" not in report().text
    monkeypatch.setattr(page_data, "SAMPLE_ROWS", 2500)
    shown = report()
    assert "Estimated from a sample: 50% of the table" in shown.text
    assert 0 < shown.column("names", "events") == shown.column("lateness", "events") < 5000


def test_a_load_in_the_middle_is_not_seen_by_half(
    load: Load, landing: Path, report: Report, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{")
    load()
    copy = (
        b"INSERT INTO loader_files (sha256, name, size_bytes, status, contract_version, loader_version, host,"
        b" rows_read, rows_inserted, rows_duplicate, rows_conflict, rows_rejected, reject_codes,"
        b" started_at, finished_at)"
        b" SELECT sha256('x'), 'b', size_bytes, status, contract_version, loader_version, host, rows_read,"
        b" rows_inserted, rows_duplicate, rows_conflict, rows_rejected, reject_codes, now(), now() FROM loader_files"
    )
    original = resources.sql

    def sql(name: str) -> bytes:
        if name == "report_codes":
            with psycopg.connect(database, autocommit=True) as connection:
                connection.execute(copy)
        return original(name)

    monkeypatch.setattr(resources, "sql", sql)
    shown = report()
    assert shown.tiles["rejected"] == "1"
    assert shown.column("codes", "rows") == shown.column("sizes", "files") == 1


def test_a_role_that_may_only_read_is_enough(
    load: Load, landing: Path, report: Report, query: Query, database: str
) -> None:
    write_ndjson(landing / "a.ndjson", event())
    load()
    role = f"loader_test_reader_{os.getpid()}"
    query(f"CREATE ROLE {role} LOGIN PASSWORD 'reads'")
    try:
        query(f"GRANT SELECT ON events, loader_files, loader_migrations TO {role}")
        where = make_conninfo(database, user=role, password="reads")
        shown = report("--database-url", where)
        assert shown.tiles["inserted"] == "1"
    finally:
        query(f"DROP OWNED BY {role}; DROP ROLE {role}")


@pytest.mark.parametrize("fixture", ["database", "empty_database"])
def test_where_nothing_was_loaded_the_page_is_friendly(
    fixture: str, landing: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    conninfo = request.getfixturevalue(fixture)
    output = tmp_path / "page.html"
    assert cli.main(["report", "-o", str(output), "--landing", str(landing), "--database-url", conninfo]) == 0
    shown = Page(output.read_text())
    assert "Nothing has been loaded yet" in shown.text
    assert shown.tags["script"] == 0


def test_where_there_is_no_database_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["report"]) == 0
    assert "Nothing has been loaded yet" in (tmp_path / "loader-report.html").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["loader-report.html"]


def test_planted_quarantine_files_do_no_harm(load: Load, landing: Path, report: Report) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{")
    load()
    folder = landing / "quarantine"
    (folder / "x.00000000.999.rejected.ndjson").write_bytes(
        b"{\n[[\n" + b"[" * 10_000 + b"\n\xff\xfe\n" + b"x" * 3_000_000
    )
    (folder / "y.00000000.998.rejected.ndjson").symlink_to("/dev/zero")
    (folder / "x.error.json").write_bytes(b'{"source": 7}')
    shown = report()
    assert [row[1] for row in shown.tables["waiting"][1:]].count("not in this ledger") == 2
    assert shown.tiles["waiting"] == "1"


def test_the_page_is_private_and_replaces_the_last_one_at_once(report: Report, tmp_path: Path) -> None:
    report()
    report()
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_a_missing_extra_says_what_to_install(
    landing: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    assert cli.main(["report", "--landing", str(landing)]) == 2
    assert "pip install 'loader[report]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["--days", "0"], "--days"), (["--days", "367"], "--days"), (["-o", "nowhere/page.html"], "nowhere")],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], message: str, database: str, landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", "--database-url", database, "--landing", str(landing), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_data_in_the_page_cannot_end_its_script() -> None:
    text = page._json({"name": "</script><!-- &"})
    assert not set("<>&") & set(text)
    assert json.loads(text) == {"name": "</script><!-- &"}


def test_words() -> None:
    assert [lateness(90), lateness(-90)] == ["90 s", "-90 s"]
    assert [share(1, 3), share(0, 3), share(1, 1_000_000), share(0, 0)] == ["33.33%", "0.00%", "under 0.01%", ""]
    assert name("a\u202eb\x1b" + "c" * 200) == "a\\u202eb\\x1b" + "c" * 107 + "…"
    assert size_bins([1000, 10_000]) == ["under 1 kB", "1 kB to 10 kB", "10 kB or more"]
    assert lateness_bins([0, 60, 7200]) == ["in the future", "under 60 s", "60 s to 2 h", "2 h or more"]
