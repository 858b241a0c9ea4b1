"""Contents that wait in a file without a name."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loader import spill, units
from loader.errors import FileUnavailable
from loader.spill import Spill
from tests.support import Load, Query, event, write_ndjson
from tests.test_environment_faults import BAD, mounted, outcomes

PAGE = spill._PAGE_BYTES


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the file is made."""
    made = tmp_path / "temporary"
    made.mkdir()
    monkeypatch.setenv("TMPDIR", str(made))
    return made


def content(size: int, seed: int = 1) -> pa.Buffer:
    return pa.py_buffer(random.Random(seed).randbytes(size))


def size_of(made: Spill) -> int:
    assert made._file is not None
    return os.fstat(made._file.fileno()).st_size


@settings(deadline=None)
@given(words=st.lists(st.sampled_from([0, 1, 5, PAGE // 8, PAGE // 8 + 1, PAGE]), max_size=12), order=st.randoms())
def test_contents_come_out_as_they_went_in_whatever_the_order(words: list[int], order: random.Random) -> None:
    contents = [content(8 * count, seed) for seed, count in enumerate(words)]
    with Spill() as made:
        inside = [(each, made.put(each)) for each in contents]
        order.shuffle(inside)
        half = len(inside) // 2
        for each, spilled in inside[:half]:
            assert made.take(spilled).equals(each)
        later = [(each, made.put(each)) for each in contents]
        for each, spilled in later + inside[half:]:
            assert made.take(spilled).equals(each)


def test_places_are_used_again() -> None:
    with Spill() as made:
        inside = [made.put(content(3 * PAGE)) for _ in range(4)]
        largest = size_of(made)
        for turn in range(50):
            made.take(inside.pop(turn % 4))
            inside.append(made.put(content(3 * PAGE - 8 * turn)))
        assert size_of(made) <= largest == 12 * PAGE


def test_the_file_has_no_name(folder: Path) -> None:
    with Spill() as made:
        made.put(content(8))
        assert list(folder.iterdir()) == []
        assert not made.has_failed


def test_nothing_is_made_where_nothing_is_put_in(folder: Path) -> None:
    folder.rmdir()
    with Spill() as made:
        assert not made.has_failed


def test_where_there_is_no_folder_contents_stay_in_memory(folder: Path) -> None:
    folder.rmdir()
    with Spill() as made:
        kept = made.put(content(PAGE))
        assert made.has_failed
        assert made.take(kept).equals(content(PAGE))


def test_where_the_disk_is_full_contents_stay_in_memory(folder: Path) -> None:
    with mounted(folder, f"size={8 * PAGE}"), Spill() as made:
        inside = [(each, made.put(each)) for each in (content(3 * PAGE, seed) for seed in range(4))]
        assert made.has_failed
        for each, spilled in reversed(inside):
            assert made.take(spilled).equals(each)


@pytest.mark.parametrize("size", [0, PAGE], ids=["cut off", "cut short"])
def test_what_is_lost_in_the_file_is_noticed(size: int) -> None:
    with Spill() as made:
        spilled = made.put(content(2 * PAGE))
        assert made._file is not None
        os.truncate(made._file.fileno(), size)
        with pytest.raises(FileUnavailable, match="can't be read again: they are not what was written"):
            made.take(spilled)


def test_what_changes_in_the_file_is_noticed() -> None:
    with Spill() as made:
        made.take(made.put(content(2 * PAGE, seed=1)))
        spilled = made.put(content(2 * PAGE, seed=2))
        assert made._file is not None
        os.pwrite(made._file.fileno(), content(PAGE, seed=1), 0)
        with pytest.raises(FileUnavailable, match="they are not what was written"):
            made.take(spilled)


FOLDERS = """
import os
from loader import spill
with spill.Spill() as made:
    made._file = spill._made()
    print(os.path.dirname(os.readlink(f"/proc/self/fd/{made._file.fileno()}")))
"""


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="only Linux says where an open file is")
@pytest.mark.parametrize(("said", "used"), [(True, None), (False, "/var/tmp")])
def test_tmpdir_says_where_it_is_and_otherwise_it_is_where_large_files_belong(
    folder: Path, used: str | None, *, said: bool
) -> None:
    environment = {name: value for name, value in os.environ.items() if said or name != "TMPDIR"}
    found = subprocess.run([sys.executable, "-c", FOLDERS], env=environment, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()) == Path(used or folder).resolve()


# --- In a load -------------------------------------------------------------------------------------------------------


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> list[Spill]:
    """Rows are held back from the first one on, for any index counts as large; the files that they wait in."""
    made: list[Spill] = []
    original = Spill.put

    def noting(self: Spill, content: pa.Buffer) -> spill.Spilled:
        if self not in made:
            made.append(self)
        return original(self, content)

    monkeypatch.setattr(Spill, "put", noting)
    monkeypatch.setattr(units, "_SMALL_INDEX_BYTES", -1)
    monkeypatch.setattr("loader.decode.BLOCK_BYTES", 1 << 16)
    return made


def _write(landing: Path) -> set[str]:
    rows = [event() for _ in range(3_000)]
    write_ndjson(landing / "a.ndjson", *rows, *rows[::10], BAD)
    return {row["event_id"] for row in rows}


def _assert_loaded(load: Load, query: Query, ids: set[str]) -> None:
    code, report = load()
    assert (code, report["inserted"], report["duplicates"], report["rejected"]) == (3, 3_000, 300, 1)
    assert {str(row[0]) for row in query("SELECT event_id FROM events")} == ids


def test_rows_that_are_held_back_wait_in_the_file(load: Load, query: Query, landing: Path, held: list[Spill]) -> None:
    _assert_loaded(load, query, _write(landing))
    assert [each.has_failed for each in held] == [False]
    assert held[0]._file is not None
    assert held[0]._file.closed


def test_with_a_full_disk_rows_are_held_back_in_memory(
    load: Load, query: Query, landing: Path, held: list[Spill], folder: Path
) -> None:
    with mounted(folder, f"size={4 * PAGE}"):
        _assert_loaded(load, query, _write(landing))
        assert [each.has_failed for each in held] == [True]


@pytest.mark.usefixtures("held")
def test_a_file_whose_rows_are_lost_while_they_wait_is_loaded_by_the_next_run(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = _write(landing)
    original = Spill.take

    def losing(self: Spill, spilled: spill.Spilled) -> pa.Buffer:
        assert self._file is not None
        os.truncate(self._file.fileno(), 0)
        return original(self, spilled)

    with monkeypatch.context() as fault:
        fault.setattr(Spill, "take", losing)
        code, report = load()
    assert (code, outcomes(report)) == (1, {"a.ndjson": ("failed", "spill_failed")})
    assert query("SELECT count(*) FROM events") == [(0,)]
    _assert_loaded(load, query, ids)
