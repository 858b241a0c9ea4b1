"""`--log-format json`: one object a line on stderr, for all that a run says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from loader import cli
from loader.operate.logs import utc
from tests.support import event, write_ndjson

DOWN = "postgresql://me:hunter2@127.0.0.1:1/db"
HOSTILE = 'evil\n\x1b[31m\u202e\u2028\udcff".ndjson'

Line = dict[str, Any]


def run(landing: Path, conninfo: str, *arguments: str) -> int:
    where = ["--landing", str(landing), "--database-url", conninfo]
    return cli.main(["run", "--log-format", "json", "--settle", "0", *where, *arguments])


def lines(capfd: pytest.CaptureFixture[str]) -> list[Line]:
    """All that stands on stderr; each line is an object that says when, how bad, and what."""
    text = capfd.readouterr().err
    assert text.endswith("\n") or not text
    found = [json.loads(line) for line in text.splitlines()]
    for line in found:
        assert list(line)[:3] == ["time", "level", "event"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["time"])
        assert datetime.fromisoformat(line["time"]).utcoffset() == timedelta(0)
        assert line["level"] in ("info", "warning", "error")
    return found


def test_a_run_is_told_from_start_to_end(database: str, landing: Path, capfd: pytest.CaptureFixture[str]) -> None:
    one = event()
    write_ndjson(landing / "a.ndjson", one, one, "{")
    write_ndjson(landing / "b.ndjson", event())
    (landing / "c.parquet").write_bytes(b"no Parquet")
    assert run(landing, database) == 1
    start, found, *files, end = lines(capfd)
    assert (start["event"], start["level"]) == ("run_started", "info")
    assert start["database"].startswith("database 'loader_test_")
    assert (found["event"], found["files"]) == ("files_found", 3)
    a, b, c = sorted(files, key=lambda line: str(line["file"]))
    assert {line["event"] for line in files} == {"file_finished"}
    assert [(line["status"], line["level"]) for line in (a, b, c)] == [
        ("loaded", "warning"),
        ("loaded", "info"),
        ("refused", "error"),
    ]
    counts = {name: a[name] for name in ("read", "inserted", "duplicates", "conflicts", "rejected", "reject_codes")}
    assert counts == {
        "read": 3,
        "inserted": 1,
        "duplicates": 1,
        "conflicts": 0,
        "rejected": 1,
        "reject_codes": {"malformed_json": 1},
    }
    assert a["quarantine"].startswith(str(landing / "quarantine" / "a."))
    assert a["seconds"] > 0
    assert c["error_code"] == "wrong_extension"
    assert c["error"] == "the name says Parquet, the content is something else"
    assert (end["event"], end["level"], end["exit_code"]) == ("run_finished", "error", 1)
    assert (end["files"], end["read"], end["inserted"], end["rejected"]) == (3, 4, 2, 1)


def test_an_idle_run_is_told_without_a_table(landing: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(landing, DOWN) == 0
    found = lines(capfd)
    assert [line["event"] for line in found] == ["run_started", "nothing_to_load", "run_finished"]
    assert "hunter2" not in json.dumps(found)


def test_quiet_leaves_only_trouble(database: str, landing: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(landing, database, "--quiet") == 0
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, database, "--quiet") == 0
    assert lines(capfd) == []
    write_ndjson(landing / "b.ndjson", "{")
    assert run(landing, database, "--quiet") == 3
    found = lines(capfd)
    assert [(line["event"], line["level"]) for line in found] == [
        ("file_finished", "warning"),
        ("run_finished", "warning"),
    ]


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_database_that_is_down_is_one_event(
    landing: Path, arguments: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, DOWN, "--quiet", *arguments) == 1
    failed, end = lines(capfd)
    assert (failed["event"], failed["level"]) == ("run_failed", "error")
    assert failed["message"].startswith("can't connect to database 'db' on 127.0.0.1")
    assert end["exit_code"] == 1


@pytest.mark.parametrize("arguments", [["--jobs", "0"], ["a.txt"]])
def test_wrong_settings_are_an_event(landing: Path, arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert run(landing, DOWN, "--quiet", *arguments) == 2
    failed, end = lines(capfd)
    assert failed["event"] == "run_failed"
    assert end["exit_code"] == 2


def test_hooks_and_metrics_that_fail_are_events(landing: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, DOWN, "--quiet", "--on-failure", "false", "--metrics-file", "/nonexistent/x.prom") == 1
    found = {line["event"]: line for line in lines(capfd)}
    assert set(found) == {"run_failed", "run_finished", "metrics_failed", "hook_failed"}
    assert found["metrics_failed"]["level"] == found["hook_failed"]["level"] == "warning"


def test_a_crash_is_an_event_with_its_traceback(
    landing: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(*_: object) -> None:
        raise RuntimeError("a defect\n\x1b[31m password=hunter2")

    monkeypatch.setattr("loader.run.run", crash)
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, DOWN, "--quiet") == 1
    crashed, _ = lines(capfd)
    assert crashed["event"] == "run_crashed"
    assert "RuntimeError: a defect" in crashed["message"]
    assert "in crash" in crashed["traceback"]
    assert "hunter2" not in json.dumps(crashed)


def test_an_interrupted_run_is_an_event(
    landing: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loader.run.run", interrupt)
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, DOWN, "--quiet") == 130
    assert [line["event"] for line in lines(capfd)] == ["interrupted", "run_finished"]


def test_hostile_names_stay_within_their_line(database: str, landing: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / HOSTILE, event(), "{")
    assert run(landing, database) == 3
    (found,) = [line for line in lines(capfd) if line["event"] == "file_finished"]
    assert found["file"] == r"evil\x0a\x1b[31m\u202e\u2028\xff" + '".ndjson'


def test_the_report_stays_on_stdout(database: str, landing: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / "a.ndjson", event())
    assert run(landing, database, "--json") == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)["inserted"] == 1
    assert all(json.loads(line) for line in captured.err.splitlines())


def test_files_side_by_side_write_whole_lines(database: str, landing: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(40):
        write_ndjson(landing / f"{number}.ndjson", event(), "{")
    assert run(landing, database, "--jobs", "3") == 3
    assert sum(line["event"] == "file_finished" for line in lines(capfd)) == 40


def test_words_are_the_default(landing: Path, database: str, capfd: pytest.CaptureFixture[str]) -> None:
    write_ndjson(landing / "a.ndjson", event())
    assert cli.main(["run", "--settle", "0", "--landing", str(landing), "--database-url", database]) == 0
    error = capfd.readouterr().err
    assert error.startswith("loader ")
    assert "\ntotal" in error


def test_a_process_of_its_own_writes_nothing_but_json(landing: Path) -> None:
    write_ndjson(landing / "a.ndjson", event())
    command = [sys.executable, "-m", "loader", "run", "--landing", str(landing), "--settle", "0"]
    environment = os.environ | {"LOADER_LOG_FORMAT": "json", "DATABASE_URL": DOWN}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events == ["run_started", "files_found", "run_failed", "run_finished"]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1700000000.9999, "2023-11-14T22:13:20.999Z"),
        (0.25, "1970-01-01T00:00:00.250Z"),
    ],
)
def test_times_are_rfc_3339_in_utc(seconds: float, expected: str) -> None:
    assert utc(seconds) == expected
