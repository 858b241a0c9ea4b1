"""What commands share: how they are added to the command line, their options, and the settings that come of these.

Light: imported by every command.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from loader.settings import Settings, names_database, read, readable

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


def write(pieces: Iterable[str]) -> None:
    """Write pieces to stdout as they come; whoever reads may stop reading, as `head` does."""
    try:
        for piece in pieces:
            sys.stdout.write(piece)
        sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer must not fail again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
