"""The metrics file: what is in it, that it goes on over runs, and that nobody ever sees half of it."""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

import loader
from loader import cli
from loader.errors import LoaderError
from loader.model import Counts, FileOutcome, Status
from loader.operate import exposition, metrics
from loader.operate.metrics import Ended, MetricsError
from loader.report import RunReport
from loader.settings import Settings
from tests.support import Load, event, write_ndjson
from tests.test_environment_faults import mounted

ALERTS = Path(loader.__file__).resolve().parent.parent / "docs" / "alerts.yml"
PROMTOOL = shutil.which("promtool")
DOWN = "postgresql://me:hunter2@127.0.0.1:1/x"
HOSTILE = 'a"b\\c\nd\\n{}=, \x1b[31m\u202e\udcff'

Metrics = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "loader.prom"


def run(landing: Path, path: Path, *arguments: str, conninfo: str = DOWN) -> int:
    where = ["--landing", str(landing), "--database-url", conninfo, "--metrics-file", str(path)]
    return cli.main(["run", "--quiet", "--settle", "0", *where, *arguments])


def read(path: Path) -> Metrics:
    """All samples, by a parser that isn't ours; the label `landing` is left out."""
    found: Metrics = {}
    for family in text_string_to_metric_families(path.read_text()):
        assert family.type in ("counter", "gauge")
        assert family.documentation
        for sample in family.samples:
            key = (sample.name, frozenset(item for item in sample.labels.items() if item[0] != "landing"))
            assert key not in found
            found[key] = sample.value
    return found


def value(found: Metrics, name: str, **labels: str) -> float:
    return found[f"loader_{name}", frozenset(labels.items())]


def write(path: Path, landing: Path, report: RunReport | None = None, code: int = 0) -> None:
    metrics.write(Settings(landing=landing, metrics_file=path), report, Ended(code, 1.5, time.time()))


def rejecting(code: str) -> RunReport:
    counts = Counts(read=3, inserted=1, rejected=2)
    return RunReport([FileOutcome("a", 1, Status.LOADED, counts=counts, reject_codes={code: 2})])


def test_rows_rejects_and_files_are_counted_and_go_on_over_runs(load: Load, landing: Path, path: Path) -> None:
    one = event()
    write_ndjson(landing / "a.ndjson", one, one, event(), event(user_id=7), "{")
    (landing / "b.parquet").write_bytes(b"no Parquet")
    assert load("--metrics-file", str(path))[0] == 1
    first = read(path)
    rows = {name: value(first, "rows_total", outcome=name) for name in ("inserted", "duplicates", "conflicts")}
    assert rows == {"inserted": 2, "duplicates": 1, "conflicts": 0}
    assert value(first, "rows_total", outcome="rejected") == 2
    assert value(first, "rejects_total", code="wrong_type") == value(first, "rejects_total", code="malformed_json") == 1
    assert value(first, "files_total", status="loaded") == value(first, "files_total", status="refused") == 1
    assert value(first, "last_run_exit_code") == 1
    assert value(first, "last_success_timestamp_seconds") == 0

    write_ndjson(landing / "c.ndjson", event(), one | {"user_id": "other"}, "{")
    before = time.time()
    assert load("--metrics-file", str(path))[0] == 3
    second = read(path)
    assert value(second, "rows_total", outcome="inserted") == 3
    assert value(second, "rows_total", outcome="conflicts") == value(second, "rejects_total", code="conflict") == 1
    assert value(second, "rejects_total", code="malformed_json") == 2
    assert value(second, "runs_total", exit_code="1") == value(second, "runs_total", exit_code="3") == 1
    assert value(second, "run_seconds_total") > value(second, "last_run_duration_seconds") > 0
    assert value(second, "last_success_timestamp_seconds") >= before - 1


def test_rows_of_a_refused_file_are_no_inserted_rows(load: Load, landing: Path, path: Path) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{")
    assert load("--metrics-file", str(path), "--max-rejects", "0")[0] == 1
    found = read(path)
    assert value(found, "rows_total", outcome="inserted") == value(found, "rows_total", outcome="rejected") == 0
    assert value(found, "rejects_total", code="malformed_json") == 1
    assert value(found, "files_total", status="refused") == 1


def test_an_idle_run_is_a_success_and_imports_nothing_heavy(landing: Path, path: Path) -> None:
    arguments = ["run", "--landing", str(landing), "--database-url", DOWN, "--metrics-file", str(path)]
    code = (
        f"import sys; from loader.cli import main; assert main({arguments!r}) == 0; "
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'polars', 'pandera', 'psycopg', 'pyarrow', "
        "'msgspec', 'rich', 'dataclasses', 'hashlib', 'subprocess', 'json', 'tempfile', 'datetime'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
    found = read(path)
    assert value(found, "runs_total", exit_code="0") == 1
    assert value(found, "last_success_timestamp_seconds") == value(found, "last_run_timestamp_seconds") > 0


def test_a_run_that_fails_keeps_the_time_of_the_last_success(landing: Path, path: Path) -> None:
    assert run(landing, path) == 0
    succeeded = value(read(path), "last_success_timestamp_seconds")
    file = write_ndjson(landing / "a.ndjson", event())
    os.utime(file, (time.time() - 5000, time.time() - 5000))
    assert run(landing, path) == 1
    found = read(path)
    assert value(found, "last_success_timestamp_seconds") == succeeded
    assert value(found, "last_run_timestamp_seconds") >= succeeded
    assert value(found, "last_run_exit_code") == 1
    assert value(found, "landing_files") == 1
    assert value(found, "landing_bytes") == file.stat().st_size
    assert 5000 <= value(found, "landing_oldest_file_age_seconds") < 6000


@pytest.mark.parametrize("wrong", ["jobz = 1", "jobs = 0", 'jobs = "many"', "on_failure = [7]"])
def test_wrong_settings_are_told_as_far_as_they_can_be_read(
    landing: Path, path: Path, tmp_path: Path, wrong: str
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text(f"landing = {json.dumps(str(landing))}\nmetrics_file = {json.dumps(str(path))}\n{wrong}\n")
    assert cli.main(["run", "--quiet", "--config", str(config)]) == 2
    assert value(read(path), "last_run_exit_code") == 2
    assert f'landing="{landing}"' in path.read_text()


def test_a_settings_file_that_is_no_toml_leaves_what_flags_and_environment_say(
    landing: Path, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "settings.toml"
    config.write_text("landing = [")
    monkeypatch.setenv("LOADER_METRICS_FILE", str(path))
    assert cli.main(["run", "--quiet", "--config", str(config), "--landing", str(landing)]) == 2
    assert value(read(path), "runs_total", exit_code="2") == 1


def test_a_landing_folder_that_is_gone_has_no_backlog(tmp_path: Path, path: Path) -> None:
    assert run(tmp_path / "gone", path) == 2
    found = read(path)
    assert value(found, "last_run_exit_code") == 2
    assert ("loader_landing_files", frozenset()) not in found


def test_a_crash_and_an_interrupted_run_are_told(landing: Path, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ndjson(landing / "a.ndjson", event())

    def crash(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("loader.run.run", crash)
    with pytest.raises(RuntimeError, match="a defect"):
        run(landing, path)
    assert value(read(path), "last_run_exit_code") == 1

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loader.run.run", interrupt)
    assert run(landing, path) == 130
    assert value(read(path), "runs_total", exit_code="130") == 1


def test_hostile_names_survive_writing_and_reading_back(tmp_path: Path, path: Path) -> None:
    landing = tmp_path / HOSTILE
    landing.mkdir()
    for _ in range(3):
        write(path, landing, rejecting(HOSTILE))
    (family,) = [one for one in text_string_to_metric_families(path.read_text()) if one.name == "loader_rejects"]
    (sample,) = family.samples
    assert sample.value == 6
    plain = 'a"b\\c\\x0ad\\n{}=, \\x1b[31m\\u202e\\xff'
    assert sample.labels == {"landing": str(tmp_path / plain), "code": plain}
    if PROMTOOL:
        subprocess.run([PROMTOOL, "check", "metrics"], input=path.read_bytes(), check=True)


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")
def test_promtool_has_nothing_to_say(load: Load, landing: Path, path: Path) -> None:
    write_ndjson(landing / "a.ndjson", event(), "{")
    load("--metrics-file", str(path))
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=path.read_bytes(), capture_output=True, check=True)
    assert done.stdout + done.stderr == b""


def test_the_file_is_for_all_to_read_whatever_the_umask_is(landing: Path, path: Path) -> None:
    before = os.umask(0o077)
    try:
        assert run(landing, path) == 0
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o7777 == 0o644
    assert [entry.name for entry in path.parent.iterdir() if "prom" in entry.name] == ["loader.prom"]


def test_a_reader_never_sees_a_part_of_it(landing: Path, path: Path) -> None:
    write(path, landing, rejecting("bad_uuid"))
    ended = threading.Event()
    incomplete: list[str] = []

    def look() -> None:
        while not ended.is_set():
            text = path.read_text()
            if not text.startswith(exposition.BEGINNING) or "loader_landing_oldest_file_age_seconds{" not in text:
                incomplete.append(text)

    reader = threading.Thread(target=look)
    reader.start()
    for _ in range(100):
        write(path, landing, rejecting("bad_uuid"))
    ended.set()
    reader.join()
    assert incomplete == []


def _write_often(path: Path, landing: Path, times: int) -> None:
    for _ in range(times):
        write(path, landing, rejecting("bad_uuid"))


def test_runs_at_the_same_time_lose_no_count(landing: Path, path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    writers = [spawned.Process(target=_write_often, args=(path, landing, 10)) for _ in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert value(read(path), "rejects_total", code="bad_uuid") == 60


def test_what_a_killed_run_left_behind_is_in_nobodys_way(landing: Path, path: Path) -> None:
    (path.parent / ".loader.prom.tmp").write_text("half of it")
    write(path, landing)
    assert value(read(path), "runs_total", exit_code="0") == 1
    assert not (path.parent / ".loader.prom.tmp").exists()


@pytest.mark.parametrize("kind", ["another's", "folder", "fifo", "symlink"])
def test_what_the_loader_did_not_write_is_not_replaced(landing: Path, path: Path, tmp_path: Path, kind: str) -> None:
    other = tmp_path / "precious"
    other.write_text("precious\n")
    match kind:
        case "another's":
            shutil.copy(other, path)
        case "folder":
            path.mkdir()
        case "fifo":
            os.mkfifo(path)
        case _:
            path.symlink_to(other)
    mode = path.lstat().st_mode
    with pytest.raises(MetricsError, match=r"loader\.prom"):
        write(path, landing)
    assert path.lstat().st_mode == mode
    assert other.read_text() == "precious\n"


def test_damaged_and_senseless_samples_are_passed_over(landing: Path, path: Path) -> None:
    write(path, landing)
    lines = path.read_text().splitlines()
    label = f'landing="{landing}"'
    lines += [
        f'loader_runs_total{{{label},exit_code="1"}} NaN',
        f'loader_runs_total{{{label},exit_code="2"}} -7',
        f'loader_runs_total{{{label},exit_code="3"}} 1 2 3',
        f'loader_rejects_total{{{label},code="x',
        f"somebody_total{{{label}}} 7",
        'loader_rejects_total{landing="elsewhere",code="x"} 5',
        "\x00\x00",
    ]
    path.write_text("\n".join(lines))
    write(path, landing)
    found = read(path)
    codes = {code: value(found, "runs_total", exit_code=code) for code in "0123"}
    assert codes == {"0": 2, "1": 0, "2": 0, "3": 0}
    assert not [name for name, _ in found if name in ("somebody_total", "loader_rejects_total")]


def test_a_read_only_folder_is_one_line_and_changes_nothing_else(
    database: str, landing: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "read-only"
    folder.mkdir()
    write_ndjson(landing / "a.ndjson", event())
    with mounted(folder, "ro"):
        assert run(landing, folder / "loader.prom", conninfo=database) == 0
    message = capsys.readouterr().err
    assert message.startswith(f"loader: can't write metrics {folder}/loader.prom: Read-only file system")
    assert message.count("\n") == 1


def test_a_full_disk_leaves_the_former_file_as_it_was(landing: Path, tmp_path: Path) -> None:
    folder = tmp_path / "small"
    folder.mkdir()
    with mounted(folder, "size=64k"):
        path = folder / "loader.prom"
        write(path, landing)
        former = path.read_bytes()
        with suppress(OSError), (folder / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(b"x" * 4096)
        with pytest.raises(LoaderError, match="No space left"):
            write(path, landing, rejecting("bad_uuid"))
        assert path.read_bytes() == former
        assert sorted(entry.name for entry in folder.iterdir()) == ["filler", "loader.prom"]


@pytest.mark.parametrize("text", ["", "missing"])
def test_a_lost_file_starts_the_counters_anew(landing: Path, path: Path, text: str) -> None:
    if not text:
        path.touch()
    write(path, landing, rejecting("bad_uuid"))
    assert value(read(path), "rejects_total", code="bad_uuid") == 2


def test_the_alerts_use_what_there_is() -> None:
    known = set(re.findall(r'"(loader_\w+)"', Path(exposition.__file__).read_text()))
    used = set(
        re.findall(r"\bloader_\w+", "\n".join(re.findall(r"expr:(.*?)(?=for:|labels:)", ALERTS.read_text(), re.DOTALL)))
    )
    assert used
    assert used <= known


SERIES = 'landing="/l"'


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")
@pytest.mark.parametrize(
    ("alert", "series", "fires"),
    [
        ("LoaderNoSuccess", {"loader_last_success_timestamp_seconds": "0x200"}, True),
        ("LoaderNoSuccess", {"loader_last_success_timestamp_seconds": "0+60x200"}, False),
        ("LoaderRunsFail", {"loader_last_run_exit_code": "1x200"}, True),
        ("LoaderRunsFail", {"loader_last_run_exit_code": "3x200"}, False),
        (
            "LoaderBacklogOld",
            {
                "loader_landing_oldest_file_age_seconds": "10x200",
                "loader_landing_files": "1x200",
                "loader_last_run_timestamp_seconds": "0x200",
            },
            True,
        ),
        (
            "LoaderBacklogOld",
            {
                "loader_landing_oldest_file_age_seconds": "0x200",
                "loader_landing_files": "0x200",
                "loader_last_run_timestamp_seconds": "0x200",
            },
            False,
        ),
        (
            "LoaderRejectsShare",
            {
                'loader_rows_total|outcome="rejected"': "0x150 5x50",
                'loader_rows_total|outcome="inserted"': "0x150 95x50",
            },
            True,
        ),
        (
            "LoaderRejectsShare",
            {
                'loader_rows_total|outcome="rejected"': "0x150 5x50",
                'loader_rows_total|outcome="inserted"': "0x150 1995x50",
            },
            False,
        ),
        ("LoaderRejectsShare", {'loader_rows_total|outcome="rejected"': "0x200"}, False),
        ("LoaderFilesRefused", {'loader_files_total|status="refused"': "0x150 1x50"}, True),
        ("LoaderMetricsMissing", {}, True),
    ],
)
def test_an_alert_fires_when_it_should(tmp_path: Path, alert: str, series: dict[str, str], fires: bool) -> None:
    """Three hours and twenty minutes, a sample a minute."""

    def name(key: str) -> str:
        family, _, label = key.partition("|")
        return f"{family}{{{', '.join(filter(None, (SERIES, label)))}}}"

    values = [{"series": name(key), "values": text} for key, text in series.items()]
    expression = f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'
    expected = [{"labels": "{}", "value": 1}] if fires else []
    question: dict[str, Any] = {"expr": expression, "eval_time": "195m", "exp_samples": expected}
    test = {"interval": "1m", "input_series": values, "promql_expr_test": [question]}
    file = tmp_path / "rules.json"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [test]}))
    done = subprocess.run([str(PROMTOOL), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
