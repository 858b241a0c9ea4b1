"""Synthetic events: the same arguments, the same bytes; and just as good and bad as they say."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from loader import contract, landing, simulate
from loader.errors import UsageError
from loader.model import Counts, Reject
from loader.rehearse import rehearse
from loader.settings import Budget
from tests.support import Load

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd


def write(folder: Path, **arguments: object) -> simulate.Simulated:
    options: dict[str, object] = {"events": 2_000, "seed": 3, "bad_rate": 0.05, "dup_rate": 0.04}
    return simulate.simulate(folder, **(options | arguments))  # type: ignore[arg-type]


def content(folder: Path, **arguments: object) -> bytes:
    return b"".join(path.read_bytes() for path in write(folder, **arguments).paths)


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    for file_format in simulate.FORMATS:
        first = content(tmp_path / f"1{file_format}", file_format=file_format)
        assert first == content(tmp_path / f"2{file_format}", file_format=file_format)
        assert first != content(tmp_path / f"3{file_format}", file_format=file_format, seed=4)


def test_compressed_files_hold_what_plain_ones_do(tmp_path: Path) -> None:
    plain = content(tmp_path / "plain")
    assert gzip.decompress(content(tmp_path / "gz", file_format="ndjson.gz")) == plain
    assert zstd.decompress(content(tmp_path / "zst", file_format="ndjson.zst")) == plain


@pytest.mark.parametrize("file_format", simulate.FORMATS)
@pytest.mark.parametrize("files", [1, 3])
def test_just_as_many_rows_are_bad_or_repeated_as_it_says(
    load: Load, landing: Path, file_format: str, files: int
) -> None:
    done = write(landing, file_format=file_format, files=files)
    assert (done.events, done.bad, done.repeated, len(done.paths)) == (2_000, 100, 80, files)
    assert sorted(path for path in landing.iterdir() if path.is_file()) == sorted(done.paths)
    _, report = load()
    assert {name: report[name] for name in ("read", "inserted", "duplicates", "conflicts", "rejected")} == {
        "read": 2_000,
        "inserted": 1_820,
        "duplicates": 80,
        "conflicts": 0,
        "rejected": 100,
    }


def test_bad_rows_are_bad_in_many_ways(tmp_path: Path) -> None:
    (path,) = write(tmp_path, bad_rate=0.5).paths
    codes: set[str] = set()

    def remember(reject: Reject) -> None:
        codes.update(problem.code for problem in reject.problems)

    outcome = rehearse(
        landing.named(path, tmp_path),
        contract.load(),
        max_line_bytes=1 << 20,
        budget=Budget(),
        on_reject=remember,
        progress=lambda *_: None,
    )
    assert outcome.counts == Counts(read=2_000, rejected=1_000)
    assert len(codes) >= 14


def test_parquet_rows_come_in_row_groups(tmp_path: Path) -> None:
    (path,) = write(tmp_path, events=60_000, file_format="parquet").paths
    metadata = pq.ParquetFile(path).metadata
    assert (metadata.num_rows, metadata.num_row_groups) == (60_000, 2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"bad_rate": -0.1},
        {"dup_rate": 1.1},
        {"bad_rate": 0.6, "dup_rate": 0.6},
        {"events": -1},
        {"files": 0},
        {"file_format": "csv"},
    ],
)
def test_senseless_arguments_are_a_usage_error(tmp_path: Path, arguments: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        write(tmp_path, **arguments)
