"""The command line. Human words go to stderr; `--json` puts one object on stdout and nothing else."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader import __version__
from loader.errors import LoaderError, UsageError
from loader.settings import Settings, names_database, read

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from loader.model import Reject
    from loader.progress import PlainView
    from loader.report import RunReport

EXIT_CODES = """\
exit codes:
  0  all loaded (or nothing to do)
  1  something failed: database down, a file refused or over its budget
  2  wrong usage
  3  loaded, and some rows went to quarantine
"""
_PREVIEW_ROWS = 10


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and options.command is not _psql:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
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
        print("loader: interrupted; what was not committed is rolled back, its files stay", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="loader",
        description="Load files of events into PostgreSQL, every row accounted for.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"loader {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = _add(commands, "run", _run, "load what is ready in the landing folder, once (for cron)")
    run.add_argument("files", nargs="*", type=Path, metavar="FILE", help="load just these files")
    _add_landing(run)
    _add_database(run)
    run.add_argument("--settle", type=float, metavar="SECONDS", help="leave files alone that changed within (2)")
    run.add_argument("--recursive", action="store_true", default=None, help="look below the landing folder too")
    run.add_argument("--jobs", type=int, metavar="N", help="files to load at the same time (1)")
    _add_limits(run)
    _add_output(run)

    check = _add(commands, "validate", _validate, "check files against the contract; no database, nothing moves")
    check.add_argument("files", nargs="+", type=Path, metavar="FILE")
    _add_limits(check)
    _add_output(check)

    migrate = _add(commands, "migrate", _migrate, "bring the database's schema up to date (run does it too)")
    _add_database(migrate)

    simulate = _add(commands, "simulate", _simulate, "write synthetic events into the landing folder")
    _add_landing(simulate)
    simulate.add_argument("--events", type=int, default=10_000, metavar="N", help="rows to write (10000)")
    simulate.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same bytes (0)")
    simulate.add_argument("--bad-rate", type=float, default=0.0, metavar="R", help="share of malformed rows (0)")
    simulate.add_argument("--dup-rate", type=float, default=0.0, metavar="R", help="share of repeated events (0)")
    simulate.add_argument(
        "--format", default="ndjson", choices=["ndjson", "ndjson.gz", "ndjson.zst", "parquet"], help="(ndjson)"
    )
    simulate.add_argument("--files", type=int, default=1, metavar="K", help="files to spread them over (1)")

    psql = _add(commands, "psql", _psql, "open psql on the database; other options are its own, such as -c 'SELECT 1'")
    _add_database(psql)

    serve = _add(commands, "postgres", _postgres, "keep the embedded PostgreSQL up and say how to reach it")
    _add_config(serve)
    return parser


def _add(commands: Any, name: str, command: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=text, epilog=EXIT_CODES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(command=command)
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (loader.toml, where there is one)")


def _add_landing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--landing", type=Path, metavar="DIR", help="landing folder (landing)")


def _add_database(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--database-url", metavar="URL", help="else DATABASE_URL, else PG* variables, else the embedded PostgreSQL"
    )
    parser.add_argument("--contracts", type=Path, metavar="DIR", help="folder with events.py (the bundled one)")
    _add_config(parser)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-rejects", type=int, metavar="N", help="more rows to quarantine: nothing is loaded")
    parser.add_argument("--max-reject-ratio", type=float, metavar="R", help="the same, as a share of the rows")
    parser.add_argument("--max-line-bytes", type=int, metavar="N", help="longer lines are rejected (16777216)")
    if not any(action.dest == "config" for action in parser._actions):  # noqa: SLF001 # argparse has no other way
        parser.add_argument("--contracts", type=Path, metavar="DIR", help="folder with events.py (the bundled one)")
        _add_config(parser)


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--quiet", action="store_true", help="only trouble on stderr")


def _settings(options: argparse.Namespace) -> Settings:
    flags = {name: value for name, value in vars(options).items() if name in Settings._fields}
    return read(flags, config=options.config if "config" in options else None)


def _run(options: argparse.Namespace) -> int:
    from loader import landing

    settings = _settings(options)
    if not options.quiet:
        print(f"loader {__version__}: {_which_database(settings)}", file=sys.stderr)
    if options.files:
        files = [landing.named(path, settings.landing) for path in options.files]
    else:
        files = landing.discover(settings.landing, settle=settings.settle, recursive=settings.recursive)
    if not files and not options.quiet:
        print(f"nothing to load in {settings.landing}", file=sys.stderr)
    if not files and not options.json:
        return 0  # What cron runs 1,440 times a day ends here, before anything heavy is imported.
    from loader.report import RunReport

    report = RunReport()
    if not files:
        return _finish(report, options)
    from loader.progress import view
    from loader.run import run

    with view(quiet=options.quiet) as shown:
        try:
            run(settings, files, shown.watcher(), report)
        except LoaderError as error:
            if isinstance(error, UsageError) or not options.json:
                raise
            report.error = str(error)
            shown.say(f"loader: {error}")
    return _finish(report, options)


def _validate(options: argparse.Namespace) -> int:
    from loader import contract, landing
    from loader.progress import view
    from loader.rehearse import rehearse
    from loader.report import RunReport

    settings = _settings(options)
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


def _finish(report: RunReport, options: argparse.Namespace) -> int:
    if report.outcomes and not options.quiet:
        print(report.as_table(), file=sys.stderr)
    if options.json:
        import json

        print(json.dumps(report.as_json()))
    return report.exit_code


def _which_database(settings: Settings) -> str:
    if not names_database(settings):
        return f"embedded PostgreSQL in {settings.embedded}/"
    from loader.conninfo import describe

    return describe(settings.database_url or "")


def _migrate(options: argparse.Namespace) -> int:
    from loader import migrate
    from loader.database import connected
    from loader.run import database

    settings = _settings(options)
    print(f"loader {__version__}: {_which_database(settings)}", file=sys.stderr)
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

    return open_psql(_settings(options), options.rest)


def _postgres(options: argparse.Namespace) -> int:
    from loader import embedded

    embedded.serve(_settings(options).embedded, announce=lambda line: print(line, file=sys.stderr))
    return 0
