"""`loader quarantine`: what waits, by reason and by file, whatever lies in the folder."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loader import cli
from tests.support import Load, Report, event, write_ndjson


def listed(landing: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> Report:
    assert cli.main(["quarantine", "--json", "--landing", str(landing), *arguments]) == 0
    report: Report = json.loads(capsys.readouterr().out)
    return report


def rejects(landing: Path, name: str, *rows: dict[str, object] | str) -> Path:
    """Write a quarantine file by hand."""
    (landing / "quarantine").mkdir(exist_ok=True)
    full = {
        "source": "a.ndjson",
        "sha256": "ab" * 32,
        "line": 1,
        "errors": [{"code": "x", "column": None, "message": "m"}],
    }
    return write_ndjson(
        landing / "quarantine" / name, *(row if isinstance(row, str) else full | {"raw": "{"} | row for row in rows)
    )


def test_it_counts_by_reason_and_file_and_shows_examples(
    load: Load, landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event(), event(user_id=7), event(user_id=8, colour="red"), "{")
    write_ndjson(landing / "b.ndjson", event(user_id=9))
    (landing / "c.parquet").write_bytes(b"PAR1")
    load()
    found = listed(landing, capsys, "--examples", "2")
    assert found["rows"] == 4
    assert {file["source"]: (file["rows"], file["codes"]) for file in found["files"]} == {
        "a.ndjson": (3, {"wrong_type": 2, "unknown_field": 1, "malformed_json": 1}),
        "b.ndjson": (1, {"wrong_type": 1}),
    }
    assert [(one["code"], one["column"], one["rows"], one["files"]) for one in found["reasons"]] == [
        ("wrong_type", "user_id", 3, 2),
        ("malformed_json", None, 1, 1),
        ("unknown_field", "colour", 1, 1),
    ]
    examples = found["reasons"][0]["examples"]
    assert [(one["source"], one["line"]) for one in examples] == [("a.ndjson", 2), ("a.ndjson", 3)]
    assert [(one["source"], one["code"]) for one in found["refused"]] == [("c.parquet", "corrupt")]


def test_as_text_it_needs_no_database_and_shows_the_same(
    load: Load, landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ndjson(landing / "a.ndjson", "{", event(user_id=7))
    load()
    arguments = ["quarantine", "--examples", "1", "--landing", str(landing)]
    assert cli.main(arguments) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "2 rejected rows in 1 file; 0 refused files\n" in captured.out
    assert "wrong_type user_id: 1 row in 1 file\n  a.ndjson line 2: expected a string, found number\n" in captured.out


def test_rows_that_were_replayed_are_told_by_where_they_first_stood(
    load: Load, landing: Path, database: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{")
    load()
    (path,) = (landing / "quarantine").iterdir()
    cli.main(["replay", "--quiet", "--landing", str(landing), "--database-url", database, str(path)])
    capsys.readouterr()
    found = listed(landing, capsys)
    assert [(file["source"], file["replayed"]) for file in found["files"]] == [("a.ndjson", True)]
    assert found["reasons"][0]["examples"][0]["line"] == 2


@pytest.mark.parametrize("is_made", [True, False])
def test_nothing_waits(landing: Path, capsys: pytest.CaptureFixture[str], is_made: bool) -> None:
    if is_made:
        (landing / "quarantine").mkdir()
    assert listed(landing, capsys) == {"rows": 0, "files": [], "reasons": [], "refused": []}


def test_foreign_files_are_said_to_be_unreadable_and_hide_nothing(
    landing: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rejects(landing, "a.rejected.ndjson", {}, "no JSON", "{}", "[" * 100_000, "", {"line": 5})
    folder = landing / "quarantine"
    (folder / "b.rejected.ndjson").write_bytes(os.urandom(100_000))
    (folder / "c.rejected.ndjson").symlink_to(folder / "a.rejected.ndjson")
    os.mkfifo(folder / "d.rejected.ndjson")
    (folder / "e.rejected.ndjson").mkdir()
    (folder / "f.rejected.ndjson").touch()
    (folder / "g.error.json").write_text("{}")
    (folder / "notes.txt").write_text("mine")
    found = listed(landing, capsys)
    files = {Path(file["path"]).name[0]: file for file in found["files"]}
    assert (found["rows"], files["a"]["rows"], files["a"]["unreadable"]) == (2, 2, 3)
    assert files["a"]["error"].startswith("line 2: is no row of a quarantine file: ")
    assert files["b"]["unreadable"] > 0
    assert all(files[name]["error"] for name in "bcde")
    assert files["f"]["error"] is None
    assert found["refused"] == []


def test_a_line_that_is_too_long_is_skipped_not_held(
    landing: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loader.rejected._MOST_BYTES", 1000)
    rejects(landing, "a.rejected.ndjson", {}, "x" * 3_000_000, {"raw": "y" * 50_000}, {})
    found = listed(landing, capsys, "--config", str(_limits(landing)))
    (file,) = found["files"]
    assert (file["rows"], file["unreadable"]) == (2, 2)
    assert "too long" in file["error"]


def _limits(landing: Path) -> Path:
    path = landing / "loader.toml"
    path.write_text("max_line_bytes = 1024\n")
    return path


def test_reasons_without_end_are_counted_together(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [
        {"errors": [{"code": "unknown_field", "column": f"c{number}" + "x" * 5000, "message": "m"}]}
        for number in range(600)
    ]
    rejects(landing, "a.rejected.ndjson", *rows)
    found = listed(landing, capsys)
    assert len(found["reasons"]) == 501
    assert sum(one["rows"] for one in found["reasons"]) == 600
    assert max(len(one["column"] or "") for one in found["reasons"]) == 200


def test_nothing_that_is_shown_can_steer_a_terminal(landing: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evil = "\x1b]0;evil\x07\u202e\n"
    errors = [{"code": evil, "column": evil, "message": evil}]
    rejects(landing, f"{evil.strip()}.rejected.ndjson", {"source": evil, "raw": evil, "errors": errors})
    assert cli.main(["quarantine", "--landing", str(landing)]) == 0
    out = capsys.readouterr().out
    assert not {"\x1b", "\x07", "\u202e"} & set(out)
    assert len(out.splitlines()) == 7


def test_whoever_reads_may_stop_reading(landing: Path) -> None:
    for number in range(300):
        rejects(landing, f"{number}.rejected.ndjson", {"raw": "z" * 500})
    command = [sys.executable, "-m", "loader", "quarantine", "--landing", str(landing), "--examples", "300"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


def test_a_negative_number_of_examples_is_wrong_usage(landing: Path) -> None:
    assert cli.main(["quarantine", "--landing", str(landing), "--examples", "-1"]) == 2
