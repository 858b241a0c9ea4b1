"""`loader completion`: what a shell needs to complete commands, options and file names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from loader.commands.options import add_command
from loader.errors import UsageError


def add(commands: Any) -> None:
    """Add the command."""
    completion = add_command(
        commands,
        "completion",
        _completion,
        "print a completion script for a shell",
        examples=[
            "loader completion bash > ~/.local/share/bash-completion/completions/loader",
            "loader completion zsh > ~/.zfunc/_loader",
        ],
    )
    completion.add_argument("shell", choices=["bash", "zsh", "tcsh"], help="which one")


def _completion(options: argparse.Namespace) -> int:
    try:
        import shtab
    except ImportError as error:
        raise UsageError(f"shtab can't be imported ({error}): pip install 'loader[completion]'") from error
    from loader.cli import parser

    whole = parser()
    for action in _actions(whole):
        if action.type is Path and action.choices is None:
            kind = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
            action.complete = kind  # type: ignore[attr-defined] # shtab looks for it
    print(shtab.complete(whole, options.shell))
    return 0


def _actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """Return the actions of a parser and of those below it; argparse has no public way to them."""
    found: list[argparse.Action] = []
    for action in parser._actions:  # noqa: SLF001
        found.append(action)
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001
            for below in action.choices.values():
                found += _actions(below)
    return found
