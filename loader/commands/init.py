"""`loader init`: a project folder to begin with."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from loader.commands.options import add_command
from loader.names import printable

_PURPOSE = {
    "landing": "drop files of events here",
    "loader.toml": "every setting, with its default",
    "events.py": "the contract: edit it to your events",
}


def add(commands: Any) -> None:
    """Add the command."""
    init = add_command(
        commands,
        "init",
        _init,
        "make a project folder: a landing folder, loader.toml with every setting, the contract to edit",
        examples=["loader init shop && cd shop && loader simulate && loader run"],
    )
    init.add_argument("folder", type=Path, metavar="DIR", help="made where it is not there; nothing is overwritten")


def _init(options: argparse.Namespace) -> int:
    from loader.operate.project import make

    made = make(options.folder)
    width = max(len(str(path)) for path in made)
    for path in made:
        print(printable(f"{path!s:<{width}}  {_PURPOSE.get(path.name, '')}".rstrip()), file=sys.stderr)
    print(printable(f"next: cd {options.folder} && loader simulate && loader run"), file=sys.stderr)
    return 0
