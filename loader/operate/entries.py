"""Entries of the ledger, read as many as there may be."""

from __future__ import annotations

from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from psycopg.rows import args_row

from loader import resources
from loader.database import Connection

_PAGE_ROWS = 1000


class Filter(NamedTuple):
    """Which entries are meant; None: it doesn't matter. See sql/read_ledger.sql."""

    since: datetime | None = None
    until: datetime | None = None
    status: str | None = None
    name: str | None = None
    exact_name: str | None = None
    beginning: str | None = None
    file_id: int | None = None
    most: int | None = None


class LedgerEntry(NamedTuple):
    """What became of a file content. The fields are the columns of `loader_files`."""

    file_id: int
    sha256: str
    name: str
    size_bytes: int
    status: str
    contract_version: str
    loader_version: str
    host: str
    rows_read: int
    rows_inserted: int
    rows_duplicate: int
    rows_conflict: int
    rows_rejected: int
    reject_codes: dict[str, int]
    error_code: str | None
    first_error: str | None
    quarantine: str | None
    started_at: datetime
    finished_at: datetime
    replay_of: str | None  # the SHA-256 of the content whose rejected rows these are

    def as_json(self) -> dict[str, Any]:
        """Return the entry with times as ISO 8601, in UTC."""
        times = {name: getattr(self, name).astimezone(UTC).isoformat() for name in ("started_at", "finished_at")}
        return self._asdict() | times


def entries(connection: Connection, wanted: Filter) -> Generator[LedgerEntry]:
    """Yield entries, newest first; however many there are, a page of them is held."""
    with connection.transaction(), connection.cursor("ledger", row_factory=args_row(LedgerEntry)) as cursor:
        cursor.itersize = _PAGE_ROWS
        cursor.execute(resources.sql("read_ledger"), wanted._asdict())
        yield from cursor
