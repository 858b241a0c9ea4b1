"""`loader run`: what is ready is loaded, once."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from loader.commands.options import (
    add_command,
    add_database,
    add_landing,
    add_limits,
    add_output,
    add_outside,
    add_taking,
    begin,
    finish,
    readable_settings_of,
    settings_of,
)
from loader.errors import LoaderError, UsageError
from loader.operate.aftermath import Ending, attended
from loader.operate.logs import INFO, Log, safe
from loader.settings import Settings


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
    add_taking(run)
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

    begin(log, "run_started", settings)
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
