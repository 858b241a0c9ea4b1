"""What waits in quarantine, for the report: which files, and a few rejected rows of each code.

Nothing here trusts the files: whoever may write into the folder may have written them.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import suppress
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import msgspec

from loader import quarantine
from loader.errors import FileUnavailable
from loader.opening import opened
from loader.operate.waiting import Refusal, refusals

EXAMPLES = 3  # of each code
_EXAMPLE_FILES = 200
_BYTES_OF_A_FILE = 1 << 20  # of the newest files, to find examples in
_LINE_BYTES = 256 << 10
_EXAMPLE_CHARACTERS = 1000


class Example(NamedTuple):
    """A rejected row."""

    source: str
    line: int
    column: str | None
    message: str
    raw: str


class WaitingFile(NamedTuple):
    """A file of rejects in quarantine. `file_id` is its load's in the ledger, 0 where its source was refused."""

    name: str
    file_id: int
    size: int
    changed: datetime


class Quarantine(NamedTuple):
    """What waits: files of rejects, newest first; refused files; and examples by code."""

    files: list[WaitingFile]
    refusals: list[Refusal]
    examples: dict[str, list[Example]]


class _Problem(msgspec.Struct):
    code: str
    message: str
    column: str | None = None


class _Row(msgspec.Struct):
    source: str
    line: int
    errors: list[_Problem]
    raw: str | None = None
    raw_base64: str | None = None


def look(folder: Path) -> Quarantine:
    """Look through the quarantine folder; there may be none."""
    found = []
    for name, (file_id, _) in quarantine.published(folder).items():
        with suppress(OSError):  # taken away meanwhile
            status = (folder / name).lstat()
            changed = datetime.fromtimestamp(status.st_mtime, UTC)
            found.append(WaitingFile(name, file_id, status.st_size, changed))
    found.sort(key=lambda file: (file.changed, file.name), reverse=True)
    examples: defaultdict[str, list[Example]] = defaultdict(list)
    for file in found[:_EXAMPLE_FILES]:
        _add_examples(folder / file.name, examples)
    return Quarantine(found, list(refusals(folder)), dict(examples))


def _add_examples(path: Path, examples: defaultdict[str, list[Example]]) -> None:
    with suppress(FileUnavailable, OSError), opened(path) as file, BufferedReader(file) as lines:
        left = _BYTES_OF_A_FILE
        while left > 0 and (line := lines.readline(_LINE_BYTES)):
            left -= len(line)
            with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                _add(msgspec.json.decode(line, type=_Row), examples)


def _add(row: _Row, examples: defaultdict[str, list[Example]]) -> None:
    raw = (row.raw if row.raw is not None else f"base64: {row.raw_base64}")[:_EXAMPLE_CHARACTERS]
    for problem in row.errors:
        if len(examples[problem.code]) < EXAMPLES:
            examples[problem.code].append(Example(row.source, row.line, problem.column, problem.message, raw))
