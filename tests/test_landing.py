"""Which files are ready, in which order, and what their names become."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from loader.errors import UsageError
from loader.landing import discover
from loader.names import printable, stored_name

LONG_AGO = 1_600_000_000


def drop(folder: Path, name: str, *, mtime: float = LONG_AGO, content: bytes = b"x") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (mtime, mtime))
    return path


def names(folder: Path, *, settle: float = 1, recursive: bool = False) -> list[str]:
    return [file.path.name for file in discover(folder, settle=settle, recursive=recursive)]


def test_files_come_oldest_first_then_by_name(landing: Path) -> None:
    drop(landing, "c.ndjson", mtime=LONG_AGO)
    drop(landing, "b.ndjson", mtime=LONG_AGO + 1)
    drop(landing, "a.ndjson", mtime=LONG_AGO + 1)
    assert names(landing) == ["c.ndjson", "a.ndjson", "b.ndjson"]


@pytest.mark.parametrize(
    ("name", "is_input"),
    [
        ("a.ndjson", True),
        ("a.jsonl", True),
        ("a.ndjson.gz", True),
        ("a.jsonl.zst", True),
        ("a.parquet", True),
        ("a.parquet.gz", False),
        ("a.json", False),
        ("a.NDJSON", False),
        (".a.ndjson", False),
        ("a.ndjson.tmp", False),
        ("a.ndjson.part", False),
        ("a.ndjson.writing", False),
        ("a.ndjson~", False),
        ("README", False),
    ],
)
def test_the_name_says_what_is_an_input(landing: Path, name: str, is_input: bool) -> None:
    drop(landing, name)
    assert (names(landing) == [name]) is is_input


def test_what_is_no_regular_file_is_left_alone(landing: Path, tmp_path: Path) -> None:
    target = drop(tmp_path, "target.ndjson")
    (landing / "link.ndjson").symlink_to(target)
    (landing / "dangling.ndjson").symlink_to(tmp_path / "nowhere")
    os.mkfifo(landing / "fifo.ndjson")
    (landing / "folder.ndjson").mkdir()
    assert names(landing) == []


def test_folders_below_are_searched_only_when_asked(landing: Path) -> None:
    for name in (
        "a.ndjson",
        "below/b.ndjson",
        "archive/2024-01-01/c.ndjson",
        "quarantine/d.ndjson",
        ".hidden/e.ndjson",
    ):
        drop(landing, name)
    assert names(landing) == ["a.ndjson"]
    assert names(landing, recursive=True) == ["a.ndjson", "b.ndjson"]


def test_a_file_that_is_still_written_is_left_alone(landing: Path) -> None:
    path = drop(landing, "growing.ndjson", mtime=time.time())
    drop(landing, "fresh.ndjson", mtime=time.time())
    drop(landing, "future.ndjson", mtime=time.time() + 86_400)
    stop = threading.Event()

    def write() -> None:
        with path.open("ab") as file:
            while not stop.wait(0.02):
                file.write(b"y")
                file.flush()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert sorted(names(landing, settle=0.3)) == ["fresh.ndjson", "future.ndjson"]
    finally:
        stop.set()
        writer.join()


def test_a_missing_folder_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file"):
        discover(tmp_path / "nowhere", settle=0, recursive=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain name-1.ndjson", "plain name-1.ndjson"),
        ("客户.ndjson", "客户.ndjson"),
        ("a\nb\x1b[31m", r"a\x0ab\x1b[31m"),
        ("\u202eevil", r"\u202eevil"),
        (os.fsdecode(b"\xff.ndjson"), r"\xff.ndjson"),
        ("\u2028", r"\u2028"),
        (os.fsdecode(b"\x80\xa0"), r"\x80\xa0"),
        ("\ud800\udc7f\udd00", r"\ud800\udc7f\udd00"),
        ("\x00\x7f\xff\u0100", r"\x00\x7f\xff\u0100".replace(r"\xff\u0100", "\xff\u0100")),
        ("\U000e0001\uffff", r"\U000e0001\uffff"),
    ],
)
def test_printed_names_cannot_steer_a_terminal(text: str, expected: str) -> None:
    assert printable(text) == expected


def test_stored_names_carry_the_hash_and_fit_the_file_system(tmp_path: Path) -> None:
    digest = bytes.fromhex("0123456789abcdef" * 4)
    assert stored_name("a.ndjson.gz", digest, ".ndjson.gz") == "a.01234567.ndjson.gz"
    assert stored_name("a.b.ndjson", digest, ".ndjson", 2) == "a.b.01234567.2.ndjson"
    assert stored_name("é" * 124 + ".ndjson", digest, ".ndjson") == "é" * 115 + ".01234567.ndjson"
    assert stored_name("x" * 231 + ".ndjson", digest, ".ndjson") == "x" * 231 + ".01234567.ndjson"
    for long in ("x" * 248 + ".ndjson", "é" * 124 + ".ndjson", os.fsdecode(b"\xff" * 248) + ".ndjson"):
        stored = stored_name(long, digest, ".rejected.ndjson")
        assert len(os.fsencode(stored)) <= 255
        (tmp_path / stored).touch()
