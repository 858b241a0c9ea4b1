"""`loader explain FILE`: what became of a file, or will; where the file is at hand, its content decides."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from loader import landing, opening, quarantine
from loader.compression import check_name
from loader.conninfo import redact
from loader.errors import DatabaseError, FileProblem, FileUnavailable, UsageError
from loader.landing import LandingFile, LeftAlone
from loader.names import printable
from loader.operate.archived import beginning_in, find_archived
from loader.operate.entries import Filter, LedgerEntry, entries
from loader.operate.in_flight import Claimed, claimed
from loader.operate.reading import reading
from loader.operate.waiting import Refusal, refusals
from loader.settings import Settings

_HEX = re.compile(r"[0-9a-f]{6,64}", re.IGNORECASE)
_REJECTED, _ERROR = ".rejected.ndjson", ".error.json"
# A name, or the first digits of a hash, may mean many.
_MOST_ENTRIES = 20


@dataclass(slots=True)
class FileExplained:
    """All that is known of a file. `code` and `verdict` say in short how it stands."""

    target: str
    path: Path | None = None  # where it is, if it is there
    place: str | None = None  # landing, archive, quarantine or elsewhere
    size: int | None = None
    sha256: str | None = None
    left_alone: LeftAlone | None = None  # why a run doesn't take it
    problem: FileProblem | None = None  # why it can't be read, or would be refused
    seconds_to_settle: float = 0.0
    claim: Claimed | None = None
    archived: str | None = None
    entries: list[LedgerEntry] = field(default_factory=list)
    rejects: list[str] = field(default_factory=list)  # files in quarantine
    refusal: Refusal | None = None
    error: str | None = None  # of the database

    @property
    def is_known(self) -> bool:
        """Say whether there is anything to tell."""
        return self.path is not None or bool(self.entries) or self.refusal is not None


def explain_file(settings: Settings, target: str) -> FileExplained:
    """Find all there is about a file: a path, a name, or how its SHA-256 begins.

    A database in trouble is told in the result.

    Raises:
        UsageError: it is a folder.
    """
    found = FileExplained(printable(target))
    wanted = _wanted(found, settings, target)
    try:
        with reading(settings) as connection:
            for one in wanted:
                found.entries = found.entries or list(entries(connection, one._replace(most=_MOST_ENTRIES)))
            sha256 = found.sha256 or (found.entries[0].sha256 if len(found.entries) == 1 else None)
            claims = claimed(connection) if sha256 else []
            found.claim = next((claim for claim in claims if claim.sha256_begins == (sha256 or "")[:16]), None)
    except DatabaseError as error:
        found.error = redact(str(error))
    if found.sha256 is None and len(found.entries) == 1:
        found.sha256 = found.entries[0].sha256
    if found.entries and found.place != landing.ARCHIVE:
        at_hand = find_archived(settings.landing, [(entry.sha256, entry.size_bytes) for entry in found.entries])
        found.archived = next((printable(str(file.path)) for file in at_hand.values()), None)
    _look_into_quarantine(found, settings.landing / landing.QUARANTINE)
    return found


def _wanted(found: FileExplained, settings: Settings, target: str) -> list[Filter]:
    """Look at the file, if there is one; return which entries of the ledger may be about it, the best first."""
    path = _path(target, settings.landing)
    if path is None:
        wanted = [Filter(exact_name=printable(Path(target).name))]
        beginning = beginning_in(_without_ending(Path(target).name))
        if beginning is not None:
            wanted.append(Filter(beginning=beginning))
        if _HEX.fullmatch(target):
            wanted.insert(0, Filter(beginning=target.lower()))
        return wanted
    if path.is_dir() and not path.is_symlink():
        raise UsageError(f"{target} is a folder: name a file in it")
    found.path, found.place = path, _place(path, settings.landing)
    if path.name.endswith((_REJECTED, _ERROR)) and (digest := quarantine.source_digest(path)) is not None:
        found.sha256 = digest.hex()
        return [Filter(beginning=found.sha256)]
    _look_at(found, path, settings)
    return [Filter(beginning=found.sha256)] if found.sha256 else []


def _path(target: str, folder: Path) -> Path | None:
    return next((path for path in (Path(target), folder / target) if os.path.lexists(path)), None)


def _without_ending(name: str) -> str:
    """Return what `name` of a file in quarantine would be as an archived one."""
    return re.sub(r"(?:\.[0-9]+)?\.rejected\.ndjson\Z|\.error\.json\Z", "", name)


def _place(path: Path, folder: Path) -> str:
    parent, root = path.parent.resolve(), folder.resolve()
    for name in (landing.ARCHIVE, landing.QUARANTINE):
        if parent.is_relative_to(root / name):
            return name
    return "landing" if parent.is_relative_to(root) else "elsewhere"


def _look_at(found: FileExplained, path: Path, settings: Settings) -> None:
    """Say whether a run would take the file, by the rules of `loader.landing`, and hash it."""
    file = landing.inspect(path)
    if isinstance(file, LeftAlone):
        found.left_alone = file
    elif found.place == "landing":
        if path.parent.resolve() != settings.landing.resolve() and not settings.recursive:
            found.left_alone = LeftAlone(path, "below_landing", "it is in a folder below; --recursive looks there, too")
        elif not landing.is_settled(file, settle=settings.settle, now=time.time_ns()):
            found.seconds_to_settle = max(0.0, settings.settle - (time.time_ns() - file.mtime_ns) / 1e9)
            reason = f"it was changed less than {settings.settle:g} s ago, and may still be written"
            found.left_alone = LeftAlone(path, "settling", reason)
    try:
        with opening.opened(path) as handle:
            found.size = os.fstat(handle.fileno()).st_size
            found.sha256 = opening.fingerprint(handle).hex()
            if isinstance(file, LandingFile):
                check_name(handle, file)
    except FileUnavailable as problem:
        if not isinstance(file, LeftAlone):
            found.problem = problem
    except FileProblem as problem:
        found.problem = problem


def _look_into_quarantine(found: FileExplained, folder: Path) -> None:
    with suppress(OSError):
        ids = {(entry.file_id, entry.sha256[:8]) for entry in found.entries}
        for name, attempt in sorted(quarantine.published(folder).items()):
            path = folder / name
            is_alike = found.sha256 is not None and found.sha256.startswith(attempt[1])
            if attempt in ids or (is_alike and quarantine.source_digest(path) == bytes.fromhex(found.sha256 or "")):
                found.rejects.append(printable(str(path)))
        about = (refusal for refusal in refusals(folder) if _is_about(refusal, found))
        found.refusal = next(about, None)


def _is_about(refusal: Refusal, found: FileExplained) -> bool:
    if found.sha256 is not None:
        return refusal.sha256 == found.sha256
    return not found.entries and found.target in (refusal.source, refusal.path.name)
