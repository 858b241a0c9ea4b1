"""`loader history`: what became of each file, from the ledger."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

from loader.commands.options import add_command, add_database, settings_of, write
from loader.errors import UsageError

if TYPE_CHECKING:
    from loader.operate.entries import LedgerEntry

_MOST_IN_TABLE = 50
_EXIT_CODES = """\
exit codes:
  0  done
  1  the database is down
  2  wrong usage
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "history",
        _history,
        "list what became of each file, newest first",
        exit_codes=_EXIT_CODES,
        examples=[
            "loader history --since 7d --status refused",
            "loader history --name 'events-*.ndjson' --csv > history.csv",
        ],
    )
    parser.add_argument("--since", metavar="TIME", help="30m, 12h, 7d or 2w ago, or a date or time of ISO 8601 (UTC)")
    parser.add_argument("--until", metavar="TIME", help="the same; a day is included")
    parser.add_argument("--status", choices=["loaded", "refused"])
    parser.add_argument("--name", metavar="PATTERN", help="as in a shell: 'events-*.ndjson'")
    parser.add_argument(
        "--limit", type=int, metavar="N", help=f"at most so many (a table: {_MOST_IN_TABLE}; JSON and CSV: all)"
    )
    add_database(parser)
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--json", action="store_true", help="one JSON object on stdout, a line for each file")
    output.add_argument("--csv", action="store_true", help="CSV on stdout")


def _history(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from loader.operate import history
    from loader.operate.entries import Filter, entries
    from loader.operate.reading import reading

    settings = settings_of(options)
    if options.limit is not None and options.limit < 1:
        raise UsageError(f"--limit must be at least 1, not {options.limit}")
    now = datetime.now(UTC)
    wanted = Filter(
        since=options.since and history.moment(options.since, now=now),
        until=options.until and history.moment(options.until, now=now, is_end=True),
        status=options.status,
        name=options.name and history.expression(options.name),
        most=options.limit or (None if options.json or options.csv else _MOST_IN_TABLE),
    )
    seen = 0

    def counted(found: Iterable[LedgerEntry]) -> Iterator[LedgerEntry]:
        nonlocal seen
        for entry in found:
            seen += 1
            yield entry

    with reading(settings) as connection, closing(entries(connection, wanted)) as found:
        if options.json or options.csv:
            write(history.as_json(found) if options.json else history.as_csv(found))
            return 0
        width = os.get_terminal_size(sys.stdout.fileno()).columns if sys.stdout.isatty() else None
        write(f"{line}\n" for line in history.as_table(counted(found), width=width))
    if not seen:
        print("the ledger has no such file", file=sys.stderr)
    elif seen == _MOST_IN_TABLE and options.limit is None:
        print(f"the newest {seen}; --limit says how many to list", file=sys.stderr)
    return 0
