"""The ledger, `loader_files`: which contents were loaded, and who has which content in hand."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto

import msgspec
from psycopg import sql
from psycopg.types.json import Json

from loader import __version__, database, resources
from loader.database import Connection
from loader.model import Counts, Entry, Status


class Claim(Enum):
    """What became of the attempt to take a content for this transaction."""

    TAKEN = auto()
    BUSY = auto()  # another loader has it in hand
    LOADED = auto()  # it was loaded before


@dataclass(frozen=True, slots=True)
class Loaded:
    """What the ledger says of a content that was loaded."""

    file_id: int
    name: str
    counts: Counts
    quarantine: str | None


def enter_load(connection: Connection, *, is_alone: bool) -> None:
    """Begin a load, beside those of other loaders or, once these have ended, alone until the end of the transaction."""
    values = {
        "is_alone": is_alone,
        "lock_class": database.LOCK_CLASS,
        "load_lock": database.LOAD_LOCK,
        "lock_timeout": database.LOCK_TIMEOUT,
    }
    query = database.compose("enter_load", **{name: sql.Literal(value) for name, value in values.items()})
    connection.execute(query, prepare=False)  # Several commands can't be prepared.


def claim(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, Claim]:
    """Take contents, by SHA-256, until the end of the transaction; never waits."""
    by_key = {int.from_bytes(digest[:8], signed=True): digest for digest in digests}
    taken = connection.execute(resources.sql("claim_contents"), {"keys": sorted(by_key)}).fetchall()
    claims = {by_key[key]: Claim.TAKEN if was_taken else Claim.BUSY for key, was_taken in taken}
    for digest in loaded(connection, digests):
        claims[digest] = Claim.LOADED
    return claims


def loaded(connection: Connection, digests: Sequence[bytes]) -> dict[bytes, Loaded]:
    """Return those of the contents that were loaded before."""
    rows = connection.execute(resources.sql("find_contents"), {"contents": list(digests)}).fetchall()
    return {
        bytes(sha256): Loaded(file_id, name, Counts(*counts), quarantine)
        for sha256, file_id, name, status, *counts, quarantine in rows
        if status == Status.LOADED
    }


def unknown(connection: Connection, attempts: Sequence[tuple[int, str]]) -> set[tuple[int, str]]:
    """Return those of the attempts that the ledger does not have: file_id, and how the content's SHA-256 begins."""
    parameters = {"file_ids": [file_id for file_id, _ in attempts], "beginnings": [start for _, start in attempts]}
    return {(file_id, start) for file_id, start in connection.execute(resources.sql("unknown_file_ids"), parameters)}


def new_file_ids(connection: Connection, count: int) -> list[int]:
    """Return fresh ids in ascending order."""
    return [file_id for (file_id,) in connection.execute(resources.sql("new_file_ids"), {"count": count})]


def record(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write entries; an entry for a content that is loaded already changes nothing."""
    host = socket.gethostname()
    files = [
        {
            "file_id": entry.file_id,
            "sha256": _hex(entry.sha256),
            "name": entry.name,
            "size_bytes": entry.size,
            "status": entry.status.value,
            "contract_version": entry.contract_version,
            "loader_version": __version__,
            "host": host,
            "rows_read": entry.counts.read,
            "rows_inserted": entry.counts.inserted,
            "rows_duplicate": entry.counts.duplicates,
            "rows_conflict": entry.counts.conflicts,
            "rows_rejected": entry.counts.rejected,
            "error_code": entry.error_code,
            "first_error": entry.first_error,
            "quarantine": entry.quarantine,
            "reject_codes": dict(entry.reject_codes),
            "replay_of": _hex(entry.replay_of) if entry.replay_of else None,
            "seconds": entry.seconds,
        }
        for entry in entries
    ]
    connection.execute(resources.sql("record_files"), {"files": Json(files, dumps=msgspec.json.encode)})


def _hex(content: bytes) -> str:
    return f"\\x{content.hex()}"
