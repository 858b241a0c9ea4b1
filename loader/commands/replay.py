"""`loader replay`: load rejected rows again, once the cause is mended."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from loader.commands.options import (
    add_command,
    add_database,
    add_jobs,
    add_landing,
    add_output,
    announce,
    finish,
    settings_of,
)
from loader.errors import LoaderError, UsageError


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "replay",
        _replay,
        "load the rejected rows of quarantine files again",
        examples=[
            "loader replay landing/quarantine/events.1a2b3c4d.7.rejected.ndjson",
            "loader replay --edit landing/quarantine/events.1a2b3c4d.7.rejected.ndjson",
        ],
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="QUARANTINE_FILE", help="a *.rejected.ndjson")
    parser.add_argument(
        "--edit",
        action="store_true",
        help="open the raw rows in $VISUAL or $EDITOR first; a line left empty is dropped; nothing happens if it fails",
    )
    add_landing(parser)
    add_database(parser)
    add_jobs(parser)
    parser.add_argument("--max-line-bytes", type=int, metavar="N", help="longer rows are rejected (16777216)")
    add_output(parser)


def _replay(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    announce(settings, quiet=options.quiet)
    from loader.operate.replay import chosen, inspected, replay
    from loader.progress import view
    from loader.report import RunReport

    def say(line: str) -> None:
        print(line, file=sys.stderr)

    files = chosen(options.files, settings, say)
    if options.edit:
        from loader.operate.edit import edit

        for file in files:
            edit(file, max_line_bytes=settings.max_line_bytes, say=say)
        files = [inspected(file.path, settings, lambda _: None) for file in files]
    report = RunReport()
    if files:
        with view(quiet=options.quiet) as shown:
            try:
                replay(settings, files, shown.watcher(), report)
            except LoaderError as error:
                if isinstance(error, UsageError) or not options.json:
                    raise
                report.error = str(error)
                shown.say(f"loader: {error}")
    return finish(report, options)
