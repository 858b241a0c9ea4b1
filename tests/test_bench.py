"""The benchmark's plumbing: every contender that needs no package of its own loads a little. No time is judged."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.data import DataSet, Store, rows
from bench.report import table  # noqa: F401 # it must be importable without the optional packages

ROOT = Path(__file__).parent.parent


def test_the_data_are_the_same_each_time_with_as_many_bad_and_repeated_rows_as_said() -> None:
    first = list(rows(20_000, uuid=4))
    assert first == list(rows(20_000, uuid=4))
    valid = [line for line, is_valid in rows(20_000, uuid=4) if is_valid]
    assert 150 < 20_000 - len(valid) < 250
    assert 150 < len(valid) - len({line[13:49] for line in valid}) < 250
    assert 270 < sum(map(len, valid)) / len(valid) < 330


def test_version_7_ids_ascend(tmp_path: Path) -> None:
    store = Store(tmp_path)
    data = DataSet(1_000, files=3, uuid=7)
    ids = [line[13:49] for path in store.clean(data) for line in path.read_bytes().splitlines()]
    distinct = list(dict.fromkeys(ids))
    assert [identity[:13] for identity in distinct] == sorted(identity[:13] for identity in distinct)
    assert {identity[14:15] for identity in distinct} == {b"7"}
    assert store.counted(data).distinct == len(distinct)


@pytest.mark.slow
def test_every_case_runs_on_a_small_scale(server: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench", "--scale", "0.0002", "--rounds", "1"]
    command += ["--database-url", server, "--folder", str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert ended.returncode == 0, ended.stderr
    for case in ("fresh", "parquet", "hundred", "prefilled", "uuid7", "small", "duplicates", "large"):
        assert f"### {case}: " in ended.stdout
    assert "| naive |" in ended.stdout
