"""`loader watch`: load what comes into the landing folder, until told to stop."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from loader.commands.options import (
    add_command,
    add_database,
    add_landing,
    add_limits,
    add_output,
    add_outside,
    add_taking,
    begin,
    settings_of,
)
from loader.operate.logs import Log, safe

if TYPE_CHECKING:
    from loader.model import FileOutcome


def add(commands: Any) -> None:
    """Add the command."""
    watch = add_command(
        commands,
        "watch",
        _watch,
        "load what comes into the landing folder, until told to stop",
        examples=[
            "loader watch",
            "loader watch --jobs 2 --scan-seconds 60",
            "loader watch --poll --landing /mnt/nfs/landing",
        ],
    )
    add_landing(watch)
    add_database(watch)
    add_taking(watch)
    watch.add_argument(
        "--scan-seconds", type=float, metavar="N", help="look at the folder this often, events or not (30)"
    )
    watch.add_argument(
        "--poll", action="store_true", default=None, help="look every second, for a file system without events (NFS)"
    )
    add_limits(watch)
    add_output(watch)
    add_outside(watch)


def _watch(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    log = Log(as_json=settings.log_format == "json", quiet=options.quiet)
    begin(log, "watch_started", settings)
    import json

    from loader.names import printable
    from loader.operate.watch import watch
    from loader.progress import JsonView, PlainView
    from loader.report import file_as_json, is_trouble
    from loader.run import Watcher

    view = JsonView(sys.stderr, log) if log.as_json else PlainView(sys.stderr, quiet=options.quiet)

    def finished(outcomes: Sequence[FileOutcome]) -> None:
        for outcome in outcomes:
            if log.as_json:
                view.finished([outcome])
            else:
                (view.say if is_trouble(outcome) else view.notify)(_line(outcome))
            if options.json:
                print(json.dumps(file_as_json(outcome)), flush=True)

    watch(
        settings,
        Watcher(view.notify, lambda _files, _size: None, lambda _size, _rows, _rejected: None, finished),
        say=lambda line: view.say(safe(f"loader: {line}")),
        is_ready=lambda: view.notify(f"watching {printable(str(settings.landing))}"),
        log=log,
    )
    view.notify("stopped; no file was in hand")
    return 0


def _line(outcome: FileOutcome) -> str:
    """Say what became of a file: all that `loader run` says of it in its table and above that."""
    from loader.model import Status
    from loader.report import explain

    head = f"{outcome.name}: {outcome.status}"
    remark = (explain(outcome) or "").removeprefix(f"{head}: ")
    parts = [remark] if remark else []
    if outcome.status is Status.LOADED:
        counts = outcome.counts
        where = f"{counts.inserted:,} inserted, {counts.duplicates:,} duplicates, {counts.conflicts:,} conflicts"
        parts.insert(0, f"{counts.read:,} rows: {where}, {counts.rejected:,} rejected; {outcome.seconds:.2f} s")
    return f"{head}: {'; '.join(parts)}"
