"""`loader explain EVENT_ID`: the event, what brought it, and every other row that came with its id.

The ledger keeps counts only of duplicates; the rows themselves are still in the archived files, and conflicts and
rejects in quarantine. So that is where they are looked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple
from uuid import UUID

from loader import landing, opening, quarantine, resources
from loader.database import Connection
from loader.errors import FileProblem, FileUnavailable
from loader.landing import LandingFile
from loader.names import printable
from loader.operate.archived import find_archived
from loader.operate.entries import Filter, LedgerEntry, entries
from loader.operate.occurrences import rows_with
from loader.operate.reading import reading
from loader.operate.rejects import RejectedRow, rejected_rows
from loader.settings import Settings

# An id may come a million times. So many rows are listed; the others are counted.
MOST_LISTED = 1000


class SearchedFile(NamedTuple):
    """A file in which rows with the id may be, as the ledger has it."""

    file_id: int
    sha256: str
    name: str
    size_bytes: int
    duplicates: int
    conflicts: int
    rejected: int
    finished_at: datetime


class Event(NamedTuple):
    """A row of `events`."""

    file_id: int
    line: int
    row: str  # as JSON
    columns: list[tuple[str, str | None]]


class Repeat(NamedTuple):
    """Another row with the id, in an archived file.

    `is_certain` is False where it may as well be a conflict or reject: the file's rejects are no longer in quarantine.
    """

    name: str
    sha256: str
    line: int
    loaded_at: datetime
    archived: str
    is_certain: bool


class Reject(NamedTuple):
    """A row with the id in quarantine. `seen_at` is None where its load is not committed."""

    row: RejectedRow
    seen_at: datetime | None


@dataclass(slots=True)
class Search:
    """What was searched, and what could not be."""

    quarantine_files: int = 0
    archived_files: int = 0
    archived_bytes: int = 0
    missing: list[str] = field(default_factory=list)  # not in the archive
    failed: list[str] = field(default_factory=list)  # each with the reason


@dataclass(slots=True)
class EventExplained:
    """All that is known of an event_id."""

    event_id: UUID
    event: Event | None = None
    brought_by: LedgerEntry | None = None
    archived: str | None = None
    repeats: list[Repeat] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    unlisted: int = 0
    search: Search = field(default_factory=Search)


def explain_event(settings: Settings, event_id: UUID, notify: Callable[[str], None]) -> EventExplained:
    """Find all there is about an event_id; `notify` is told before a search that may take long.

    Raises:
        DatabaseError: the database can't be read.
    """
    found = EventExplained(event_id)
    folder = settings.landing / landing.QUARANTINE
    published = {folder / name: attempt for name, attempt in quarantine.published(folder).items()}
    ids = {file_id for file_id, _ in published.values()}
    with reading(settings) as connection:
        found.event = _find(connection, event_id)
        if found.event is not None and found.event.file_id:
            found.brought_by = next(iter([*entries(connection, Filter(file_id=found.event.file_id))]), None)
        # Before the event came, there was nothing to repeat.
        since = found.brought_by.finished_at if found.brought_by else datetime.min.replace(tzinfo=UTC)
        parameters = {"since": since if found.event else None, "file_ids": [*ids]}
        files = [SearchedFile(*row) for row in connection.execute(resources.sql("files_to_search"), parameters)]
    # The database is not kept waiting for what follows.
    rejected_at = _search_quarantine(found, published, {file.file_id: file for file in files}, settings.max_line_bytes)
    if found.event is not None:
        repeating = [
            file
            for file in files
            if file.finished_at >= since and (file.duplicates or (file.conflicts and file.file_id not in ids))
        ]
        _search_archive(
            found, repeating, ids_in_quarantine=ids, rejected_at=rejected_at, settings=settings, notify=notify
        )
    return found


def _find(connection: Connection, event_id: UUID) -> Event | None:
    row = connection.execute(resources.sql("find_event"), {"event_id": event_id}).fetchone()
    return None if row is None else Event(*row)


def _search_quarantine(
    found: EventExplained,
    published: dict[Path, tuple[int, str]],
    files: dict[int, SearchedFile],
    max_line_bytes: int,
) -> set[tuple[str, int]]:
    """Add the rejected rows; return where they stand, each as SHA-256 and line."""
    places: set[tuple[str, int]] = set()
    for path, (file_id, beginning) in sorted(published.items(), key=lambda item: item[1]):
        file = files.get(file_id)
        committed = file if file is not None and file.sha256.startswith(beginning) else None
        try:
            for row in rejected_rows(path, found.event_id, max_line_bytes=max_line_bytes):
                if len(found.rejects) < MOST_LISTED:
                    found.rejects.append(Reject(row, committed and committed.finished_at))
                else:
                    found.unlisted += 1
                places.add((row.sha256, row.line))
        except FileProblem as problem:
            found.search.failed.append(printable(f"{path.name}: {problem}"))
        else:
            found.search.quarantine_files += 1
    return places


def _search_archive(
    found: EventExplained,
    files: list[SearchedFile],
    *,
    ids_in_quarantine: set[int],
    rejected_at: set[tuple[str, int]],
    settings: Settings,
    notify: Callable[[str], None],
) -> None:
    contents = [(file.sha256, file.size_bytes) for file in files]
    if found.brought_by is not None:
        contents.append((found.brought_by.sha256, found.brought_by.size_bytes))
    archived = find_archived(settings.landing, contents)
    if found.brought_by is not None and found.brought_by.sha256 in archived:
        found.archived = printable(str(archived[found.brought_by.sha256].path))
    present = [(file, archived[file.sha256]) for file in files if file.sha256 in archived]
    found.search.missing = [f"{file.name} ({file.sha256[:8]})" for file in files if file.sha256 not in archived]
    if present:
        size = sum(file.size_bytes for file, _ in present)
        notify(f"searching {len(present):,} archived files, {size / 1e6:,.1f} MB")
    for file, place in present:
        is_certain = not (file.conflicts or file.rejected) or file.file_id in ids_in_quarantine
        try:
            for line in _lines(found, file, place, rejected_at, settings.max_line_bytes):
                if len(found.repeats) < MOST_LISTED:
                    path = printable(str(place.path))
                    found.repeats.append(Repeat(file.name, file.sha256, line, file.finished_at, path, is_certain))
                else:
                    found.unlisted += 1
        except FileProblem as problem:
            found.search.failed.append(printable(f"{place.path.name}: {problem}"))
        else:
            found.search.archived_files += 1
            found.search.archived_bytes += file.size_bytes


def _lines(
    found: EventExplained,
    file: SearchedFile,
    place: LandingFile,
    rejected_at: set[tuple[str, int]],
    max_line_bytes: int,
) -> Iterator[int]:
    """Yield the lines of an archived file that have the id, but for the event's own and those in quarantine."""
    event = found.event
    own = (event.file_id, event.line) if event else None
    with opening.opened(place.path) as handle:
        is_verified = False
        for line in rows_with(found.event_id, handle, place, max_line_bytes=max_line_bytes):
            if (file.file_id, line) == own or (file.sha256, line) in rejected_at:
                continue
            if not is_verified:
                _verify(place.path, file.sha256)
                is_verified = True
            yield line


def _verify(path: Path, sha256: str) -> None:
    """Make sure that an archived file, chosen by the first digits of its hash and its size, is the one that is meant.

    Raises:
        FileUnavailable: it isn't.
    """
    with opening.opened(path) as handle:
        if opening.fingerprint(handle).hex() != sha256:
            raise FileUnavailable("file_changed", "it is not the content that was loaded")
