"""`loader doctor`: check what goes wrong in practice, and say how to mend it."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from loader.commands.options import (
    add_command,
    add_database,
    add_jobs,
    add_landing,
    add_output,
    add_recursive,
    announce,
    settings_of,
)

if TYPE_CHECKING:
    from loader.operate.doctor import Checked


def add(commands: Any) -> None:
    """Add the command."""
    doctor = add_command(
        commands,
        "doctor",
        _doctor,
        "check what goes wrong in practice, and say how to mend it",
        examples=["loader doctor", "loader doctor --json"],
    )
    add_landing(doctor)
    add_database(doctor)
    add_recursive(doctor)
    add_jobs(doctor)
    add_output(doctor)


def _doctor(options: argparse.Namespace) -> int:
    from loader.operate.doctor import diagnose, is_healthy
    from loader.operate.findings import Level

    settings = settings_of(options)
    announce(settings, quiet=options.quiet)
    checked = []
    for one in diagnose(settings, options.config):
        checked.append(one)
        if not options.quiet or one.finding.level in (Level.WARN, Level.FAIL):
            print(_lines(one), file=sys.stderr)
    counts = {level.value: sum(one.finding.level is level for one in checked) for level in Level}
    if options.json:
        import json

        print(json.dumps({"checks": [one.as_json() for one in checked], **counts}))
    if not options.quiet:
        print(", ".join(f"{count} {_word(level)}" for level, count in counts.items()), file=sys.stderr)
    return 0 if is_healthy(checked) else 1


def _lines(one: Checked) -> str:
    from loader.names import printable

    level, message, remedy = one.finding
    lines = [f"{_word(level):4}  {one.name.replace('_', ' ')}: {message}"]
    lines += [f"      {line}" for line in (remedy or "").splitlines()]
    return "\n".join(printable(line) for line in lines)


def _word(level: str) -> str:
    return "FAIL" if level == "fail" else str(level)
