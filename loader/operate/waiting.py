"""What waits in quarantine: rejected rows and refused files. The files there may be anybody's: nothing trusts them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from loader import quarantine
from loader.errors import FileUnavailable
from loader.names import printable
from loader.opening import opened

_READ_BYTES = 1 << 20
_MAX_REFUSAL_BYTES = 1 << 20


class Refusal(NamedTuple):
    """Why a file was refused, as its `.error.json` says."""

    path: Path
    source: str
    sha256: str
    code: str
    message: str


@dataclass(slots=True)
class Waiting:
    """Files of rejected rows; and refused files, by the code of the reason."""

    files: int = 0
    rows: int = 0
    bytes: int = 0
    refused: int = 0
    refused_codes: dict[str, int] = field(default_factory=dict)


def waiting(folder: Path) -> Waiting:
    """Count what waits in quarantine; there may be no such folder yet."""
    found = Waiting()
    for name in quarantine.published(folder):
        # What a replay or a prune has just taken away doesn't wait.
        with suppress(FileUnavailable, OSError), opened(folder / name) as file:
            found.files += 1
            found.bytes += os.fstat(file.fileno()).st_size
            while block := file.read(_READ_BYTES):
                found.rows += block.count(b"\n")
    codes = Counter(refusal.code for refusal in refusals(folder))
    found.refused, found.refused_codes = codes.total(), dict(codes)
    return found


def refusals(folder: Path) -> Iterator[Refusal]:
    """Yield why files were refused."""
    for path in sorted(folder.glob("*.error.json"), key=os.fsencode):
        if (refusal := refusal_in(path)) is not None:
            yield refusal


def refusal_in(path: Path) -> Refusal | None:
    """Return what an `.error.json` says; None where it is gone or none of ours."""
    with suppress(FileUnavailable, OSError, ValueError, RecursionError, KeyError, TypeError):
        with opened(path) as file:
            row = json.loads(file.read(_MAX_REFUSAL_BYTES))
        texts = (printable(str(row[name])) for name in ("source", "sha256", "code", "message"))
        return Refusal(path, *texts)
    return None
