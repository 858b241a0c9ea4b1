"""`loader quarantine`: what waits there, counted by code, column and file, with examples.

The files there may be anybody's and of any size: they are read line by line, and nothing is believed of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

from loader import quarantine
from loader.errors import FileUnavailable
from loader.names import printable
from loader.opening import opened
from loader.operate.waiting import Refusal, refusals
from loader.operate.words import count, tally
from loader.rejected import Reason, Row, lines, parse

# More kinds of reasons than this (each unknown field is one) are counted as one.
_MOST_REASONS = 500
_OTHERS = "(others)"
_RAW_CHARACTERS = 1000
_NAME_CHARACTERS = 200
_SHOWN_CHARACTERS = 150


@dataclass(slots=True)
class Example:
    """A rejected row; `raw` may be only its beginning. `source` and `line` say where it first stood."""

    source: str
    line: int
    message: str
    raw: str


@dataclass(slots=True)
class Kind:
    """Rows that were rejected for the same reason."""

    code: str
    column: str | None
    rows: int = 0
    files: int = 0
    examples: list[Example] = field(default_factory=list)


@dataclass(slots=True)
class RejectsFile:
    """A quarantine file. `unreadable`: lines that are no rows, and what is wrong with the first of them."""

    path: str
    source: str | None = None  # the file that somebody dropped, where the rows came from
    rows: int = 0
    replayed: bool = False  # its rows were rejected more than once
    codes: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0
    error: str | None = None


@dataclass(slots=True)
class Survey:
    """All that waits."""

    files: list[RejectsFile] = field(default_factory=list)
    kinds: dict[tuple[str, str | None], Kind] = field(default_factory=dict)
    refused: list[Refusal] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return {
            "rows": sum(file.rows for file in self.files),
            "files": [
                {
                    "path": file.path,
                    "source": file.source,
                    "rows": file.rows,
                    "replayed": file.replayed,
                    "codes": dict(file.codes),
                    "unreadable": file.unreadable,
                    "error": file.error,
                }
                for file in self.files
            ],
            "reasons": [
                {
                    "code": kind.code,
                    "column": kind.column,
                    "rows": kind.rows,
                    "files": kind.files,
                    "examples": [
                        {"source": one.source, "line": one.line, "message": one.message, "raw": one.raw}
                        for one in kind.examples
                    ],
                }
                for kind in self.by_rows()
            ],
            "refused": [refusal._asdict() | {"path": str(refusal.path)} for refusal in self.refused],
        }

    def by_rows(self) -> list[Kind]:
        """Return the reasons, the most frequent first."""
        return sorted(self.kinds.values(), key=lambda kind: (-kind.rows, kind.code, kind.column or ""))


def survey(folder: Path, *, examples: int, max_line_bytes: int) -> Survey:
    """Read what is in the quarantine folder; there may be none."""
    found = Survey(refused=list(refusals(folder)))
    for path in sorted(folder.glob(f"*{quarantine.REJECTED}"), key=os.fsencode):
        file = RejectsFile(str(path))
        try:
            with opened(path) as handle:
                _read(handle, file, found, examples, max_line_bytes)
        except FileUnavailable as problem:
            if problem.code == "file_vanished":
                continue  # A replay has just taken it away.
            file.error = problem.message
        found.files.append(file)
    return found


def _read(handle: FileIO, file: RejectsFile, found: Survey, examples: int, max_line_bytes: int) -> None:
    seen: set[tuple[str, str | None]] = set()
    for number, line in lines(handle, max_line_bytes=max_line_bytes):
        try:
            row = parse(number, line)
        except FileUnavailable as problem:
            file.unreadable += 1
            file.error = file.error or problem.message
            continue
        if row is None:
            continue
        file.rows += 1
        file.source = file.source or row.first_place.source
        file.replayed = file.replayed or row.replayed_from is not None
        kinds = {_kind(found, reason): reason for reason in reversed(row.errors)}
        for key, reason in kinds.items():
            kind = found.kinds[key]
            kind.rows += 1
            kind.files += key not in seen
            if len(kind.examples) < examples:
                kind.examples.append(_example(row, reason))
        seen |= kinds.keys()
        file.codes.update({code for code, _ in kinds})


def _kind(found: Survey, reason: Reason) -> tuple[str, str | None]:
    key = (reason.code[:_NAME_CHARACTERS], reason.column and reason.column[:_NAME_CHARACTERS])
    if key not in found.kinds and len(found.kinds) >= _MOST_REASONS:
        key = (_OTHERS, None)
    found.kinds.setdefault(key, Kind(*key))
    return key


def _example(row: Row, reason: Reason) -> Example:
    place = row.first_place
    raw = row.raw if row.raw is not None else f"base64: {row.raw_base64}"
    return Example(place.source, place.line, reason.message[:_RAW_CHARACTERS], raw[:_RAW_CHARACTERS])


def as_text(found: Survey) -> Iterator[str]:
    """Yield the lines for a person."""
    rows = count(sum(file.rows for file in found.files), "rejected row")
    yield f"{rows} in {count(len(found.files), 'file')}; {count(len(found.refused), 'refused file')}"
    for kind in found.by_rows():
        column = f" {kind.column}" if kind.column else ""
        yield ""
        yield printable(f"{kind.code}{column}: {count(kind.rows, 'row')} in {count(kind.files, 'file')}")
        for one in kind.examples:
            yield printable(f"  {one.source} line {one.line}: {one.message}")
            cut = "..." if len(one.raw) > _SHOWN_CHARACTERS else ""
            yield printable(f"    {one.raw[:_SHOWN_CHARACTERS]}{cut}")
    if found.files:
        yield ""
    for file in found.files:
        again = ", replayed in vain" if file.replayed else ""
        of = f" of {file.source}" if file.source else ""
        yield printable(f"{file.path}: {count(file.rows, 'row')}{of}{again}: {tally(file.codes)}".removesuffix(": "))
        if file.error:
            what = f"{count(file.unreadable, 'line')} unreadable, the first: " if file.unreadable else ""
            yield printable(f"  {what}{file.error}")
    if found.refused:
        yield ""
    for refusal in found.refused:
        yield printable(f"{refusal.source}: refused: {refusal.code}: {refusal.message}")
