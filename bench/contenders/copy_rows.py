"""psycopg's copy.write_row, row by row after json.loads, into typed unlogged staging, then one merge.

COPY's text format: the strings go as they are, and PostgreSQL parses them in C. The binary format, for which Python
would have to make a UUID and a datetime of them first, was slower. One transaction.
"""

from __future__ import annotations

import json

from bench.contenders.common import arguments, json_rows, write_rows


def main() -> None:
    """Stage and merge."""
    conninfo, files = arguments()
    encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), check_circular=False).encode
    write_rows(conninfo, json_rows(files, encode))


if __name__ == "__main__":
    main()
