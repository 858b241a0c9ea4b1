"""`loader quarantine`: what waits there, and why."""

from __future__ import annotations

import argparse
from typing import Any

from loader.commands.options import add_command, add_config, add_landing, settings_of, write
from loader.errors import UsageError

_EXIT_CODES = """\
exit codes:
  0  done, whatever waits
  2  wrong usage
"""


def add(commands: Any) -> None:
    """Add the command."""
    text = "list what waits in quarantine, by reason and by file, with examples; no database"
    parser = add_command(
        commands,
        "quarantine",
        _quarantine,
        text,
        exit_codes=_EXIT_CODES,
        examples=["loader quarantine", "loader quarantine --examples 5"],
    )
    parser.add_argument("--examples", type=int, default=3, metavar="N", help="rows to show of each reason (3)")
    add_landing(parser)
    add_config(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def _quarantine(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    if options.examples < 0:
        raise UsageError(f"--examples must not be negative, but is {options.examples}")
    import json

    from loader import landing
    from loader.operate.survey import as_text, survey

    folder = settings.landing / landing.QUARANTINE
    found = survey(folder, examples=options.examples, max_line_bytes=settings.max_line_bytes)
    if options.json:
        write([json.dumps(found.as_json()), "\n"])
    else:
        write(f"{line}\n" for line in as_text(found))
    return 0
