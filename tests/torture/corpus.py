"""The files that the torture tests load: few, small, and with everything that may go wrong in a file."""

from __future__ import annotations

import functools
import gzip
import io
import json
import os
import random
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.torture.model import Input

_BAD: tuple[Mapping[str, Any] | str, ...] = (
    '{"event_id":',
    "[1, 2]",
    {"user_id": 7},
    {"event_id": "no-uuid"},
    {"event_time": "2024-05-01T12:00:00"},
    {"user_id": "", "colour": "red"},
    {"properties": None},
)
FIRST_LOAD = (
    "a-first.ndjson",
    "b-gz.jsonl.gz",
    "c-parquet.parquet",
    "d-clean.ndjson",
    "d-copy.ndjson",
    "e-empty.ndjson",
)
LARGE = "f-large.ndjson"
LAST_LOAD = ("g-truncated.ndjson.gz", "h-repeats.ndjson", "i-plain.ndjson", "j-copy.ndjson")
REFUSED = "g-truncated.ndjson.gz"


class Maker:
    """Makes events and lines that are the same each time."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)

    def event(self, **changes: Any) -> dict[str, Any]:
        number = self.chance.randrange(10**6)
        return {
            "event_id": str(uuid.UUID(int=self.chance.getrandbits(128), version=4)),
            "event_name": self.chance.choice(["page_view", "click", "purchase"]),
            "event_time": f"2024-05-01T{number % 24:02}:00:00.{number:06}+02:00",
            "user_id": f"user-{number}",
            "properties": {"page": "/", "n": number, "deep": [{"x": None}, 1.5, True]},
        } | changes

    def events(self, count: int, **changes: Any) -> list[dict[str, Any]]:
        return [self.event(**changes) for _ in range(count)]

    def bad(self, kind: int) -> str:
        what = _BAD[kind % len(_BAD)]
        return what if isinstance(what, str) else json.dumps({**self.event(), **what})


def respelled(event: Mapping[str, Any]) -> dict[str, Any]:
    """The same event, spelled in another way: a duplicate."""
    return {name: event[name] for name in reversed(list(event))} | {"event_id": event["event_id"].upper()}


def other(event: Mapping[str, Any]) -> dict[str, Any]:
    """Another event under the same id: a conflict."""
    return {**event, "user_id": f"{event['user_id']}-other"}


def ndjson(*lines: Mapping[str, Any] | str) -> bytes:
    return "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines).encode()


def parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as Parquet."""
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([dict(row) for row in rows]), sink)
    return sink.getvalue()


@functools.cache
def corpus() -> tuple[Input, ...]:
    """Three loads of a loader with small blocks: small files together, a large one, and small ones again."""
    make = Maker(7)
    first = make.events(20)
    zipped = make.events(15)
    columnar = make.events(10)
    parquet_rows = [
        row | {"properties": json.dumps(row["properties"])}
        for row in [*columnar, columnar[3], other(columnar[4]), make.event(user_id=""), first[0], other(first[1])]
    ]
    large = make.events(500, properties={"pad": "x" * 450})
    lines: list[Mapping[str, Any] | str] = [*large, *(respelled(event) for event in large[::50]), other(large[7])]
    for kind in range(len(_BAD)):
        lines.insert(kind * 60, make.bad(kind))
    lines += [first[2], other(first[3]), "", other(first[2])]
    repeats: list[Mapping[str, Any] | str] = [
        *large[::40],
        *first[5:8],
        other(large[11]),
        other(zipped[2]),
        make.bad(2),
        *make.events(5),
    ]
    clean = ndjson(*make.events(6))
    whole = gzip.compress(ndjson(*make.events(50)), mtime=0)
    contents = {
        "a-first.ndjson": ndjson(*first, make.bad(0)),
        "b-gz.jsonl.gz": gzip.compress(ndjson(*zipped, zipped[0], make.bad(3), other(first[9])), mtime=0),
        "c-parquet.parquet": parquet(parquet_rows),
        "d-clean.ndjson": clean,
        "d-copy.ndjson": clean,
        "e-empty.ndjson": b"",
        LARGE: ndjson(*lines),
        REFUSED: whole[: len(whole) * 2 // 3],
        "h-repeats.ndjson": ndjson(*repeats),
        "i-plain.ndjson": ndjson(*make.events(10), other(large[0])),
        "j-copy.ndjson": clean,
    }
    return tuple(
        Input(name, content, parquet_rows if name.endswith(".parquet") else None) for name, content in contents.items()
    )


def last_file() -> Input:
    """A file to drop at the end, so that there is a run with work that finds what crashes have left."""
    return Input("z-last.ndjson", ndjson(*Maker(8).events(3)))


def drop(landing: Path, files: Sequence[Input]) -> None:
    """Put files into the landing folder, so that a loader finds them in this order."""
    start = time.time_ns() - 3_600 * 10**9
    for number, file in enumerate(files):
        path = landing / f"{file.name}.tmp"
        path.write_bytes(file.content)
        os.utime(path, ns=(start, start + number * 10**6))
        path.rename(landing / file.name)
