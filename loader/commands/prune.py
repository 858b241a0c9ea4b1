"""`loader prune`: remove what the archive and quarantine have held for long enough."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from loader.commands.options import add_command, add_database, add_landing, add_output, announce, settings_of

if TYPE_CHECKING:
    from loader.operate.prune import Pruned

_MOST_LINES = 10


def add(commands: Any) -> None:
    """Add the command."""
    prune = add_command(
        commands,
        "prune",
        _prune,
        "show which archived and quarantined files are too old, or delete",
        examples=["loader prune --archive-days 90 --quarantine-days 365", "loader prune --archive-days 90 --delete"],
    )
    prune.add_argument("--archive-days", type=int, metavar="N", help="keep loaded files for N days (for ever)")
    prune.add_argument("--quarantine-days", type=int, metavar="N", help="keep quarantine for N days (for ever)")
    prune.add_argument("--delete", action="store_true", help="delete them; without it nothing is touched")
    add_landing(prune)
    add_database(prune)
    add_output(prune)


def _prune(options: argparse.Namespace) -> int:
    from loader.operate.prune import prune

    settings = settings_of(options)
    announce(settings, quiet=options.quiet)
    pruned = prune(settings, delete=options.delete)
    if options.json:
        import json

        print(json.dumps(pruned.as_json()))
    if settings.archive_days is None and settings.quarantine_days is None and not options.quiet:
        print("nothing is ever pruned: set archive_days or quarantine_days", file=sys.stderr)
        return 0
    _say(pruned, quiet=options.quiet)
    return 1 if pruned.failed else 0


def _say(pruned: Pruned, *, quiet: bool) -> None:
    from loader.names import printable

    lines = [] if quiet else [*_table(pruned), *_kept(pruned)]
    lines += [f"loader: {path}: {error}" for path, error in pruned.failed]
    if not quiet and pruned.total.files and not pruned.is_done:
        lines.append("nothing was deleted; --delete does it")
    print("\n".join(printable(line) for line in lines), end="\n" if lines else "", file=sys.stderr)


def _table(pruned: Pruned) -> list[str]:
    total = pruned.total
    folders = len(pruned.removed_folders)
    and_folders = f", {folders} day folder{'s' * (folders != 1)}" if folders else ""
    verb = "deleted" if pruned.is_done else "would go"
    rows = [(name, tally.files, tally.size) for name, tally in pruned.folders.items()]
    width = max((len(name) for name, _, _ in rows), default=0)
    lines = [
        f"{name:{width}}  {files:>9,} file{'s' if files != 1 else ' '}  {size / 1e6:>12,.1f} MB"
        for name, files, size in rows
    ]
    return [*lines, f"{verb}: {total.files:,} file{'s' * (total.files != 1)}, {total.size / 1e6:,.1f} MB{and_folders}"]


def _kept(pruned: Pruned) -> list[str]:
    lines = [f"kept: {path}: {reason}" for path, reason in pruned.kept[:_MOST_LINES]]
    more = len(pruned.kept) - len(lines)
    return [*lines, f"kept: ... and {more:,} more (--json lists all)"] if more else lines
