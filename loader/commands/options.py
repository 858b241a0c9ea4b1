"""What commands share: how they are added to the command line, their options, and the settings that come of these.

Light: imported by every command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader import __version__
from loader.operate.logs import INFO, Log
from loader.settings import Settings, names_database, read, readable

if TYPE_CHECKING:
    from loader.report import RunReport

EXIT_CODES = """\
exit codes:
  0  all loaded (or nothing to do)
  1  something failed: database down, a file refused or over its budget
  2  wrong usage
  3  loaded, and some rows went to quarantine
"""


def add_command(
    commands: Any,
    name: str,
    command: Callable[[argparse.Namespace], int],
    text: str,
    *,
    examples: Sequence[str],
    exit_codes: str = EXIT_CODES,
) -> argparse.ArgumentParser:
    """Add a command that `command` runs; return its parser."""
    shown = "".join(f"  {example}\n" for example in examples)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=text,
        description=f"{text[0].upper()}{text[1:]}.",
        epilog=f"examples:\n{shown}\n{exit_codes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=command)
    return parser


def add_config(parser: argparse.ArgumentParser) -> None:
    """Add `--config`."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (loader.toml, where there is one)")


def add_landing(parser: argparse.ArgumentParser) -> None:
    """Add `--landing`."""
    parser.add_argument("--landing", type=Path, metavar="DIR", help="landing folder (landing)")


def add_database(parser: argparse.ArgumentParser) -> None:
    """Add what names the database and the contract."""
    parser.add_argument(
        "--database-url", metavar="URL", help="else DATABASE_URL, else PG* variables, else the embedded PostgreSQL"
    )
    parser.add_argument("--contracts", type=Path, metavar="DIR", help="folder with events.py (the bundled one)")
    add_config(parser)


def add_recursive(parser: argparse.ArgumentParser) -> None:
    """Add `--recursive`."""
    parser.add_argument("--recursive", action="store_true", default=None, help="look below the landing folder too")


def add_jobs(parser: argparse.ArgumentParser) -> None:
    """Add `--jobs`."""
    parser.add_argument("--jobs", type=int, metavar="N", help="files to load at the same time (1)")


def add_taking(parser: argparse.ArgumentParser) -> None:
    """Add which files of the landing folder are loaded, and how many at a time."""
    parser.add_argument("--settle", type=float, metavar="SECONDS", help="leave files alone that changed within (2)")
    add_recursive(parser)
    add_jobs(parser)


def add_looking(parser: argparse.ArgumentParser) -> None:
    """Add where to look without touching anything, which files there count as ready, and how the answer is spelled."""
    add_landing(parser)
    add_database(parser)
    parser.add_argument("--settle", type=float, metavar="SECONDS", help="files that changed within are not ready (2)")
    add_recursive(parser)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")


def add_limits(parser: argparse.ArgumentParser) -> None:
    """Add the limits on rows."""
    parser.add_argument("--max-rejects", type=int, metavar="N", help="more rows to quarantine: nothing is loaded")
    parser.add_argument("--max-reject-ratio", type=float, metavar="R", help="the same, as a share of the rows")
    parser.add_argument("--max-line-bytes", type=int, metavar="N", help="longer lines are rejected (16777216)")
    if not any(action.dest == "config" for action in parser._actions):  # noqa: SLF001 # argparse has no other way
        parser.add_argument("--contracts", type=Path, metavar="DIR", help="folder with events.py (the bundled one)")
        add_config(parser)


def add_output(parser: argparse.ArgumentParser) -> None:
    """Add what is printed."""
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quiet", action="store_true", help="only trouble on stderr")


def add_outside(parser: argparse.ArgumentParser) -> None:
    """Add what tells others how a run went."""
    parser.add_argument("--metrics-file", type=Path, metavar="FILE", help="metrics for Prometheus's textfile collector")
    parser.add_argument("--log-format", choices=["text", "json"], help="json: one object a line on stderr (text)")
    parser.add_argument("--on-failure", metavar="COMMAND|URL", help="what to call when a run fails (exit code 1)")
    parser.add_argument(
        "--on-failure-rows", action="store_true", default=None, help="call it when rows went to quarantine, too"
    )
    parser.add_argument("--on-failure-seconds", type=float, metavar="N", help="how long it may take (30)")


def settings_of(options: argparse.Namespace) -> Settings:
    """Read the settings of a command.

    Raises:
        UsageError: one of them is wrong.
    """
    return read(_flags(options), config=options.config if "config" in options else None)


def readable_settings_of(options: argparse.Namespace) -> Settings:
    """Return what can be used of settings some of which are wrong."""
    return readable(_flags(options), config=options.config)


def _flags(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name in Settings._fields}


def which_database(settings: Settings) -> str:
    """Say which database the settings name, without a password."""
    if not names_database(settings):
        return f"embedded PostgreSQL in {settings.embedded}/"
    from loader.conninfo import describe

    return describe(settings.database_url or "")


def announce(settings: Settings, *, quiet: bool = False) -> None:
    """Say which loader this is, and which database is meant."""
    if not quiet:
        print(f"loader {__version__}: {which_database(settings)}", file=sys.stderr)


def begin(log: Log, event: str, settings: Settings) -> None:
    """The same, in a log."""
    if not log.quiet:
        name = which_database(settings)
        log.write(INFO, event, f"loader {__version__}: {name}", version=__version__, database=name)


def finish(report: RunReport, options: argparse.Namespace, *, show_table: bool = True) -> int:
    """Print the report of a run, as a table and as JSON where that is asked for; return its exit code."""
    if report.outcomes and show_table and not options.quiet:
        print(report.as_table(), file=sys.stderr)
    if options.json:
        import json

        write([json.dumps(report.as_json()), "\n"])
    return report.exit_code


def write(pieces: Iterable[str]) -> None:
    """Write pieces to stdout as they come; whoever reads may stop reading, as `head` does."""
    try:
        for piece in pieces:
            sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer must not fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
