"""`loader replay --edit`: the raw rows of a quarantine file in the user's editor, and back into their places."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from loader import opening, quarantine
from loader.errors import FileUnavailable, LoaderError, UsageError
from loader.landing import LandingFile
from loader.names import printable
from loader.rejected import lines, parse

_DEFAULT_EDITOR = "vi"


def edit(file: LandingFile, *, max_line_bytes: int, say: Callable[[str], None]) -> None:
    """Let the user edit the raw rows of `file`, and put them back into it all at once.

    The editor shows each row as a line; one that is left empty is dropped. Rows that are no text, or are there only in
    part, are not shown.

    Raises:
        UsageError: the editor fails, or there are not as many lines as rows any more; what was written is kept.
        QuarantineError: the quarantine file can't be written; what was written is kept.
    """
    folder = Path(tempfile.mkdtemp(prefix="loader-edit-"))  # which nobody else may enter
    path = folder / file.path.name
    try:
        hidden = _write(file, path, max_line_bytes)
        if hidden:
            rows = "1 of its rows is" if hidden == 1 else f"{hidden:,} of its rows are"
            say(f"{printable(file.path.name)}: {rows} not shown: not UTF-8, or there only in part")
        before = _digest(path)
        _open_editor(path)
        is_changed = _digest(path) != before
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    if is_changed:
        try:
            quarantine.replace(file.path, _edited(file, path))
        except LoaderError as error:
            raise UsageError(f"{error}; nothing is replayed, and what you wrote is in {path}") from error
    shutil.rmtree(folder, ignore_errors=True)


def _write(file: LandingFile, path: Path, max_line_bytes: int) -> int:
    """Write the rows that can be edited; return how many others there are."""
    hidden = 0
    with path.open("xb") as target, opening.opened_as_found(file) as handle:
        for number, line in lines(handle, max_line_bytes=max_line_bytes):
            row = parse(number, line)
            if row is None:
                continue
            content = row.content()
            if row.raw is None or row.is_truncated(content):
                hidden += 1
            else:
                target.write(content + b"\n")
    return hidden


def _open_editor(path: Path) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _DEFAULT_EDITOR
    try:
        code = subprocess.call([*shlex.split(editor), str(path)])  # noqa: S603 # what the user chose
    except (OSError, ValueError) as error:
        raise UsageError(f"can't start the editor {editor!r}: {error}; set VISUAL or EDITOR to one") from error
    if code:
        raise UsageError(f"the editor {editor!r} ended with exit code {code}: nothing is changed or replayed")


def _digest(path: Path) -> bytes:
    try:
        with opening.opened(path) as file:
            return opening.fingerprint(file)
    except FileUnavailable as problem:
        raise UsageError(f"what the editor wrote can't be read: {problem.message}; nothing is replayed") from problem


def _edited(file: LandingFile, path: Path) -> Iterator[bytes]:
    """Yield the lines of the quarantine file with the rows as they are in `path` now.

    Raises:
        LoaderError: `path` has other lines than rows, or the quarantine file has changed meanwhile.
    """
    with path.open("rb") as rows, opening.opened_as_found(file) as handle:
        for number, line in lines(handle, max_line_bytes=path.stat().st_size):
            row = parse(number, line)
            assert line is not None  # noqa: S101 # else `parse` had raised
            if row is None or row.raw is None or row.is_truncated(row.content()):
                yield line
                continue
            content = rows.readline()
            if not content:
                raise UsageError(
                    "lines are missing: each row must stay on its line (leave a line empty to drop its row)"
                )
            yield _with_raw(line, row.raw, content.removesuffix(b"\n"), number)
        for content in rows:
            if content.strip():
                raise UsageError("there are more lines than rows: a row must stay on one line, without a line break")


def _with_raw(line: bytes, former: str, content: bytes, number: int) -> bytes:
    """Return a line of the quarantine file with another raw row; its other members stay."""
    try:
        raw = content.decode()
    except UnicodeDecodeError as error:
        raise UsageError(f"the row of line {number} in the quarantine file is no UTF-8 any more: {error}") from error
    if raw == former:
        return line
    return json.dumps({**json.loads(line), "raw": raw}, ensure_ascii=False).encode() + b"\n"
