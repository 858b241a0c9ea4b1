"""The command line. Human words go to stderr; `--json` puts one object on stdout and nothing else."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

from loader import __version__
from loader.commands import (
    completion,
    database,
    doctor,
    explain,
    history,
    init,
    prune,
    quarantine,
    replay,
    report,
    run,
    simulate,
    status,
    validate,
    watch,
)
from loader.commands.options import EXIT_CODES
from loader.errors import LoaderError, UsageError
from loader.operate.logs import INTERRUPTED, safe

if TYPE_CHECKING:
    from collections.abc import Sequence

# In the order in which they are listed.
_COMMANDS = (
    *(run, watch, validate, replay, quarantine),
    *(status, history, explain, report, doctor, prune),
    *(init, simulate, database, completion),
)


# Polars reads these when it is imported. Its engine for data larger than memory, which it would take, needs five times
# as long for a small query. Its threads spin for a while after each; the stages have threads of their own.
_POLARS = {"POLARS_ENGINE_AFFINITY": "in-memory", "POLARS_MAX_THREADS": "1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    for name, value in _POLARS.items():
        os.environ.setdefault(name, value)
    root = parser()
    options, rest = root.parse_known_args(arguments)
    if rest and not options.takes_rest:
        root.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C: what is in hand is rolled back, and an embedded server doesn't stay behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(options.command(options))
    except LoaderError as error:
        print(safe(f"loader: {error}"), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    root = argparse.ArgumentParser(
        prog="loader",
        description="Load files of events into PostgreSQL, every row accounted for.",
        epilog=f"examples:\n  loader init shop && cd shop && loader simulate && loader run\n\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"loader {__version__}")
    root.set_defaults(takes_rest=False)
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands)
    return root
