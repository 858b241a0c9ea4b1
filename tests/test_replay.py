"""`loader replay`: what was rejected is loaded once its cause is mended, never twice, and never lost."""

from __future__ import annotations

import base64
import json
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loader import cli, resources
from tests.support import Load, Query, Report, event, quarantined, write_ndjson

Replay = Callable[..., tuple[int, Report]]


@pytest.fixture
def replay(database: str, landing: Path, capsys: pytest.CaptureFixture[str]) -> Replay:
    """`loader replay` of all that is in quarantine, or of the files given; returns the exit code and the report."""

    def run(*arguments: str | Path) -> tuple[int, Report]:
        files = [str(argument) for argument in arguments if isinstance(argument, Path)] or in_quarantine(landing)
        more = [argument for argument in arguments if isinstance(argument, str)]
        where = ["--landing", str(landing), "--database-url", database]
        code = cli.main(["replay", "--json", "--quiet", *where, *more, *map(str, files)])
        out = capsys.readouterr().out
        report: Report = json.loads(out) if out else {}
        return code, report

    return run


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an editor was shown is kept where the test's own files are."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


@pytest.fixture
def relaxed(tmp_path: Path) -> list[str]:
    """The options for a contract under which a user may be empty, and a field that it doesn't know is ignored."""
    folder = tmp_path / "relaxed"
    shutil.copytree(resources.bundled("contracts"), folder)
    text = (folder / "events.py").read_text()
    changed = text.replace('"unknown_fields": "reject"', '"unknown_fields": "ignore"')
    assert changed != text
    (folder / "events.py").write_text(changed)
    return ["--contracts", str(folder)]


def in_quarantine(landing: Path) -> list[Path]:
    return sorted((landing / "quarantine").glob("*.rejected.ndjson"))


def archived(landing: Path) -> list[str]:
    return sorted(path.name for path in landing.glob("archive/*/*"))


def edited(path: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """Change the rows of a quarantine file, as one would in an editor."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in rows:
        change(row)
    return write_ndjson(path, *rows)


def counts(report: Report) -> tuple[int, ...]:
    return tuple(report[name] for name in ("read", "inserted", "duplicates", "conflicts", "rejected"))


def test_rows_load_once_the_contract_is_relaxed(
    load: Load, replay: Replay, landing: Path, query: Query, relaxed: list[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event(), event(colour="red"), event(colour="blue"))
    assert load()[0] == 3
    (rejects,) = in_quarantine(landing)
    code, report = replay(*relaxed)
    assert (code, counts(report)) == (0, (2, 2, 0, 0, 0))
    assert in_quarantine(landing) == []
    assert archived(landing)[0].startswith(rejects.name.removesuffix(".ndjson"))
    assert query("SELECT count(*) FROM events") == [(3,)]


def test_the_ledger_says_what_a_replay_is_of(
    load: Load, replay: Replay, landing: Path, query: Query, relaxed: list[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event(), event(colour="red"))
    load()
    (rejects,) = in_quarantine(landing)
    replay(*relaxed)
    assert query(
        "SELECT r.name, r.rows_read, r.rows_inserted, e.line, s.name FROM loader_files AS r"
        " JOIN loader_files AS s ON s.sha256 = r.replay_of JOIN events AS e ON e.file_id = r.file_id"
    ) == [(rejects.name, 1, 1, 1, "a.ndjson")]


def test_what_still_fails_is_quarantined_again_and_says_where_it_first_stood(
    load: Load, replay: Replay, landing: Path
) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{", event(), "[]")
    load()
    before = quarantined(landing)
    (rejects,) = in_quarantine(landing)
    code, report = replay()
    assert (code, counts(report)) == (3, (2, 0, 0, 0, 2))
    after = quarantined(landing)
    assert [row["raw"] for row in after] == [row["raw"] for row in before]
    assert [row["errors"] for row in after] == [row["errors"] for row in before]
    assert [(row["source"], row["line"]) for row in after] == [(rejects.name, 1), (rejects.name, 2)]
    assert [row["replayed_from"] for row in after] == [
        {"source": "a.ndjson", "sha256": before[0]["sha256"], "line": line} for line in (2, 4)
    ]
    (again,) = in_quarantine(landing)
    assert again.name.startswith("a.")


def test_rows_that_failed_twice_load_at_the_third_replay(
    load: Load, replay: Replay, landing: Path, query: Query, relaxed: list[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event(), event(colour="red"), "{")
    load()
    assert counts(replay()[1]) == (2, 0, 0, 0, 2)
    assert counts(replay()[1]) == (2, 0, 0, 0, 2)
    assert counts(replay(*relaxed)[1]) == (2, 1, 0, 0, 1)
    (row,) = quarantined(landing)
    assert (row["raw"], row["replayed_from"]["source"], row["replayed_from"]["line"]) == ("{", "a.ndjson", 3)
    assert query("SELECT count(*) FROM events") == [(2,)]
    assert load()[0] == 0
    assert len(quarantined(landing)) == 1


def test_the_same_replay_a_second_time_does_nothing(
    load: Load, replay: Replay, landing: Path, query: Query, capsys: pytest.CaptureFixture[str], relaxed: list[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event(colour="red"), "{")
    load()
    (rejects,) = in_quarantine(landing)
    replay(rejects, *relaxed)
    before = query("SELECT * FROM loader_files ORDER BY file_id"), quarantined(landing), archived(landing)
    assert (
        cli.main(["replay", "--landing", str(landing), "--database-url", "postgresql://127.0.0.1:1/x", str(rejects)])
        == 0
    )
    assert "was replayed before; it is in " in capsys.readouterr().err
    assert before == (query("SELECT * FROM loader_files ORDER BY file_id"), quarantined(landing), archived(landing))


def test_a_copy_of_a_replayed_file_is_skipped(
    load: Load, replay: Replay, landing: Path, query: Query, tmp_path: Path, relaxed: list[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event(colour="red"))
    load()
    copy = shutil.copy(in_quarantine(landing)[0], tmp_path / "copy.ndjson")
    replay(*relaxed)
    code, report = replay(Path(copy), *relaxed)
    assert (code, report["files"][0]["status"]) == (0, "skipped")
    assert Path(copy).exists()
    assert query("SELECT count(*) FROM events") == [(1,)]


def test_a_conflict_replayed_unchanged_is_a_conflict_again(load: Load, replay: Replay, landing: Path) -> None:
    first = event()
    write_ndjson(landing / "a.ndjson", first, first | {"user_id": "another"})
    load()
    code, report = replay()
    assert (code, counts(report)) == (3, (1, 0, 0, 1, 0))
    (row,) = quarantined(landing)
    assert row["errors"][0]["code"] == "conflict"
    assert row["replayed_from"]["line"] == 2


def test_a_row_that_was_stored_meanwhile_is_a_duplicate(
    load: Load, replay: Replay, landing: Path, relaxed: list[str]
) -> None:
    row = event()
    write_ndjson(landing / "a.ndjson", row | {"colour": "red"})
    load()
    write_ndjson(landing / "b.ndjson", row)
    load()
    assert counts(replay(*relaxed)[1]) == (1, 0, 1, 0, 0)


def test_rows_edited_in_the_quarantine_file_are_loaded_as_edited(
    load: Load, replay: Replay, landing: Path, query: Query
) -> None:
    bad = event(user_id=7)
    write_ndjson(landing / "a.ndjson", bad, "{")
    load()
    (rejects,) = in_quarantine(landing)

    def mend(row: dict[str, Any]) -> None:
        row["raw"] = json.dumps(bad | {"user_id": "seven"}) if row["line"] == 1 else ""

    edited(rejects, mend)
    assert counts(replay()[1]) == (1, 1, 0, 0, 0)  # What was emptied is no row any more.
    assert query("SELECT user_id FROM events") == [("seven",)]


def editor(tmp_path: Path, code: str) -> str:
    """An editor: Python that has the content in `text`, and says in `text` what to write."""
    script = tmp_path / "editor.py"
    script.write_text(
        "import sys\nfrom pathlib import Path\npath = Path(sys.argv[1])\ntext = path.read_bytes()\n"
        f"{code}\npath.write_bytes(text)\n"
    )
    return shlex.join([sys.executable, str(script)])


def test_edit_opens_just_the_raw_rows_and_loads_what_is_written(
    load: Load, replay: Replay, landing: Path, query: Query, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [event(colour="red"), event(user_id=7), event(user_id="")]
    write_ndjson(landing / "a.ndjson", *rows)
    load()
    seen = tmp_path / "seen"
    code = f"Path({str(seen)!r}).write_bytes(text)\ntext = text.replace(b': 7', b': \"seven\"')"
    monkeypatch.setenv("EDITOR", editor(tmp_path, code))
    assert counts(replay("--edit")[1]) == (3, 1, 0, 0, 2)
    assert [json.loads(line) for line in seen.read_bytes().splitlines()] == rows
    assert query("SELECT user_id FROM events") == [("seven",)]
    assert [row["replayed_from"]["line"] for row in quarantined(landing)] == [1, 3]


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("text = text.replace(b'{', b'{\\n', 1)", "there are more lines than rows"),
        ("text = text.splitlines(True)[0]", "lines are missing"),
        ("text = b'\\xff' + text", "no UTF-8 any more"),
        ("sys.exit(1)", "ended with exit code 1"),
        ("path.unlink(); sys.exit(0)", "what the editor wrote can't be read"),
    ],
)
def test_an_edit_that_can_not_be_taken_changes_nothing(
    load: Load,
    landing: Path,
    query: Query,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    says: str,
) -> None:
    write_ndjson(landing / "a.ndjson", event(colour="red"), "{")
    load()
    (rejects,) = in_quarantine(landing)
    before = rejects.read_bytes()
    monkeypatch.setenv("VISUAL", editor(tmp_path, code))
    arguments = ["replay", "--edit", "--landing", str(landing), "--database-url", "postgresql://127.0.0.1:1/x"]
    assert cli.main([*arguments, str(rejects)]) == 2
    assert says in capsys.readouterr().err
    assert rejects.read_bytes() == before
    assert list(rejects.parent.iterdir()) == [rejects]
    assert query("SELECT count(*) FROM loader_files") == [(1,)]


def test_what_is_edited_already_is_replayed_as_it_is(
    load: Load, replay: Replay, landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a kill in mid-replay the same command finds nothing left to edit."""
    write_ndjson(landing / "a.ndjson", event(user_id=7))
    load()
    edited(in_quarantine(landing)[0], lambda row: row.update(raw=row["raw"].replace(": 7", ': "seven"')))
    monkeypatch.setenv("EDITOR", editor(tmp_path, "text = text.replace(b': 7', b': \"seven\"')"))
    assert counts(replay("--edit")[1]) == (1, 1, 0, 0, 0)


def test_a_file_that_is_changed_after_its_replay_is_left_alone(
    load: Load, replay: Replay, landing: Path, query: Query
) -> None:
    """A loader that dies right after COMMIT leaves it in quarantine; what failed again is in the new file."""
    write_ndjson(landing / "a.ndjson", "{", event(user_id=7))
    load()
    (rejects,) = in_quarantine(landing)
    content = rejects.read_bytes()
    replay(rejects)
    rejects.write_bytes(content)
    edited(rejects, lambda row: row.update(raw=row["raw"].replace(": 7", ': "seven"')))
    code, report = replay(rejects)
    (file,) = report["files"]
    assert (code, file["status"]) == (1, "failed")
    (again,) = {*in_quarantine(landing)} - {rejects}
    assert f"what failed again is in {again}: mend it there" in file["error"]
    assert query("SELECT count(*) FROM loader_files") == [(2,)]
    rejects.write_bytes(content)
    assert replay(rejects)[1]["files"][0]["status"] == "skipped"
    assert in_quarantine(landing) == [again]


def test_what_was_written_in_vain_is_kept(
    load: Load, landing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ndjson(landing / "a.ndjson", "{")
    load()
    monkeypatch.setenv("EDITOR", editor(tmp_path, "text += b'hours of work'"))
    assert cli.main(["replay", "--edit", "--landing", str(landing), str(in_quarantine(landing)[0])]) == 2
    kept = Path(capsys.readouterr().err.strip().rpartition("what you wrote is in ")[2])
    assert kept.read_bytes().endswith(b"hours of work")
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(kept.parent)


@pytest.mark.parametrize("name", ["text", "struct", "nanoseconds", "UUID of 16 bytes", "pretty JSON"])
def test_rows_of_parquet_are_loaded(load: Load, replay: Replay, landing: Path, query: Query, name: str) -> None:
    one = event(user_id="")
    columns: dict[str, Any] = {key: [value] for key, value in one.items()}
    columns["properties"] = columns["properties"] if name == "struct" else ['{"page":"/", "n":1.50}']
    if name == "pretty JSON":
        columns["properties"] = ['{\n"page": "a\\nb"\n}\n']
    if name == "nanoseconds":
        columns["event_time"] = pa.array([1_714_564_800_123_456_789], pa.timestamp("ns", "Europe/Zurich"))
    if name == "UUID of 16 bytes":
        columns["event_id"] = pa.array([bytes.fromhex(one["event_id"].replace("-", ""))], pa.binary(16))
    pq.write_table(pa.table(columns), landing / "a.parquet")
    load()
    (rejects,) = in_quarantine(landing)
    edited(rejects, lambda row: row.update(raw=row["raw"].replace('"user_id":""', '"user_id":"u"')))
    assert counts(replay()[1]) == (1, 1, 0, 0, 0)
    ((event_id, event_time, properties),) = query("SELECT event_id::text, event_time, properties FROM events")
    assert event_id == one["event_id"]
    micros = 123_456 if name == "nanoseconds" else 0
    assert event_time == datetime(2024, 5, 1, 12, 0, 0, micros, tzinfo=UTC)
    due = {"struct": {"page": "/"}, "pretty JSON": {"page": "a\nb"}}.get(name, {"page": "/", "n": 1.5})
    assert properties == due


def test_text_of_parquet_that_is_not_utf8_is_never_loaded_as_another_text(
    load: Load, replay: Replay, landing: Path, query: Query
) -> None:
    columns: dict[str, Any] = {key: [value] for key, value in event(properties="{}").items()}
    content = pa.array([b"user-\xff"], pa.binary())
    columns["user_id"] = pa.Array.from_buffers(pa.string(), 1, content.buffers())
    pq.write_table(pa.table(columns), landing / "a.parquet")
    load()
    assert [row["errors"][0]["code"] for row in quarantined(landing)] == ["invalid_utf8"]
    assert counts(replay()[1]) == (1, 0, 0, 0, 1)
    assert query("SELECT count(*) FROM events") == [(0,)]
    (row,) = quarantined(landing)
    assert b'"user-\xff"' in base64.b64decode(row["raw_base64"])


def test_rows_that_are_not_utf8_are_rejected_again_byte_by_byte(load: Load, replay: Replay, landing: Path) -> None:
    bad = json.dumps(event()).encode().replace(b"user-1", b"\xff\xfe\0")
    write_ndjson(landing / "a.ndjson", event(), b"\xff\xfe{", bad)
    load()
    before = quarantined(landing)
    assert counts(replay()[1]) == (2, 0, 0, 0, 2)
    after = quarantined(landing)
    assert [row["raw_base64"] for row in after] == [row["raw_base64"] for row in before]
    assert [row["errors"] for row in after] == [row["errors"] for row in before]


def test_a_row_keeps_its_verdict_wherever_it_stands(load: Load, replay: Replay, landing: Path) -> None:
    """A byte order mark is dropped at the start of a file; before a row elsewhere it is an error."""
    write_ndjson(landing / "a.ndjson", event(), b"\xef\xbb\xbf" + json.dumps(event()).encode(), b"\0\0{")
    load()
    before = [row["errors"] for row in quarantined(landing)]
    assert counts(replay()[1]) == (2, 0, 0, 0, 2)
    assert [row["errors"] for row in quarantined(landing)] == before


def test_rows_that_were_cut_off_stay_in_quarantine_and_it_is_said(
    load: Load,
    replay: Replay,
    landing: Path,
    database: str,
    query: Query,
    capsys: pytest.CaptureFixture[str],
    relaxed: list[str],
) -> None:
    # What is there of it is a good event: loaded, it would be another one than was sent.
    long = json.dumps(event()) + " " * 20_000 + ', "more": 1}'
    write_ndjson(landing / "a.ndjson", event(), long, event(colour="red"))
    load("--max-line-bytes", "10000")
    (rejects,) = in_quarantine(landing)
    code = cli.main(["replay", "--landing", str(landing), *relaxed, "--database-url", database, str(rejects)])
    assert code == 3
    said = capsys.readouterr().err
    assert "1 row can't be replayed, since only its beginning is there (raw_truncated_from)" in said
    (row,) = quarantined(landing)
    assert row["raw_truncated_from"] == len(long)
    assert row["raw"] == long[:4096]
    assert row["errors"][0]["message"] == f"of the line's {len(long)} bytes only the first 4096 are here"
    assert row["replayed_from"]["line"] == 2
    assert query("SELECT count(*) FROM events") == [(2,)]
    assert counts(replay("--max-line-bytes", "1024")[1]) == (1, 0, 0, 0, 1)
    assert quarantined(landing)[0]["raw_truncated_from"] == len(long)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda row: row.pop("raw"), "line 2: needs one of raw and raw_base64"),
        (lambda row: row.update(raw_base64="AAAA"), "line 2: needs one of raw and raw_base64, not both"),
        (
            lambda row: row.pop("sha256"),
            "line 2: is no row of a quarantine file: Object missing required field `sha256`",
        ),
        (lambda row: row.pop("line"), "line 2: is no row"),
        (lambda row: row.update(sha256="abc"), "line 2: is no row"),
        (lambda row: row.update(sha256="ab" * 32), "line 2: is a row of another file"),
        (lambda row: row.update(raw='{\n  "event_id": 1\n}'), "line 2: raw holds a line break"),
        (lambda row: row.update(raw="\ud800"), "line 2: "),
        (lambda row: (row.pop("raw"), row.update(raw_base64="?")), "line 2: raw_base64 is no base64"),
    ],
)
def test_a_bad_quarantine_file_is_said_with_its_line_and_nothing_is_done(
    load: Load, landing: Path, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], object], says: str
) -> None:
    write_ndjson(landing / "a.ndjson", "{", "[")
    write_ndjson(landing / "b.ndjson", "{ ")
    load()
    bad, good = in_quarantine(landing)
    rows = [json.loads(line) for line in bad.read_text().splitlines()]
    change(rows[1])
    write_ndjson(bad, *rows)
    before = sorted(landing.rglob("*"))
    arguments = ["replay", "--landing", str(landing), "--database-url", "postgresql://127.0.0.1:1/x"]
    assert cli.main([*arguments, str(good), str(bad)]) == 2
    said = capsys.readouterr().err
    assert f"{bad}: {says}" in said
    assert sorted(landing.rglob("*")) == before


@pytest.mark.parametrize("content", [b"", b"\n\n", b"{}\n", b"no JSON\n", b"\xff\xfe\n", b"[" * 100_000])
def test_what_is_no_quarantine_file_is_refused(
    landing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "x.ndjson"
    path.write_bytes(content)
    assert cli.main(["replay", "--landing", str(landing), str(path)]) == 2
    assert str(path) in capsys.readouterr().err
    assert path.exists()


@pytest.mark.parametrize("name", ["gone.ndjson", "gone.txt", "gone.parquet", "gone.ndjson.gz"])
def test_a_file_that_is_not_there_is_wrong_usage(landing: Path, name: str) -> None:
    assert cli.main(["replay", "--landing", str(landing), str(landing / "quarantine" / name)]) == 2


def test_rejects_of_a_file_over_its_budget_are_not_loaded_without_it(
    load: Load, replay: Replay, landing: Path, query: Query, relaxed: list[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event(), event(colour="red"))
    write_ndjson(landing / "b.ndjson", event(), event(colour="blue"))
    assert load(str(landing / "a.ndjson"), "--max-rejects", "0")[0] == 1
    load(str(landing / "b.ndjson"))
    code, report = replay(*relaxed)
    by_name = {file["name"].split(".")[0]: file for file in report["files"]}
    assert (code, by_name["a"]["status"], by_name["b"]["status"]) == (1, "failed", "loaded")
    assert "nothing of a.ndjson was loaded" in by_name["a"]["error"]
    (refused,) = (landing / "quarantine").glob("a.????????.ndjson")
    refused.rename(landing / "a.ndjson")
    assert load(*relaxed)[0] == 0
    assert query("SELECT count(*) FROM events") == [(4,)]
    assert in_quarantine(landing) == []


def test_rejects_of_a_load_that_is_not_committed_are_not_replayed(
    load: Load, replay: Replay, landing: Path, relaxed: list[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event(), event(colour="red"))
    load()
    (rejects,) = in_quarantine(landing)
    uncommitted = rejects.with_name(rejects.name.replace(".1.", ".999."))
    shutil.copy(rejects, uncommitted)
    code, report = replay(uncommitted, *relaxed)
    assert (code, report["files"][0]["status"]) == (1, "failed")
    assert "was not committed" in report["files"][0]["error"]
    assert uncommitted.exists()


def test_budgets_do_not_hold_for_what_is_in_quarantine_already(
    load: Load, replay: Replay, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{", "[")
    load()
    monkeypatch.setenv("LOADER_MAX_REJECTS", "0")
    assert counts(replay()[1]) == (2, 0, 0, 0, 2)


def test_many_files_are_replayed_together(
    load: Load, replay: Replay, landing: Path, query: Query, relaxed: list[str]
) -> None:
    for number in range(5):
        write_ndjson(landing / f"{number}.ndjson", event(), event(colour=number), "{" + " " * number)
    load()
    code, report = replay("--jobs", "2", *relaxed)
    assert (code, counts(report)) == (3, (10, 5, 0, 0, 5))
    assert query("SELECT count(*) FROM events") == [(10,)]
    assert len(in_quarantine(landing)) == 5
    assert {row["replayed_from"]["source"] for row in quarantined(landing)} == {f"{n}.ndjson" for n in range(5)}


def test_a_database_that_is_down_leaves_everything_as_it_is(
    load: Load, landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ndjson(landing / "a.ndjson", "{")
    load()
    (rejects,) = in_quarantine(landing)
    arguments = ["replay", "--json", "--landing", str(landing), "--database-url", "postgresql://127.0.0.1:1/x"]
    assert cli.main([*arguments, str(rejects)]) == 1
    assert "can't connect" in json.loads(capsys.readouterr().out)["error"]
    assert rejects.exists()
