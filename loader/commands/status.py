"""`loader status`: what waits, what is in hand, what came last."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from loader.commands.options import add_command, add_looking, settings_of, which_database

_EXIT_CODES = """\
exit codes:
  0  all could be looked at
  1  the database is down; what the folders tell is shown
  2  wrong usage
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "status",
        _status,
        "say what waits, what is being loaded, and what came last",
        exit_codes=_EXIT_CODES,
        examples=[
            "loader status",
            "loader status --json",
        ],
    )
    add_looking(parser)


def _status(options: argparse.Namespace) -> int:
    from datetime import UTC, datetime

    from loader.names import printable
    from loader.operate.status import look
    from loader.operate.status_text import lines
    from loader.operate.words import section

    settings = settings_of(options)
    status = look(settings)
    if options.json:
        import json

        print(json.dumps(status.as_json()))
    else:
        print("\n".join([*section("database", [which_database(settings)]), *lines(status, now=datetime.now(UTC))]))
    if status.error is not None:
        print(printable(f"loader: {status.error}"), file=sys.stderr)
        return 1
    return 0
