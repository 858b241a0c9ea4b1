"""Files are hashed ahead of whoever loads them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from io import FileIO
from pathlib import Path

import pytest

from loader import identify, landing, opening
from loader.errors import Abandoned
from loader.identify import Identification, Identified
from loader.landing import LandingFile
from loader.sidecar import Sidecar


@pytest.fixture
def files(tmp_path: Path) -> list[LandingFile]:
    """Ten small files."""
    for number in range(10):
        (tmp_path / f"{number}.ndjson").write_bytes(b"%d" % number)
    return landing.discover(tmp_path, settle=0, recursive=False)


def _digest(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def test_batches_come_in_order_with_the_digest_of_each_file(files: list[LandingFile]) -> None:
    with Identification([files[:3], files[3:4], files[4:]], Sidecar(files=0), takers=2) as identification:
        found = list(identification.batches())
    assert [len(batch) for batch in found] == [3, 1, 6]
    assert [one.digest for batch in found for one in batch] == [_digest(number) for number in range(10)]


def test_a_file_that_cannot_be_read_comes_with_its_problem(files: list[LandingFile]) -> None:
    files[1].path.unlink()
    with Identification([files[:3]], Sidecar(files=0), takers=1) as identification:
        (batch,) = identification.batches()
    assert [one.problem and one.problem.code for one in batch] == [None, "file_vanished", None]


def test_each_batch_goes_to_one_taker(files: list[LandingFile]) -> None:
    taken: list[Path] = []
    with Identification([[file] for file in files], Sidecar(files=0), takers=3) as identification:

        def take() -> None:
            taken.extend(one.file.path for batch in identification.batches() for one in batch)

        threads = [threading.Thread(target=take) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(taken) == [file.path for file in files]


def test_no_more_batches_are_hashed_ahead_than_there_are_takers(
    files: list[LandingFile], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[Path] = []
    original = identify.identify

    def noting(file: LandingFile, on_read: Callable[[], None]) -> Identified:
        begun.append(file.path)
        return original(file, on_read)

    monkeypatch.setattr(identify, "identify", noting)
    with Identification([[file] for file in files], Sidecar(files=0), takers=2) as identification:
        batches = identification.batches()
        next(batches)
    assert 2 <= len(begun) <= 3


def test_giving_up_ends_the_wait_of_takers(files: list[LandingFile]) -> None:
    with Identification([files], Sidecar(files=0), takers=1) as identification:
        list(identification.batches())
    given_up = Identification([files], Sidecar(files=0), takers=1)
    given_up.give_up()
    with given_up, pytest.raises(Abandoned):
        list(given_up.batches())


@pytest.mark.parametrize("size", [0, 1, 9, 10, 11, 20, 35, 1000])
def test_the_hash_of_a_file_does_not_depend_on_the_pieces_it_is_read_in(
    tmp_path: Path, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "_HASHED_BYTES", 10)
    content = os.urandom(size)
    (tmp_path / "a").write_bytes(content)
    with FileIO(tmp_path / "a") as file:
        assert opening.fingerprint(file) == hashlib.sha256(content).digest()
        assert file.tell() == 0


def test_who_gives_up_hashing_a_large_file_leaves_nobody_reading_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give_up() -> None:
        raise Abandoned("enough")

    monkeypatch.setattr(opening, "_HASHED_BYTES", 10)
    (tmp_path / "a").write_bytes(bytes(1000))
    before = set(threading.enumerate())
    with FileIO(tmp_path / "a") as file, pytest.raises(Abandoned):
        opening.fingerprint(file, give_up)
    assert set(threading.enumerate()) <= before
