"""What the report shows, read from the database in one transaction, so that its numbers agree with each other."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any, NamedTuple, TypeVar

from psycopg import IsolationLevel
from psycopg.rows import class_row

from loader import migrate, resources
from loader.database import Connection, reported
from loader.errors import DatabaseError

Row = TypeVar("Row")

# Of a larger table, about so many rows of events are looked at.
SAMPLE_ROWS = 500_000
FILES_SHOWN = 300
REFUSED_SHOWN = 50
NAMES_SHOWN = 15
SIZE_BOUNDS = [10**power for power in range(3, 10)]
LATENESS_BOUNDS = [0, 60, 600, 3600, 6 * 3600, 86_400, 7 * 86_400, 30 * 86_400, 365 * 86_400]


class Overview(NamedTuple):
    """Which time the report covers, and what the ledger says of all time."""

    first_day: date
    made_at: datetime
    last_loaded: datetime | None
    files_ever: int
    events_total: int


class Day(NamedTuple):
    """One day's files and rows."""

    day: date
    files: int
    refused: int
    read: int
    inserted: int
    duplicates: int
    conflicts: int
    rejected: int
    size_bytes: int
    busy_seconds: float


class CodeDay(NamedTuple):
    """How many rows of one day's files went to quarantine with a code."""

    day: date
    code: str
    rows: int
    files: int


class File(NamedTuple):
    """A file as the ledger has it."""

    name: str
    finished_at: datetime
    size_bytes: int
    read: int
    inserted: int
    duplicates: int
    conflicts: int
    rejected: int
    seconds: float
    error_code: str | None
    first_error: str | None


class SizeBin(NamedTuple):
    """How many files have a size below `SIZE_BOUNDS[bin]`, and not below the bound before."""

    bin: int
    files: int
    size_bytes: int


class LatenessBin(NamedTuple):
    """How many events came that late; see report_lateness.sql."""

    bin: int | None
    rows: int
    quantiles: list[float | None] | None


class EventName(NamedTuple):
    """How often an event name occurs; see report_names.sql."""

    name: str
    rows: int
    names: int
    all_rows: int


class Waiting(NamedTuple):
    """How many rows of a file are in quarantine."""

    file_id: int
    rows: int


class PageData(NamedTuple):
    """All of it."""

    overview: Overview
    days: list[Day]
    codes: list[CodeDay]
    files: list[File]
    refused: list[File]
    sizes: list[SizeBin]
    percent: float  # of the table events that was looked at
    lateness: list[LatenessBin]
    names: list[EventName]
    waiting: dict[int, int]


def read(connection: Connection, *, days: int, quarantined: Sequence[int]) -> PageData | None:
    """Read what the report shows; None where no file was ever dealt with.

    `quarantined` are the file_ids of the files of rejects that are in quarantine.

    Raises:
        DatabaseError: the schema is not this program's, or the database refuses.
    """
    with reported("reading the ledger for the report"):
        pending = migrate.pending(connection)
        if len(pending) == len(migrate.known()):
            return None
        if pending:
            raise DatabaseError("the database's schema is not up to date: run `loader migrate` first")
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        with connection.transaction():
            return _read(connection, days, quarantined)


def _read(connection: Connection, days: int, quarantined: Sequence[int]) -> PageData | None:
    (overview,) = _rows(connection, "overview", Overview, days=days)
    percent = min(100.0, 100.0 * SAMPLE_ROWS / max(1, overview.events_total))
    day_rows = _rows(connection, "days", Day, days=days)
    refused = _rows(connection, "files", File, days=days, status="refused", most=REFUSED_SHOWN)
    if overview.last_loaded is None and not refused:
        return None
    return PageData(
        overview=overview,
        days=day_rows,
        codes=_rows(connection, "codes", CodeDay, days=days),
        files=_rows(connection, "files", File, days=days, status="loaded", most=FILES_SHOWN),
        refused=refused,
        sizes=_rows(connection, "sizes", SizeBin, days=days, bounds=SIZE_BOUNDS),
        percent=percent,
        lateness=_rows(connection, "lateness", LatenessBin, days=days, percent=percent, bounds=LATENESS_BOUNDS),
        names=_rows(connection, "names", EventName, days=days, percent=percent, most=NAMES_SHOWN),
        waiting=dict(_rows(connection, "waiting", Waiting, file_ids=list(quarantined))),
    )


def _rows(connection: Connection, name: str, kind: type[Row], **parameters: Any) -> list[Row]:
    with connection.cursor(row_factory=class_row(kind)) as cursor:
        return cursor.execute(resources.sql(f"report_{name}"), parameters).fetchall()
