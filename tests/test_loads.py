"""Which files go into a load together."""

from __future__ import annotations

from pathlib import Path
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st

from loader import run
from loader.landing import Compression, Format, LandingFile

SMALL = run._SMALL_FILE_BYTES
SIZES = st.lists(st.integers(0, 10) | st.sampled_from([SMALL // 10, SMALL, SMALL + 1, 10 * SMALL]), max_size=60)
JOBS = st.integers(1, 4)


def files(sizes: list[int]) -> list[LandingFile]:
    return [
        LandingFile(Path(f"{number}.ndjson"), Format.NDJSON, Compression.NONE, size, 0, (0, number))
        for number, size in enumerate(sizes)
    ]


def loads(sizes: list[int], jobs: int) -> list[list[int]]:
    """Return the sizes of the files of each load."""
    return [[file.size for file in load] for load in run.batches(files(sizes), jobs)]


@given(SIZES, JOBS)
def test_files_are_loaded_in_their_order_each_once(sizes: list[int], jobs: int) -> None:
    assert [size for load in loads(sizes, jobs) for size in load] == sizes


@given(SIZES, JOBS)
def test_a_large_file_is_a_load_by_itself(sizes: list[int], jobs: int) -> None:
    assert all(len(load) == 1 or max(load) <= SMALL for load in loads(sizes, jobs))


@given(SIZES, JOBS)
def test_the_loads_that_run_side_by_side_are_bounded(sizes: list[int], jobs: int) -> None:
    with mock.patch.multiple(run, _BATCH_BYTES=5 * SMALL, BATCH_FILES=10):
        for load in loads(sizes, jobs):
            assert len(load) <= -(-10 // jobs)
            assert len(load) == 1 or sum(load) <= 5 * SMALL // jobs + SMALL


@given(st.integers(1, 1_000), JOBS)
def test_each_job_gets_as_many_files_as_the_others(count: int, jobs: int) -> None:
    counts = [len(load) for load in loads([SMALL] * count, jobs)]
    assert len(set(counts[:-1])) <= 1
    assert max(counts) == counts[0]
    assert len(counts) <= jobs * max(1, -(-count * SMALL // run._BATCH_BYTES))


def test_few_files_are_one_load() -> None:
    assert loads([10] * 50, 1) == [[10] * 50]


def test_what_two_jobs_share_is_cut_in_halves() -> None:
    assert loads([SMALL] * 20, 2) == [[SMALL] * 10] * 2


def test_one_jobs_small_files_are_read_further_ahead_than_what_takes_more_room() -> None:
    few, many = [[*files([10])]], [files([10] * 3), files([10] * 2)]
    assert run._parts_ahead(many, 1) > run._parts_ahead(few, 1) == run._parts_ahead([*many, *few], 1)
    assert run._parts_ahead(many, 2) == run._parts_ahead(few, 1)
