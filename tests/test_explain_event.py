"""`loader explain EVENT_ID`: what brought an event, and what came with its id since."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import polars as pl
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loader import cli, ingest_event
from loader import landing as landing_module
from loader.opening import opened
from loader.operate import explain_event
from loader.operate.occurrences import candidates, rows_with
from tests.support import Ask, Load, Query, Report, event, write_ndjson

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ID = "0f8fad5b-d9cb-469f-a165-70867728950e"
FIRST = event(event_id=ID)


def explained(ask: Ask, event_id: str = ID) -> Report:
    _, out = ask("explain", event_id, "--json")
    found: Report = json.loads(out)
    return found


def repeats(ask: Ask) -> list[tuple[str, int]]:
    return [(repeat["name"], repeat["line"]) for repeat in explained(ask)["repeats"]]


def line(row: dict[str, Any]) -> bytes:
    return json.dumps(row).encode() + b"\n"


def bring(landing: Path, load: Load) -> None:
    """Load the event from a file of its own."""
    write_ndjson(landing / "first.ndjson", event(), FIRST)
    load()


def test_the_row_and_what_brought_it(landing: Path, load: Load, ask: Ask) -> None:
    bring(landing, load)
    found = explained(ask)
    assert found["status"] == "stored"
    assert found["event"]["line"] == 2
    assert found["event"]["row"]["properties"] == FIRST["properties"]
    assert found["brought_by"]["name"] == "first.ndjson"
    assert Path(found["brought_by"]["archived"]).is_file()
    assert found["repeats"] == found["rejects"] == []
    assert ask("explain", ID.upper())[0] == 0


def test_numbers_are_shown_digit_for_digit(landing: Path, load: Load, ask: Ask) -> None:
    digits = "1234567890.12345678901234567890"
    write_ndjson(landing / "a.ndjson", json.dumps(FIRST).replace('{"page": "/"}', f'{{"n": {digits}}}'))
    load()
    assert digits in ask("explain", ID)[1]
    assert digits in ask("explain", ID, "--json")[1]


def test_columns_of_the_users_own_are_shown(landing: Path, load: Load, query: Query, ask: Ask) -> None:
    query("ALTER TABLE events ADD COLUMN country text DEFAULT 'CH'")
    bring(landing, load)
    assert "country     CH" in ask("explain", ID)[1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("again.ndjson", line(event()) + line(FIRST)),
        ("again.jsonl.gz", gzip.compress(line(event()) + line(FIRST))),
        ("again.ndjson.zst", zstd.compress(line(event()) + line(FIRST))),
    ],
)
def test_a_duplicate_is_found_in_the_archive(landing: Path, load: Load, ask: Ask, name: str, content: bytes) -> None:
    bring(landing, load)
    (landing / name).write_bytes(content)
    load()
    assert repeats(ask) == [(name, 2)]


@pytest.mark.parametrize(
    "row",
    [
        line(FIRST | {"event_id": ID.upper()}),
        line(FIRST).replace(b"0f8f", b"\\u0030f8f"),
        line(FIRST).replace(b"-a165-", b"\\u002dA1\\u00365\\u002D"),
        line(FIRST).replace(b'"event_id"', b'"event\\u005fid"'),
        line(FIRST).replace(b"\n", b"\r\n"),
    ],
    ids=["upper case", "escaped digit", "escaped hyphens", "escaped name", "CRLF"],
)
def test_a_duplicate_is_found_however_it_is_spelled(landing: Path, load: Load, ask: Ask, row: bytes) -> None:
    bring(landing, load)
    (landing / "again.ndjson").write_bytes(b"\xef\xbb\xbf\n" + row + line(event()))
    _, report = load()
    assert report["duplicates"] == 1
    assert repeats(ask) == [("again.ndjson", 2)]


def test_an_id_that_stands_elsewhere_in_a_row_is_none(landing: Path, load: Load, ask: Ask) -> None:
    bring(landing, load)
    other = event()
    write_ndjson(landing / "b.ndjson", other, other, event(user_id=ID), event(properties={"event_id": ID}))
    load()
    assert repeats(ask) == []


def test_duplicates_in_the_same_file_are_found_too(landing: Path, load: Load, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", FIRST, event(), FIRST, FIRST)
    load()
    found = explained(ask)
    assert found["event"]["line"] == 1
    assert repeats(ask) == [("a.ndjson", 3), ("a.ndjson", 4)]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([None, ID], pa.string()),
        pa.array([None, ID.upper()], pa.large_string()),
        pa.array([None, ID]).dictionary_encode(),
        pa.array([None, UUID(ID).bytes], pa.binary(16)),
        pa.array([None, UUID(ID).bytes], pa.uuid()),
    ],
    ids=["string", "large_string", "dictionary", "binary", "uuid"],
)
def test_a_duplicate_is_found_in_parquet(landing: Path, load: Load, ask: Ask, ids: pa.Array) -> None:
    bring(landing, load)
    rest = {name: pa.array([FIRST[name]] * 2) for name in ("event_name", "event_time", "user_id")}
    properties = pa.array([json.dumps(FIRST["properties"])] * 2)
    table = pa.table({"event_id": ids, **rest, "properties": properties})
    pq.write_table(table, landing / "again.parquet", row_group_size=1)
    _, report = load()
    assert report["duplicates"] == 1
    assert repeats(ask) == [("again.parquet", 2)]


def test_a_conflict_is_found_in_quarantine(landing: Path, load: Load, ask: Ask) -> None:
    bring(landing, load)
    write_ndjson(landing / "b.ndjson", event(), FIRST | {"user_id": "other"}, FIRST)
    load()
    found = explained(ask)
    (reject,) = found["rejects"]
    assert (reject["source"], reject["line"], reject["is_conflict"]) == ("b.ndjson", 2, True)
    assert "different user_id, from line 2 of first.ndjson" in reject["message"]
    assert reject["seen_at"] is not None
    assert repeats(ask) == [("b.ndjson", 3)]


def test_where_the_rejects_are_gone_a_repeat_is_not_called_a_duplicate(landing: Path, load: Load, ask: Ask) -> None:
    bring(landing, load)
    write_ndjson(landing / "b.ndjson", FIRST | {"user_id": "other"})
    load()
    for path in (landing / "quarantine").glob("*.rejected.ndjson"):
        path.unlink()
    (repeat,) = explained(ask)["repeats"]
    assert (repeat["name"], repeat["line"], repeat["is_certain"]) == ("b.ndjson", 1, False)
    out = ask("explain", ID)[1]
    assert "duplicates  none found" in out
    assert "quarantine no longer tells" in " ".join(out.split())


def test_a_rejected_id_says_why(landing: Path, load: Load, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", event(), FIRST | {"user_id": 7})
    load()
    found = explained(ask)
    assert (found["status"], found["event"]) == ("rejected", None)
    (reject,) = found["rejects"]
    assert (reject["line"], reject["codes"], reject["is_certain"]) == (2, ["wrong_type"], True)
    code, out = ask("explain", ID)
    assert code == 0
    assert "is not in events: it was rejected" in " ".join(out.split())


def test_an_id_in_a_row_that_is_not_utf8_is_found(landing: Path, load: Load, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", event(), json.dumps(FIRST).encode().replace(b"user-1", b"\xff"))
    load()
    (reject,) = explained(ask)["rejects"]
    assert (reject["line"], reject["codes"], reject["is_certain"]) == (2, ["invalid_utf8"], True)


def test_an_id_in_a_row_that_is_no_json_is_only_mentioned(landing: Path, load: Load, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", f'{{"event_id": "{ID}", oops', json.dumps(["x", ID]))
    load()
    found = explained(ask)
    assert found["status"] == "unknown"
    (reject,) = found["rejects"]
    assert (reject["line"], reject["is_certain"]) == (1, False)
    assert "it is no JSON, but" in " ".join(ask("explain", ID)[1].split())


def test_an_unknown_id_is_exit_code_1(landing: Path, load: Load, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", event(), event(user_id=7))
    load()
    code, out = ask("explain", ID)
    assert code == 1
    assert "is unknown" in out
    assert explained(ask)["searched"]["quarantine_files"] == 1


def test_rejects_of_a_load_that_is_not_committed_say_so(landing: Path, load: Load, query: Query, ask: Ask) -> None:
    write_ndjson(landing / "a.ndjson", FIRST | {"user_id": 7})
    load()
    query("DELETE FROM loader_files")
    (reject,) = explained(ask)["rejects"]
    assert reject["seen_at"] is None
    assert "not committed" in " ".join(ask("explain", ID)[1].split())


def test_files_that_were_pruned_are_named(landing: Path, load: Load, ask: Ask) -> None:
    bring(landing, load)
    write_ndjson(landing / "again.ndjson", FIRST)
    load()
    shutil.rmtree(landing / "archive")
    found = explained(ask)
    assert found["brought_by"]["archived"] is None
    assert found["searched"]["archived_files"] == 0
    assert [name.split()[0] for name in found["searched"]["missing"]] == ["again.ndjson"]
    out = ask("explain", ID)[1]
    assert "1 file with duplicates not in the archive" in out
    assert "the file is not in the archive" in out


def test_an_archived_file_that_was_changed_is_not_believed(landing: Path, load: Load, ask: Ask) -> None:
    bring(landing, load)
    write_ndjson(landing / "again.ndjson", FIRST)
    load()
    (path,) = landing.glob("archive/*/again.*")
    path.write_bytes(path.read_bytes().replace(b"page_view", b"view_page"))
    found = explained(ask)
    assert found["repeats"] == []
    assert "it is not the content that was loaded" in found["searched"]["failed"][0]


def test_an_archived_file_that_is_broken_does_not_stop_the_search(landing: Path, load: Load, ask: Ask) -> None:
    bring(landing, load)
    (landing / "a.ndjson.gz").write_bytes(gzip.compress(line(FIRST)))
    load()
    write_ndjson(landing / "b.ndjson", FIRST)
    load()
    (path,) = landing.glob("archive/*/a.*")
    path.write_bytes(path.read_bytes()[:20].ljust(path.stat().st_size, b"\0"))
    assert repeats(ask) == [("b.ndjson", 1)]
    assert explained(ask)["searched"]["failed"][0].startswith(path.name)


def test_files_from_before_the_event_are_not_searched(landing: Path, load: Load, ask: Ask) -> None:
    other = event()
    write_ndjson(landing / "before.ndjson", other, other, event(user_id=7))
    load()
    bring(landing, load)
    assert explained(ask)["searched"]["archived_files"] == 0


def test_an_event_of_ingest_event_has_no_file(landing: Path, load: Load, database: str, ask: Ask) -> None:
    with psycopg.connect(database) as connection:
        assert ingest_event(FIRST, connection=connection)
    write_ndjson(landing / "again.ndjson", FIRST)
    load()
    found = explained(ask)
    assert (found["event"]["file_id"], found["brought_by"]) == (0, None)
    assert repeats(ask) == [("again.ndjson", 1)]
    assert "ingest_event(): no file" in ask("explain", ID)[1]


def test_only_so_many_rows_are_listed(landing: Path, load: Load, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explain_event, "MOST_LISTED", 2)
    write_ndjson(landing / "a.ndjson", *[FIRST] * 5, *[FIRST | {"user_id": 7}] * 3)
    load()
    found = explained(ask)
    assert (len(found["repeats"]), len(found["rejects"]), found["unlisted"]) == (2, 2, 3)
    assert "... and 3 more rows" in ask("explain", ID)[1]


def test_what_stands_in_quarantine_by_others_hands_does_no_harm(landing: Path, load: Load, ask: Ask) -> None:
    bring(landing, load)
    folder = landing / "quarantine"
    folder.mkdir(exist_ok=True)
    rows = [b"[]", b"{", b"\xff", ID.encode(), b'{"source": 1, "raw": "%s"}' % ID.encode(), b'{"raw_base64": "?"}']
    (folder / "x.00000000.1.rejected.ndjson").write_bytes(b"\n".join(rows))
    (folder / "y.00000000.1.rejected.ndjson").symlink_to("/dev/zero")
    found = explained(ask)
    assert (found["status"], found["rejects"]) == ("stored", [])
    assert len(found["searched"]["failed"]) == 1


def test_a_database_that_is_down_is_one_line(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--landing", str(landing), "--database-url", "postgresql://127.0.0.1:1/x"]
    assert cli.main(["explain", ID, *where]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert cli.main(["explain", ID, "--json", *where]) == 1
    assert "can't connect" in json.loads(capsys.readouterr().out)["error"]


def test_lines_are_counted_across_blocks_and_lines_over_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.operate.occurrences._BLOCK_BYTES", 512)
    rows: list[dict[str, Any]] = [event() for _ in range(40)]
    wanted = [3, 17, 18, 40]
    for number in wanted:
        rows[number - 1] = FIRST
    rows[9] = FIRST | {"properties": {"long": "x" * 5000}}
    path = write_ndjson(tmp_path / "a.ndjson", *rows)
    file = landing_module.inspect(path)
    assert isinstance(file, landing_module.LandingFile)
    with opened(path) as handle:
        assert list(rows_with(UUID(ID), handle, file, max_line_bytes=2048)) == wanted


def test_a_line_with_many_hits_is_a_candidate_once() -> None:
    data = b"\n".join([b"no", ID.encode() * 3 + b"\\u0030" * 3, b"\\u003c\\u0026", ID.upper().encode()])
    assert [number for number, _ in candidates(data, UUID(ID))] == [1, 3]


def test_rows_of_many_row_groups_are_numbered_through(tmp_path: Path) -> None:
    ids = [str(UUID(int=number)) for number in range(100)]
    ids[56] = ids[99] = ID
    path = tmp_path / "a.parquet"
    pl.DataFrame({"event_id": ids, "other": list(range(100))}).write_parquet(path, row_group_size=7)
    file = landing_module.inspect(path)
    assert isinstance(file, landing_module.LandingFile)
    with opened(path) as handle:
        assert list(rows_with(UUID(ID), handle, file, max_line_bytes=1 << 20)) == [57, 100]
