"""What the tests write and read: events, files, quarantine, processes."""

from __future__ import annotations

import argparse
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from loader import cli

Report = dict[str, Any]
Load = Callable[..., tuple[int, Report]]
Ask = Callable[..., tuple[int, str]]
Query = Callable[..., list[tuple[Any, ...]]]


def event(**changes: Any) -> dict[str, Any]:
    """A valid event with a random id; `changes` replace fields."""
    return {
        "event_id": str(uuid.uuid4()),
        "event_name": "page_view",
        "event_time": "2024-05-01T12:00:00Z",
        "user_id": "user-1",
        "properties": {"page": "/"},
    } | changes


def write_ndjson(path: Path, *events: dict[str, Any] | bytes | str) -> Path:
    """Write events, or lines verbatim, one a line."""
    lines = [
        line if isinstance(line, bytes) else (line if isinstance(line, str) else json.dumps(line)).encode()
        for line in events
    ]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


def quarantined(landing_folder: Path) -> list[dict[str, Any]]:
    """All rejected rows in quarantine."""
    files = sorted((landing_folder / "quarantine").glob("*.rejected.ndjson"))
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def commands() -> dict[str, argparse.ArgumentParser]:
    """All commands, with their parsers."""
    (found,) = (action for action in cli.parser()._actions if isinstance(action, argparse._SubParsersAction))
    return dict(found.choices)


def is_alive(pid: int) -> bool:
    """Say whether there is such a process."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
