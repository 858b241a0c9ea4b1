"""`loader run`: what is ready is loaded, once."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader import __version__
from loader.commands.options import (
    add_command,
    add_database,
    add_landing,
    add_limits,
    add_output,
    add_outside,
    readable_settings_of,
    settings_of,
    which_database,
)
from loader.errors import LoaderError, UsageError
from loader.operate.aftermath import Ending, attended
from loader.operate.logs import INFO, Log, safe
from loader.settings import Settings

if TYPE_CHECKING:
    from loader.report import RunReport


def add(commands: Any) -> None:
    """Add the command."""
    run = add_command(
        commands,
        "run",
        _run,
        "load what is ready in the landing folder, once (for cron)",
        examples=[
            "loader run",
            "loader run --jobs 4 --max-reject-ratio 0.01",
            "loader run --json late/events.ndjson.gz",
            "*/5 * * * *  cd /srv/events && loader run --quiet   # in a crontab",
        ],
    )
    run.add_argument("files", nargs="*", type=Path, metavar="FILE", help="load just these files")
    add_landing(run)
    add_database(run)
    run.add_argument("--settle", type=float, metavar="SECONDS", help="leave files alone that changed within (2)")
    run.add_argument("--recursive", action="store_true", default=None, help="look below the landing folder too")
    run.add_argument("--jobs", type=int, metavar="N", help="files to load at the same time (1)")
    add_limits(run)
    add_output(run)
    add_outside(run)


def _run(options: argparse.Namespace) -> int:
    """Load what is ready, and tell the outside how it went, however that was."""
    wrong: UsageError | None = None
    try:
        settings = settings_of(options)
    except UsageError as error:
        settings, wrong = readable_settings_of(options), error
    log = Log(as_json=settings.log_format == "json", quiet=options.quiet)
    with attended(settings, log) as ending:
        if wrong is not None:
            raise wrong
        _load(options, settings, log, ending)
    return ending.exit_code


def _load(options: argparse.Namespace, settings: Settings, log: Log, ending: Ending) -> None:
    from loader import landing

    if not log.quiet:
        name = which_database(settings)
        log.write(INFO, "run_started", f"loader {__version__}: {name}", version=__version__, database=name)
    if options.files:
        files = [landing.named(path, settings.landing) for path in options.files]
    else:
        files = landing.discover(settings.landing, settle=settings.settle, recursive=settings.recursive)
    if not files:
        folder = str(settings.landing)
        log.write(INFO, "nothing_to_load", f"nothing to load in {folder}", landing=safe(folder))
    if not files and not options.json:
        return  # What cron runs 1,440 times a day ends here, before anything heavy is imported.
    from loader.report import RunReport

    ending.report = report = RunReport()
    if files:
        from loader.progress import view
        from loader.run import run

        with view(quiet=options.quiet, log=log) as shown:
            try:
                run(settings, files, shown.watcher(), report)
            except LoaderError as error:
                if isinstance(error, UsageError) or not options.json:
                    raise
                report.error = safe(str(error))
                shown.failed(report.error)
    ending.exit_code = finish(report, options, show_table=not log.as_json)


def finish(report: RunReport, options: argparse.Namespace, *, show_table: bool = True) -> int:
    """Print the report of a run, as a table and as JSON where that is asked for; return its exit code."""
    if report.outcomes and show_table and not options.quiet:
        print(report.as_table(), file=sys.stderr)
    if options.json:
        import json

        print(json.dumps(report.as_json()))
    return report.exit_code
