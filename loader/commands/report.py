"""`loader report`: what was loaded, as a page to look at."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from loader.commands.options import add_command, add_database, add_landing, settings_of, which_database
from loader.errors import UsageError

_OUTPUT = Path("loader-report.html")
_MOST_DAYS = 366  # a bar a day, and all of them on one screen


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "report",
        _report,
        "write an HTML page of what was loaded and what was not",
        examples=[
            "loader report -o report.html",
            "loader report --days 90",
        ],
    )
    parser.add_argument("-o", "--output", type=Path, default=_OUTPUT, metavar="FILE", help=f"({_OUTPUT})")
    parser.add_argument(
        "--days", type=int, default=30, metavar="N", help="how far back, today included; at most 366 (30)"
    )
    add_landing(parser)
    add_database(parser)


def _report(options: argparse.Namespace) -> int:
    from loader.operate.write_page import write_page

    settings = settings_of(options)
    if not 1 <= options.days <= _MOST_DAYS:
        raise UsageError(f"--days must lie between 1 and {_MOST_DAYS}, not {options.days}")
    database = which_database(settings)
    print(f"loader report: {database}", file=sys.stderr)
    size = write_page(settings, options.output, days=options.days, described=database)
    print(f"{options.output}: {size / 1e6:.1f} MB", file=sys.stderr)
    return 0
