"""The first script that one writes: a loop over the lines, json.loads, executemany, a commit for each 1,000 rows.

psycopg's executemany is no strawman: it prepares the statement once and sends the rows in pipeline mode, without
waiting for each answer. The strings go as they are; PostgreSQL parses the uuid and the timestamp.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import psycopg
from psycopg.types.json import Jsonb

from bench.contenders.common import arguments

_BATCH = 1_000
_INSERT = """
    INSERT INTO events (event_id, event_time, event_name, user_id, properties)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (event_id) DO NOTHING
"""


def main() -> None:
    """Insert batch after batch."""
    conninfo, files = arguments()
    rows = _rows(files)
    with psycopg.connect(conninfo) as connection, connection.cursor() as cursor:
        while batch := list(islice(rows, _BATCH)):
            cursor.executemany(_INSERT, batch)
            connection.commit()


def _rows(files: list[Path]) -> Iterator[tuple[str, str, str, str, Jsonb]]:
    for path in files:
        with path.open("rb") as lines:
            for line in lines:
                event = json.loads(line)
                yield (
                    event["event_id"],
                    event["event_time"],
                    event["event_name"],
                    event["user_id"],
                    Jsonb(event["properties"]),
                )


if __name__ == "__main__":
    main()
