"""Files that would break a careless loader: each has its exact outcome, and the file beside it is always loaded."""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support import Load, Query, event, quarantined, write_ndjson

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ONE = (json.dumps(event()) + "\n").encode()


def many(count: int = 3000) -> bytes:
    return b"".join((json.dumps(event()) + "\n").encode() for _ in range(count))


def table(**changes: object) -> pa.Table:
    columns: dict[str, object] = {name: [value] for name, value in event(properties="{}").items()}
    return pa.table({name: column for name, column in (columns | changes).items() if column is not None})


def parquet(**changes: object) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table(**changes), sink)
    return bytes(sink.getvalue())


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


# name -> content; then status, rows read, rows inserted, error code
CASES: dict[str, tuple[str, Callable[[], bytes], str, int, int, str | None]] = {
    "empty": ("a.ndjson", lambda: b"", "loaded", 0, 0, None),
    "only blank lines": ("a.ndjson", lambda: b"\n \r\n\t\n", "loaded", 0, 0, None),
    "BOM": ("a.ndjson", lambda: b"\xef\xbb\xbf" + ONE, "loaded", 1, 1, None),
    "BOM in the middle": ("a.ndjson", lambda: ONE + b"\xef\xbb\xbf" + many(1), "loaded", 2, 1, None),
    "CRLF": ("a.ndjson", lambda: many(3).replace(b"\n", b"\r\n"), "loaded", 3, 3, None),
    "no newline at the end": ("a.ndjson", ONE.rstrip, "loaded", 1, 1, None),
    "cut in the last line": ("a.ndjson", lambda: many(2)[:-9], "loaded", 2, 1, None),
    "CR only": ("a.ndjson", lambda: many(3).replace(b"\n", b"\r"), "loaded", 1, 0, None),
    "NUL bytes at the end": ("a.ndjson", lambda: ONE + b"\0" * 5000, "loaded", 2, 1, None),
    "nothing but NUL bytes": ("a.ndjson", lambda: b"\0" * 5000, "loaded", 1, 0, None),
    "UTF-16": ("a.ndjson", lambda: ONE.decode().encode("utf-16"), "refused", 0, 0, "not_utf8"),
    "UTF-16 without a BOM": ("a.ndjson", lambda: ONE.decode().encode("utf-16-be"), "refused", 0, 0, "not_utf8"),
    "UTF-32": ("a.ndjson", lambda: ONE.decode().encode("utf-32-le"), "refused", 0, 0, "not_utf8"),
    "pretty-printed": ("a.ndjson", lambda: json.dumps(event(), indent=1).encode(), "loaded", 9, 0, None),
    "gzip named NDJSON": ("a.ndjson", lambda: gzip.compress(ONE), "refused", 0, 0, "wrong_extension"),
    "zstd named gzip": ("a.ndjson.gz", lambda: zstd.compress(ONE), "refused", 0, 0, "wrong_extension"),
    "NDJSON named gzip": ("a.ndjson.gz", lambda: ONE, "refused", 0, 0, "wrong_extension"),
    "NDJSON named Parquet": ("a.parquet", lambda: ONE, "refused", 0, 0, "wrong_extension"),
    "Parquet named NDJSON": ("a.jsonl", parquet, "refused", 0, 0, "wrong_extension"),
    "empty gzip": ("a.ndjson.gz", lambda: b"", "refused", 0, 0, "truncated"),
    "gzip of nothing": ("a.ndjson.gz", lambda: gzip.compress(b""), "loaded", 0, 0, None),
    "gzip of two members": ("a.ndjson.gz", lambda: gzip.compress(ONE) + gzip.compress(many(1)), "loaded", 2, 2, None),
    "truncated gzip": ("a.ndjson.gz", lambda: gzip.compress(many())[:-900], "refused", 0, 0, "truncated"),
    "gzip without its checksum": ("a.ndjson.gz", lambda: gzip.compress(many())[:-8], "refused", 0, 0, "truncated"),
    "gzip with a wrong checksum": ("a.ndjson.gz", lambda: flip(gzip.compress(many()), -6), "refused", 0, 0, "corrupt"),
    "gzip with junk behind": ("a.ndjson.gz", lambda: gzip.compress(ONE) + b"junk", "refused", 0, 0, "corrupt"),
    "zstd": ("a.ndjson.zst", lambda: zstd.compress(many(5)), "loaded", 5, 5, None),
    "zstd of two frames": ("a.jsonl.zst", lambda: zstd.compress(ONE) + zstd.compress(many(1)), "loaded", 2, 2, None),
    "truncated zstd": ("a.ndjson.zst", lambda: zstd.compress(many())[:-900], "refused", 0, 0, "truncated"),
    "zstd with junk behind": ("a.ndjson.zst", lambda: zstd.compress(ONE) + b"junk", "refused", 0, 0, "corrupt"),
    "gzip bomb in one line": ("a.ndjson.gz", lambda: gzip.compress(b"x" * 50_000_000), "loaded", 1, 0, None),
    "one line over the limit": ("a.ndjson", lambda: ONE + b"[" * 17_000_000 + b"\n" + many(1), "loaded", 3, 2, None),
    "Parquet": ("a.parquet", parquet, "loaded", 1, 1, None),
    "empty Parquet": ("a.parquet", lambda: b"", "refused", 0, 0, "truncated"),
    "truncated Parquet": ("a.parquet", lambda: parquet()[:-30], "refused", 0, 0, "corrupt"),
    "Parquet with a broken footer": ("a.parquet", lambda: flip(parquet(), -7), "refused", 0, 0, "corrupt"),
    "Parquet and nothing else": ("a.parquet", lambda: b"PAR1PAR1", "refused", 0, 0, "corrupt"),
    "Parquet without a column": ("a.parquet", lambda: parquet(user_id=None), "refused", 0, 0, "missing_column"),
    "Parquet with a column more": ("a.parquet", lambda: parquet(more=[1]), "refused", 0, 0, "unknown_column"),
    "Parquet with numbers": ("a.parquet", lambda: parquet(user_id=[7]), "refused", 0, 0, "wrong_column_type"),
    "Parquet with naive times": (
        *("a.parquet", lambda: parquet(event_time=pa.array([0], pa.timestamp("us"))), "refused"),
        *(0, 0, "wrong_column_type"),
    ),
    "Parquet with a fixed offset": (
        *("a.parquet", lambda: parquet(event_time=pa.array([0], pa.timestamp("us", "+05:30"))), "loaded"),
        *(1, 1, None),
    ),
    "Parquet with an unknown zone": (
        *("a.parquet", lambda: parquet(event_time=pa.array([0], pa.timestamp("us", "Mars/Base"))), "loaded"),
        *(1, 1, None),
    ),
    "Parquet with times out of range": (
        *("a.parquet", lambda: parquet(event_time=pa.array([2**63 - 1], pa.timestamp("us", "UTC"))), "loaded"),
        *(1, 0, None),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_file_has_its_outcome_and_stops_no_other(load: Load, query: Query, landing: Path, case: str) -> None:
    name, content, status, read, inserted, code = CASES[case]
    (landing / name).write_bytes(content())
    write_ndjson(landing / "beside.ndjson", event(user_id="beside"))

    _, report = load()

    by_name = {file["name"]: file for file in report["files"]}
    assert by_name["beside.ndjson"]["status"] == "loaded"
    file = by_name[name]
    assert (file["status"], file["read"], file["inserted"]) == (status, read, inserted), file["error"]
    assert (file["error"] or "").partition(":")[0] == (code or "")
    assert len(quarantined(landing)) == read - inserted
    assert query("SELECT count(*) FROM events WHERE user_id <> 'beside'") == [(inserted,)]
    assert not [path for path in landing.iterdir() if path.is_file()]


@pytest.mark.parametrize(
    "name",
    [
        "a[1]*?.ndjson",
        "new\nline.ndjson",
        "\x1b[31mred\x07.ndjson",
        "'; DROP TABLE events; --.ndjson",
        "{0}%s%(x)s.ndjson",
        "x" * 248 + ".ndjson",
        "客" * 82 + ".ndjson",
        os.fsdecode(b"\xff\xfe.ndjson"),
        "..ndjson.ndjson",
        "a b.ndjson",
    ],
)
def test_no_name_is_too_odd(load: Load, query: Query, landing: Path, name: str) -> None:
    if name.startswith("."):
        name = "_" + name
    write_ndjson(landing / name, event(), "{")
    code, report = load()
    assert (code, report["inserted"], report["rejected"]) == (3, 1, 1)
    assert all(character.isprintable() for character in report["files"][0]["name"])
    assert not [path for path in landing.iterdir() if path.is_file()]
    assert len(list(landing.glob("archive/*/*"))) == 1
    assert query("SELECT count(*) FROM events") == [(1,)]


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_run(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loader import decode, lines

    path = write_ndjson(landing / "a.ndjson", event())
    whole = lines.chunks

    def append_meanwhile(*arguments: object, **options: object) -> object:
        with path.open("ab") as file:
            file.write(ONE)
        return whole(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(decode, "chunks", append_meanwhile)
    code, report = load()
    assert code == 1
    assert report["files"][0]["error"].startswith("file_changed")
    assert query("SELECT count(*) FROM events") == [(0,)]
    monkeypatch.undo()
    assert load()[1]["inserted"] == 2


def test_a_file_replaced_after_its_commit_is_not_archived_unread(
    load: Load, query: Query, landing: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from loader import ledger

    path = write_ndjson(landing / "a.ndjson", event())
    record = ledger.record

    def replace_meanwhile(*arguments: object) -> None:
        record(*arguments)  # type: ignore[arg-type]
        write_ndjson(landing / "new.tmp", event()).rename(path)

    monkeypatch.setattr(ledger, "record", replace_meanwhile)
    assert load()[1]["inserted"] == 1
    assert path.exists()
    monkeypatch.undo()
    assert load()[1]["inserted"] == 1
    assert query("SELECT count(*) FROM events") == [(2,)]


def test_unreadable_quarantine_keeps_the_file_in_landing(load: Load, query: Query, landing: Path) -> None:
    (landing / "quarantine").write_text("a file where the folder should be")
    write_ndjson(landing / "a.ndjson", event(), "{")
    write_ndjson(landing / "clean.ndjson", event())
    code, report = load()
    assert code == 1
    statuses = {file["name"]: file["status"] for file in report["files"]}
    assert statuses == {"a.ndjson": "failed", "clean.ndjson": "loaded"}
    assert (landing / "a.ndjson").exists()
    assert query("SELECT count(*) FROM events") == [(1,)]
