"""A disk without power, simulated: what is left of a folder when only what was fsynced is sure to have survived.

What the loader did to the folder is known from the journal that `crash_child.py` keeps. Of this the disk has

- of a file: what was in it when it was last fsynced; nothing, where it never was;
- of names: each change that an fsync of its folder has followed, and of the others as many as it likes, from none to
  all, the earlier ones first. A rename is one change, of the new name's folder: a file has its old name or its new one.

A folder is a file like any other in this: who can't find the folder finds nothing in it.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

_OF_NAMES = ("create", "mkdir", "unlink", "rmdir", "rename")
_OTHERS = ("fsync", "fsync folder", "ledger", "COMMIT", "committed")


class Record(NamedTuple):
    """A line of the journal; `files` are those that were written into the ledger."""

    what: str
    paths: tuple[Path, ...]  # relative to the landing folder
    thread: int
    content: bytes = b""
    files: tuple[str, ...] = ()


def read(journal: Path, landing: Path) -> list[Record]:
    records = []
    for line in journal.read_text().splitlines():
        said = json.loads(line)
        assert said["what"] in (*_OF_NAMES, *_OTHERS), "the simulation doesn't know what this does to a disk"
        paths = tuple(Path(path).relative_to(landing) for path in said["paths"])
        content = base64.b64decode(said.get("content", ""))
        records.append(Record(said["what"], paths, said["thread"], content, tuple(said.get("files", ()))))
    return records


@dataclass
class File:
    """What a name leads to. A folder is one without a content."""

    content: bytes | None = b""
    mtime_ns: int | None = None


class Disk:
    """What is in a folder, by path."""

    def __init__(self, files: dict[Path, File]) -> None:
        self.files = files

    @classmethod
    def of(cls, folder: Path) -> Disk:
        found = {}
        for path in folder.rglob("*"):
            content = None if path.is_dir() else path.read_bytes()
            found[path.relative_to(folder)] = File(content, path.stat().st_mtime_ns)
        return cls(found)

    def after_power_cut(self, records: Sequence[Record], more: float) -> Disk:
        """Return what is left when this was durable, `records` were done to it since, and then the power went.

        Args:
            records: what was done.
            more: the share of it, 0 to 1, up to which the disk has every name, although nobody has insisted.
        """
        seen = Disk({path: File(file.content, file.mtime_ns) for path, file in self.files.items()})
        left = Disk(dict(seen.files))
        for position, record in enumerate(records):
            if record.what == "fsync":
                seen.files[record.paths[0]].content = record.content
            elif record.what in _OF_NAMES:
                file = seen._subject(record)
                seen._change(record, file)
                if position < len(records) * more or _is_insisted_on(record, records[position:]):
                    left._change(record, file)
        return left

    def contents(self) -> dict[Path, bytes]:
        """The files that can be found by their names."""
        return {
            path: file.content
            for path, file in self.files.items()
            if file.content is not None and all(folder in self.files for folder in path.parents[:-1])
        }

    def put(self, folder: Path) -> None:
        """Make a folder so."""
        shutil.rmtree(folder)
        folder.mkdir()
        for path in sorted(path for path, file in self.files.items() if file.content is None):
            if path.parent == Path() or (folder / path.parent).is_dir():
                (folder / path).mkdir()
        for path, content in self.contents().items():
            (folder / path).write_bytes(content)
            if (time := self.files[path].mtime_ns) is not None:
                os.utime(folder / path, ns=(time, time))

    def _subject(self, record: Record) -> File:
        match record.what:
            case "create":
                return File()
            case "mkdir":
                return File(None)
            case _:
                return self.files[record.paths[0]]

    def _change(self, record: Record, file: File) -> None:
        if record.what in ("unlink", "rmdir", "rename") and self.files.get(record.paths[0]) is file:
            del self.files[record.paths[0]]
        if record.what not in ("unlink", "rmdir"):
            self.files[record.paths[-1]] = file


def _is_insisted_on(change: Record, since: Sequence[Record]) -> bool:
    """Say whether the folder that the name is in, after a rename the new one, was fsynced since."""
    folder = change.paths[-1].parent
    return any((record.what, *record.paths) == ("fsync folder", folder) for record in since)
