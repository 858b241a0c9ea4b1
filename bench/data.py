"""The rows that are loaded: made deterministically, some 300 bytes each, 1 % of them bad, 1 % repeated.

Every data set is a folder of files in three forms: `raw` as a producer would drop them, `clean` without the bad rows
(NDJSON), and `binary`, the clean rows as COPY's binary format has them, which is made by PostgreSQL itself.
"""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Literal

import polars as pl
import psycopg

BAD_RATE = DUPLICATE_RATE = 0.01

_FIRST_MILLISECOND = 1_767_225_600_000  # 2026-01-01
_NAMES = ("page_viewed", "item_added", "order_placed", "payment_failed", "search_done", "signed_in", "video_played")
_SYSTEMS = ("ios", "android", "windows", "macos", "linux")
_WORDS = ("river", "copper", "lantern", "meadow", "harbour", "violet", "granite", "saffron", "timber", "quartz")
_REMEMBERED = 4_096
_PARQUET_SCHEMA = dict.fromkeys(("event_id", "event_name", "event_time", "user_id", "properties"), pl.String)


@dataclass(frozen=True, slots=True)
class DataSet:
    """Rows over files; `variant` changes the bytes of every file, but no row."""

    rows: int
    files: int = 1
    uuid: Literal[4, 7] = 4
    format: Literal["ndjson", "parquet"] = "ndjson"
    variant: str = ""

    @property
    def name(self) -> str:
        """A name for the folder that holds it."""
        return f"{self.rows}x{self.files}-uuid{self.uuid}-{self.format}{self.variant}"


@dataclass(frozen=True, slots=True)
class Counted:
    """What is in a data set."""

    valid: int
    distinct: int


def rows(count: int, *, uuid: Literal[4, 7]) -> Iterator[tuple[bytes, bool]]:
    """Yield (line, whether it is valid) `count` times."""
    random = Random(count)  # the same rows on every machine
    seen: deque[bytes] = deque(maxlen=_REMEMBERED)
    for number in range(count):
        lot = random.random()
        if lot < DUPLICATE_RATE and seen:
            yield random.choice(seen), True
            continue
        event = _event(random, number, uuid)
        if lot < DUPLICATE_RATE + BAD_RATE:
            yield _spoilt(random, event), False
            continue
        line = _line(event)
        seen.append(line)
        yield line, True


def _event(random: Random, number: int, uuid: Literal[4, 7]) -> dict[str, object]:
    millisecond = _FIRST_MILLISECOND + number * 7 + random.randrange(7)
    day, of_day = divmod(millisecond - _FIRST_MILLISECOND, 86_400_000)
    second, milli = divmod(of_day, 1000)
    date = f"2026-{1 + day // 28 % 12:02}-{1 + day % 28:02}"
    return {
        "event_id": _uuid(random, millisecond, uuid),
        "event_name": random.choice(_NAMES),
        "event_time": f"{date}T{second // 3600:02}:{second // 60 % 60:02}:{second % 60:02}.{milli:03}Z",
        "user_id": f"user-{random.randrange(10**6):06}",
        "properties": {
            "page": {"path": f"/{random.choice(_WORDS)}/{random.randrange(10**4)}", "title": random.choice(_WORDS)},
            "device": {"os": random.choice(_SYSTEMS), "version": f"{random.randrange(20)}.{random.randrange(10)}"},
            "amount": random.randrange(10**5) / 100,
            "tags": random.sample(_WORDS, 2),
            "test": None,
        },
    }


def _uuid(random: Random, millisecond: int, version: Literal[4, 7]) -> str:
    digits = random.getrandbits(128)
    if version == 7:
        digits = (millisecond << 80) | (digits & ((1 << 80) - 1))
    digits = digits & ~(0xF << 76) & ~(0x3 << 62) | (version << 76) | (0x2 << 62)
    text = f"{digits:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _line(event: dict[str, object]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def _spoilt(random: Random, event: dict[str, object]) -> bytes:
    match random.randrange(5):
        case 0:
            return _line(event)[: random.randrange(2, 100)]
        case 1:
            del event["user_id"]
        case 2:
            event["event_id"] = "7"
        case 3:
            event["event_time"] = "2026-02-30T00:00:00Z"
        case _:
            event["event_name"] = 7
    return _line(event)


class Store:
    """The data sets made so far, in a folder that a later benchmark finds again."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def raw(self, data: DataSet) -> list[Path]:
        """Return the files as a producer would drop them."""
        return self._made(data, "raw")

    def clean(self, data: DataSet) -> list[Path]:
        """Return NDJSON files without the bad rows."""
        return self._made(data, "clean")

    def binary(self, data: DataSet, conninfo: str) -> list[Path]:
        """Return the clean rows in COPY's binary format, with file_id and line."""
        done = self._folder / data.name / "binary"
        if not done.is_dir():
            making = done.with_name("binary.making")
            shutil.rmtree(making, ignore_errors=True)
            making.mkdir(parents=True)
            with psycopg.connect(conninfo) as connection:
                for number, path in enumerate(self.clean(data), 1):
                    _write_binary(connection, path, making / f"{path.stem}.bin", number)
            making.rename(done)
        return sorted(done.iterdir())

    def counted(self, data: DataSet) -> Counted:
        """Count the valid rows and their distinct ids."""
        valid, ids = 0, set()
        for path in self.clean(data):
            with path.open("rb") as lines:
                for line in lines:
                    valid += 1
                    ids.add(line[13:49])
        return Counted(valid, len(ids))

    def _made(self, data: DataSet, form: str) -> list[Path]:
        folder = self._folder / data.name
        if not (folder / form).is_dir():
            making = folder.with_name(f"{data.name}.making")
            shutil.rmtree(making, ignore_errors=True)
            for part in ("raw", "clean"):
                (making / part).mkdir(parents=True)
            _write(data, making)
            making.rename(folder)
        return sorted((folder / form).iterdir())


def _write(data: DataSet, folder: Path) -> None:
    made = rows(data.rows, uuid=data.uuid)
    for number in range(data.files):
        stem = f"part-{number:05}"
        count = data.rows * (number + 1) // data.files - data.rows * number // data.files
        if data.format == "parquet":
            lines = list(islice(made, count))
            _write_parquet([line for line, valid in lines if valid], folder / "raw" / f"{stem}.parquet")
            (folder / "clean" / f"{stem}.ndjson").write_bytes(b"".join(line + b"\n" for line, ok in lines if ok))
            continue
        with (
            (folder / "raw" / f"{stem}.ndjson").open("wb") as raw,
            (folder / "clean" / f"{stem}.ndjson").open("wb") as clean,
        ):
            for line, valid in islice(made, count):
                raw.write(line + b"\n")
                if valid:
                    clean.write(line + b"\n")
            if data.variant:
                raw.write(b"\n")


def _write_parquet(lines: list[bytes], path: Path) -> None:
    """Write rows as the files of a warehouse have them: a real timestamp, `properties` as JSON text."""
    events = [json.loads(line) for line in lines]
    for event in events:
        event["properties"] = json.dumps(event["properties"], separators=(",", ":"))
    frame = pl.DataFrame(events, schema=_PARQUET_SCHEMA)
    frame.with_columns(pl.col("event_time").str.to_datetime(time_unit="us", time_zone="UTC")).write_parquet(path)


def _write_binary(connection: psycopg.Connection, clean: Path, path: Path, file_id: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE lines (line bigint GENERATED ALWAYS AS IDENTITY, event text) ON COMMIT DROP")
        with (
            cursor.copy("COPY lines (event) FROM STDIN (FORMAT csv, QUOTE e'\\x01', DELIMITER e'\\x02')") as rows_in,
            clean.open("rb") as source,
        ):
            while block := source.read(1 << 20):
                rows_in.write(block)
        with (
            cursor.copy(
                """
            COPY (
                SELECT (e ->> 'event_id')::uuid, (e ->> 'event_time')::timestamptz, %s::bigint, line,
                       e ->> 'event_name', e ->> 'user_id', e -> 'properties'
                FROM (SELECT line, event::jsonb AS e FROM lines ORDER BY line) AS parsed
            ) TO STDOUT (FORMAT binary)
            """,
                (file_id,),
            ) as rows_out,
            path.open("wb") as target,
        ):
            for data in rows_out:
                target.write(data)
    connection.commit()
