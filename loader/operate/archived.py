"""Where in the archive is a content that the ledger knows?"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from loader import landing
from loader.landing import LandingFile

# See names.stored_name: of the name it shortens what the ledger keeps, but never these digits.
_STORED = re.compile(r"\.([0-9a-f]{8})(?:\.[0-9]+)?\Z")


def beginning_in(name: str) -> str | None:
    """Return how the content's SHA-256 begins (8 hex digits), where `name` is that of an archived or refused file."""
    match = _STORED.search(name.removesuffix(landing.suffix(name) or ""))
    return match[1] if match else None


def find_archived(folder: Path, contents: Iterable[tuple[str, int]]) -> dict[str, LandingFile]:
    """Return the archived files of these contents, each given as SHA-256 (hex) and size, by SHA-256.

    The name has the first digits of the hash only. Together with the size that is nearly certain, and costs no reading.
    """
    wanted = {(sha256[:8], size): sha256 for sha256, size in contents}
    found: dict[str, LandingFile] = {}
    if not wanted:
        return found
    for path in _archived(folder):
        beginning = beginning_in(path.name)
        if beginning is not None and isinstance(file := landing.inspect(path), LandingFile):
            sha256 = wanted.get((beginning, file.size))
            if sha256 is not None:
                found.setdefault(sha256, file)
    return found


def _archived(folder: Path) -> Iterator[Path]:
    days = []
    with suppress(OSError), os.scandir(folder / landing.ARCHIVE) as entries:
        days = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    for day in days:
        with suppress(OSError), os.scandir(day) as entries:
            yield from (Path(entry.path) for entry in entries)
