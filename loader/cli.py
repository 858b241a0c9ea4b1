"""The command line. Human words go to stderr; `--json` puts one object on stdout and nothing else."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from loader import __version__
from loader.commands import completion, doctor, explain, history, init, prune, quarantine, replay, status, watch
from loader.commands import report as report_command
from loader.commands.options import (
    EXIT_CODES,
    add_command,
    add_config,
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
from loader.operate.logs import INFO, INTERRUPTED, Log, safe
from loader.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loader.model import Reject
    from loader.progress import PlainView
    from loader.report import RunReport

_PREVIEW_ROWS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    root = parser()
    options, rest = root.parse_known_args(arguments)
    if rest and options.command is not _psql:
        root.error(f"unrecognized arguments: {' '.join(rest)}")
    options.rest = rest
    if threading.current_thread() is threading.main_thread():
        # As Ctrl-C: what is in hand is rolled back, and an embedded server doesn't stay behind.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return int(options.command(options))
    except LoaderError as error:
        from loader.conninfo import redact
        from loader.names import printable

        print(printable(redact(f"loader: {error}")), file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print(INTERRUPTED, file=sys.stderr)
        return 130


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    root = argparse.ArgumentParser(
        prog="loader",
        description="Load files of events into PostgreSQL, every row accounted for.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    root.add_argument("--version", action="version", version=f"loader {__version__}")
    commands = root.add_subparsers(title="commands", required=True, metavar="COMMAND")

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

    check = add_command(
        commands,
        "validate",
        _validate,
        "check files against the contract; no database, nothing moves",
        examples=["loader validate events.ndjson", "loader validate --json --contracts contracts *.parquet"],
    )
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    add_limits(check)
    add_output(check)

    migrate = add_command(
        commands,
        "migrate",
        _migrate,
        "bring the database's schema up to date (run does it too)",
        examples=["loader migrate --database-url postgresql://owner@db.example/analytics"],
    )
    add_database(migrate)

    simulate = add_command(
        commands,
        "simulate",
        _simulate,
        "write synthetic events into the landing folder",
        examples=[
            "loader simulate --events 1000000 --bad-rate 0.01 --dup-rate 0.01",
            "loader simulate --format parquet --files 10 --seed 7",
        ],
    )
    add_landing(simulate)
    simulate.add_argument("--events", type=int, default=10_000, metavar="N", help="rows to write (10000)")
    simulate.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same bytes (0)")
    simulate.add_argument("--bad-rate", type=float, default=0.0, metavar="R", help="share of malformed rows (0)")
    simulate.add_argument("--dup-rate", type=float, default=0.0, metavar="R", help="share of repeated events (0)")
    simulate.add_argument(
        "--format", default="ndjson", choices=["ndjson", "ndjson.gz", "ndjson.zst", "parquet"], help="(ndjson)"
    )
    simulate.add_argument("--files", type=int, default=1, metavar="K", help="files to spread them over (1)")

    psql = add_command(
        commands,
        "psql",
        _psql,
        "open psql on the database; other options are its own, such as -c 'SELECT 1'",
        examples=["loader psql -c 'SELECT count(*) FROM events'"],
    )
    add_database(psql)

    serve = add_command(
        commands,
        "postgres",
        _postgres,
        "keep the embedded PostgreSQL up and say how to reach it",
        examples=["loader postgres"],
    )
    add_config(serve)
    init.add(commands)
    completion.add(commands)
    watch.add(commands)

    status.add(commands)
    history.add(commands)
    explain.add(commands)

    report_command.add(commands)
    return root
    doctor.add(commands)
    prune.add(commands)

    quarantine.add(commands)
    replay.add(commands)
    return parser


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
    ending.exit_code = _finish(report, options, show_table=not log.as_json)


def _validate(options: argparse.Namespace) -> int:
    from loader import contract, landing
    from loader.progress import view
    from loader.rehearse import rehearse
    from loader.report import RunReport

    settings = settings_of(options)
    files = [landing.named(path, settings.landing) for path in options.files]
    terms = contract.load(settings.contracts)
    report = RunReport()
    with view(quiet=options.quiet) as shown:
        shown.start(len(files), sum(file.size for file in files))
        for file in files:
            preview = _Preview(shown, quiet=options.quiet)
            outcome = rehearse(
                file,
                terms,
                max_line_bytes=settings.max_line_bytes,
                budget=settings.budget,
                on_reject=preview.add,
                progress=shown.progress,
            )
            report.add(outcome)
            report.seconds += outcome.seconds
            shown.finished(outcome)
            preview.show(outcome.name)
    return _finish(report, options)


class _Preview:
    """The first rejects of a file, as they would stand in quarantine."""

    def __init__(self, shown: PlainView, *, quiet: bool) -> None:
        self._shown = shown
        self._quiet = quiet
        self._lines: list[str] = []
        self._more = 0

    def add(self, reject: Reject) -> None:
        from loader.quarantine import describe

        if len(self._lines) < _PREVIEW_ROWS:
            self._lines.append(describe(reject))
        else:
            self._more += 1

    def show(self, name: str) -> None:
        if self._quiet or not self._lines:
            return
        self._shown.say(f"{name}: would be quarantined:")
        for line in self._lines:
            self._shown.say(f"  {line}")
        if self._more:
            self._shown.say(f"  ... and {self._more:,} more")


def _finish(report: RunReport, options: argparse.Namespace, *, show_table: bool = True) -> int:
    if report.outcomes and show_table and not options.quiet:
        print(report.as_table(), file=sys.stderr)
    if options.json:
        import json

        print(json.dumps(report.as_json()))
    return report.exit_code


def _migrate(options: argparse.Namespace) -> int:
    from loader import migrate
    from loader.database import connected
    from loader.run import database

    settings = settings_of(options)
    print(f"loader {__version__}: {which_database(settings)}", file=sys.stderr)
    with database(settings) as conninfo, connected(conninfo) as connection:
        applied = migrate.migrate(connection)
    print("\n".join(f"applied {name}" for name in applied) or "up to date", file=sys.stderr)
    return 0


def _simulate(options: argparse.Namespace) -> int:
    from loader.simulate import simulate

    landing_folder = options.landing or Settings().landing
    done = simulate(
        landing_folder,
        events=options.events,
        seed=options.seed,
        bad_rate=options.bad_rate,
        dup_rate=options.dup_rate,
        file_format=options.format,
        files=options.files,
    )
    for path in done.paths:
        print(f"{path}", file=sys.stderr)
    print(f"{done.events:,} rows: {done.bad:,} malformed, {done.repeated:,} repeated", file=sys.stderr)
    return 0


def _psql(options: argparse.Namespace) -> int:
    from loader.psql import open_psql

    return open_psql(settings_of(options), options.rest)


def _postgres(options: argparse.Namespace) -> int:
    from loader import embedded

    embedded.serve(settings_of(options).embedded, announce=lambda line: print(line, file=sys.stderr))
    return 0
