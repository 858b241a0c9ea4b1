"""psycopg's copy.write_row, row by row after json.loads, into typed unlogged staging, then one merge.

COPY's text format: the strings go as they are, and PostgreSQL parses them in C. The binary format, for which Python
would have to make a UUID and a datetime of them first, was slower. One transaction.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench.contenders.common import Row, arguments, write_rows


def main() -> None:
    """Stage and merge."""
    conninfo, files = arguments()
    write_rows(conninfo, _rows(files))


def _rows(files: list[Path]) -> Iterator[Row]:
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
    for path in files:
        with path.open("rb") as lines:
            for line in lines:
                event = json.loads(line)
                yield (
                    event["event_id"],
                    event["event_time"],
                    event["event_name"],
                    event["user_id"],
                    encode(event["properties"]),
                )


if __name__ == "__main__":
    main()
