"""`loader validate`: what a run would say of files, without a database."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from loader.commands.options import add_command, add_limits, add_output, finish, settings_of

if TYPE_CHECKING:
    from loader.model import Reject
    from loader.progress import PlainView

_PREVIEW_ROWS = 10


def add(commands: Any) -> None:
    """Add the command."""
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
            report.add([outcome])
            report.seconds += outcome.seconds
            shown.finished([outcome])
            preview.show(outcome.name)
    return finish(report, options)


class _Preview:
    """The first rejects of a file, as they would stand in quarantine."""

    def __init__(self, shown: PlainView, *, quiet: bool) -> None:
        self._shown = shown
        self._quiet = quiet
        self._lines: list[str] = []
        self._more = 0

    def add(self, reject: Reject) -> None:
        from loader.reject_file import describe

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
