"""What the contenders share: their arguments, their SQL, and a fast way from NDJSON to Arrow."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias, TypeVar

import msgspec
import psycopg
import pyarrow as pa

T = TypeVar("T")

HERE = Path(__file__).parent

# In the order of _COPY: event_id, event_time, event_name, user_id, properties.
Row: TypeAlias = tuple[str, str, str, str, str]

_CHUNK_BYTES = 16 << 20
_COPY = "COPY contender_staging (event_id, event_time, event_name, user_id, properties) FROM STDIN"


class Event(msgspec.Struct, gc=False):
    """A line; `properties` is its JSON text."""

    event_id: str
    event_name: str
    event_time: str
    user_id: str
    properties: msgspec.Raw


def arguments() -> tuple[str, list[Path]]:
    """Return the conninfo and the files from the command line."""
    if len(sys.argv) < 3:
        sys.exit("usage: python -m bench.contenders.NAME CONNINFO FILE...")
    return sys.argv[1], [Path(name) for name in sys.argv[2:]]


def need(*modules: str) -> None:
    """End with a message when an optional package is missing."""
    missing = [module for module in modules if importlib.util.find_spec(module) is None]
    if missing:
        sys.exit(f"not installed: {', '.join(missing)}: pip install -r bench/requirements.txt")


def json_rows(files: Iterable[Path], spell: Callable[[object], T]) -> Iterator[tuple[str, str, str, str, T]]:
    """Yield the events, read by the json module, in the order of their columns; `spell` gets their properties."""
    for path in files:
        with path.open("rb") as lines:
            for line in lines:
                event = json.loads(line)
                yield (
                    event["event_id"],
                    event["event_time"],
                    event["event_name"],
                    event["user_id"],
                    spell(event["properties"]),
                )


def statement(name: str) -> str:
    """Return the SQL in the file `name`."""
    return (HERE / name).read_text()


def write_rows(conninfo: str, rows: Iterable[Row]) -> None:
    """Stage and merge in one transaction, row by row."""
    with psycopg.connect(conninfo) as connection, connection.cursor() as cursor:
        cursor.execute(statement("create_staging.sql"))
        with cursor.copy(_COPY) as copy:
            for row in rows:
                copy.write_row(row)
        cursor.execute(statement("merge_staging.sql"))
        cursor.execute("DROP TABLE contender_staging")


def tables(paths: Iterable[Path]) -> Iterator[pa.Table]:
    """Yield the events as they come, as Arrow tables of text columns.

    Every value of ``properties`` keeps its text to the byte. That is why neither Polars nor pyarrow reads the lines:
    given a JSON object for a text column, Polars writes the object anew without its escapes, and pyarrow refuses.
    The decoder used here skips over the object, and was several times as fast.
    """
    decoder = msgspec.json.Decoder(Event)
    for path in paths:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                events = decoder.decode_lines(chunk + file.readline())
                properties = pa.array([bytes(event.properties) for event in events], pa.binary())
                yield pa.table(
                    {
                        "event_id": pa.array([event.event_id for event in events], pa.string()),
                        "event_time": pa.array([event.event_time for event in events], pa.string()),
                        "event_name": pa.array([event.event_name for event in events], pa.string()),
                        "user_id": pa.array([event.user_id for event in events], pa.string()),
                        "properties": properties.cast(pa.string()),
                    }
                )
