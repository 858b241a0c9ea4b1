"""The first script that one writes: a loop over the lines, json.loads, executemany, a commit for each 1,000 rows.

psycopg's executemany is no strawman: it prepares the statement once and sends the rows in pipeline mode, without
waiting for each answer. The strings go as they are; PostgreSQL parses the uuid and the timestamp.
"""

from __future__ import annotations

from itertools import islice

import psycopg
from psycopg.types.json import Jsonb

from bench.contenders.common import arguments, json_rows

_BATCH = 1_000
_INSERT = """
    INSERT INTO events (event_id, event_time, event_name, user_id, properties)
    VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (event_id) DO NOTHING
"""


def main() -> None:
    """Insert batch after batch."""
    conninfo, files = arguments()
    rows = json_rows(files, Jsonb)
    with psycopg.connect(conninfo) as connection, connection.cursor() as cursor:
        while batch := list(islice(rows, _BATCH)):
            cursor.executemany(_INSERT, batch)
            connection.commit()


if __name__ == "__main__":
    main()
