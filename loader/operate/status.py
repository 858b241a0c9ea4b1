"""`loader status`: what waits, what is being loaded, what was loaded last, and how large `events` is."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loader import landing, resources
from loader.conninfo import redact
from loader.database import Connection
from loader.errors import DatabaseError, UsageError
from loader.landing import LandingFile
from loader.model import Counts
from loader.operate.in_flight import Claimed, claimed, find_names
from loader.operate.reading import reading
from loader.operate.waiting import Waiting, waiting
from loader.settings import Settings

# The ledger knows files, not runs: loads that follow each other within so many seconds are taken for one.
_PAUSE_SECONDS = 10
_MOST_FILES_OF_A_RUN = 10_000
# Up to here counting the rows of `events` takes a moment only.
_COUNTED_BYTES = 64 << 20


@dataclass(slots=True)
class Backlog:
    """What waits in the landing folder. `not_yet` and `left_alone`: how many, by the code of the reason."""

    files: list[LandingFile]
    ready: int = 0
    ready_bytes: int = 0
    oldest_seconds: float | None = None
    not_yet: dict[str, int] = field(default_factory=dict)
    left_alone: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class LastRun:
    """The newest files of the ledger."""

    started_at: datetime
    finished_at: datetime
    hosts: list[str]
    loaded: int
    refused: int
    counts: Counts


@dataclass(slots=True)
class EventsSize:
    """The table `events`."""

    rows: int | None  # None: large, and not analyzed yet
    is_estimate: bool
    table_bytes: int
    index_bytes: int


@dataclass(slots=True)
class Status:
    """All of it; of the database nothing where there is an `error`."""

    backlog: Backlog
    quarantine: Waiting
    in_flight: list[Claimed] = field(default_factory=list)
    last_run: LastRun | None = None
    events: EventsSize | None = None
    error: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        backlog = asdict(self.backlog)
        del backlog["files"]
        last_run = self.last_run and asdict(self.last_run)
        if last_run:
            last_run |= {name: last_run[name].isoformat() for name in ("started_at", "finished_at")}
            last_run |= last_run.pop("counts")
        return {
            "landing": backlog,
            "in_flight": None if self.error else [asdict(claim) for claim in self.in_flight],
            "last_run": last_run,
            "quarantine": asdict(self.quarantine),
            "events": self.events and asdict(self.events),
            "error": self.error,
        }


def look(settings: Settings) -> Status:
    """Look at the folders and at the database; a database in trouble is told in the result.

    Raises:
        UsageError: the landing folder can't be read.
    """
    found = Status(backlog(settings), waiting(settings.landing / landing.QUARANTINE))
    try:
        with reading(settings) as connection:
            found.in_flight = claimed(connection)
            found.last_run = _last_run(connection)
            found.events = _size_of_events(connection)
    except DatabaseError as error:
        found.error = redact(str(error))
    find_names(found.in_flight, found.backlog.files)
    return found


def backlog(settings: Settings) -> Backlog:
    """Look through the landing folder, without waiting for files that are young.

    Raises:
        UsageError: it can't be read.
    """
    folder: Path = settings.landing
    try:
        found = list(landing.survey(folder, recursive=settings.recursive))
    except OSError as error:
        raise UsageError(f"landing folder {folder}: {error.strerror}") from error
    files = sorted((entry for entry in found if isinstance(entry, LandingFile)), key=landing.by_age)
    now = time.time_ns()
    ready = [file for file in files if landing.is_settled(file, settle=settings.settle, now=now)]
    codes = Counter(entry.code for entry in found if not isinstance(entry, LandingFile))
    codes.pop("file_vanished", None)
    not_yet = {"settling": len(files) - len(ready), "temporary_name": codes.pop("temporary_name", 0)}
    return Backlog(
        files,
        ready=len(ready),
        ready_bytes=sum(file.size for file in ready),
        oldest_seconds=round((now - ready[0].mtime_ns) / 1e9, 3) if ready else None,
        not_yet={code: number for code, number in not_yet.items() if number},
        left_alone=dict(codes),
    )


def _last_run(connection: Connection) -> LastRun | None:
    limits = {"pause": _PAUSE_SECONDS, "most": _MOST_FILES_OF_A_RUN}
    row = connection.execute(resources.sql("last_run"), limits).fetchone()
    if row is None:
        return None
    started, finished, hosts, loaded, refused, *counts = row
    return LastRun(started.astimezone(UTC), finished.astimezone(UTC), hosts, loaded, refused, Counts(*counts))


def _size_of_events(connection: Connection) -> EventsSize | None:
    row = connection.execute(resources.sql("size_of_events"), {"exact_bytes": _COUNTED_BYTES}).fetchone()
    return None if row is None or row[2] is None else EventsSize(*row)
