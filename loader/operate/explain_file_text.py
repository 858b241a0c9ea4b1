"""`loader explain FILE`, as text for a person and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from loader import landing
from loader.errors import FileRefused
from loader.model import Status
from loader.names import printable
from loader.operate.entries import LedgerEntry
from loader.operate.explain_file import FileExplained
from loader.operate.words import count, duration, moment, section, size, tally


def verdict(found: FileExplained) -> tuple[str, str]:
    """Return in short how the file stands: a stable code, and words."""
    if found.claim is not None:
        since = "" if found.claim.seconds is None else f" for {duration(found.claim.seconds)}"
        return "busy", f"a loader has it in hand{since}, by server process {found.claim.process}"
    if found.place == "landing":
        return _in_landing(found)
    if len(found.entries) > 1:
        return "several", f"the ledger has {count(len(found.entries), 'such content')}, newest first"
    if found.entries:
        return _by_ledger(found.entries[0])
    return _without_entry(found)


def lines(found: FileExplained) -> Iterator[str]:
    """Yield what is to be printed."""
    yield from section("file", _file(found))
    yield from section("verdict", [verdict(found)[1]])
    for entry in found.entries:
        yield from section("ledger", _entry(entry))
    if found.archived is not None:
        yield from section("archived", [found.archived])
    refusal = [str(found.refusal.path)] if found.refusal else []
    if found.rejects or refusal:
        yield from section("quarantine", [*found.rejects, *refusal])


def as_json(found: FileExplained) -> dict[str, Any]:
    """Return all of it as one JSON object."""
    code, words = verdict(found)
    alone, refusal = found.left_alone, found.refusal
    return {
        "target": found.target,
        "status": code,
        "verdict": words,
        "path": found.path and printable(str(found.path)),
        "place": found.place,
        "size": found.size,
        "sha256": found.sha256,
        "left_alone": alone and {"code": alone.code, "reason": alone.reason},
        "problem": found.problem and {"code": found.problem.code, "message": found.problem.message},
        "in_flight": found.claim and asdict(found.claim),
        "ledger": [entry.as_json() for entry in found.entries],
        "archived": found.archived,
        "rejects": found.rejects,
        "refusal": refusal and refusal._asdict() | {"path": printable(str(refusal.path))},
        "error": found.error,
    }


def _in_landing(found: FileExplained) -> tuple[str, str]:
    entry = found.entries[0] if found.entries else None
    if found.left_alone is not None:
        words = f"not ready: {found.left_alone.reason}"
        if found.seconds_to_settle:
            words += f"; ready in {found.seconds_to_settle:.1f} s if it stays as it is"
        return "not_ready", f"{words}; {_by_ledger(entry)[1]}" if entry is not None else words
    if entry is not None and entry.status == Status.LOADED:
        return "skipped", f"{_by_ledger(entry)[1]}; the next run skips this file and moves it to the archive"
    if found.problem is not None:
        return _without_entry(found)
    if entry is not None:
        return "refused", f"{_by_ledger(entry)[1]}; the next run tries it again"
    if found.error is not None:
        return "ready", "ready; whether its content was loaded before, only the database can say"
    return "ready", "ready: the next run loads it"


def _by_ledger(entry: LedgerEntry) -> tuple[str, str]:
    when = moment(entry.finished_at)
    if entry.status == Status.LOADED:
        return "loaded", f"this content was loaded as {entry.name}, {when}"
    return "refused", f"this content was refused as {entry.name}, {when}: {entry.error_code}: {entry.first_error}"


def _without_entry(found: FileExplained) -> tuple[str, str]:
    known = ("unknown", "no run has dealt with such a file, as far as the ledger tells")
    if found.error is not None:
        known = ("unknown", "what became of it, only the database can say")
    if found.refusal is not None:
        return "refused", f"it was refused: {found.refusal.code}: {found.refusal.message}"
    if found.problem is not None:
        is_refusal = isinstance(found.problem, FileRefused)
        words = "would be refused" if is_refusal else "can't be loaded now"
        return ("would_be_refused" if is_refusal else "unreadable"), f"{words}: {found.problem}"
    if found.left_alone is not None:
        return "not_ready", f"no run would take it: {found.left_alone.reason}"
    if found.place == "elsewhere" and found.error is None:
        return "not_loaded", "not loaded, and not in the landing folder: move it there, or name it to `loader run`"
    if found.place in (landing.ARCHIVE, landing.QUARANTINE) and found.error is None:
        return "unknown", f"it is in {found.place}, but the ledger of this database doesn't know its content"
    return known


def _file(found: FileExplained) -> list[str]:
    texts = [printable(str(found.path)) if found.path is not None else f"{found.target} (no such file at hand)"]
    if found.size is not None:
        texts.append(size(found.size))
    return [*texts, found.sha256] if found.sha256 else texts


def _entry(entry: LedgerEntry) -> list[str]:
    texts = [
        f"{entry.status} as {entry.name} ({entry.sha256[:8]}), {size(entry.size_bytes)}",
        f"{moment(entry.finished_at)} on {entry.host}, file_id {entry.file_id}",
    ]
    if entry.status == Status.LOADED:
        counts = {"duplicates": entry.rows_duplicate, "conflicts": entry.rows_conflict, "rejected": entry.rows_rejected}
        elsewhere = tally(counts)
        inserted = f"{count(entry.rows_read, 'row')} read: {entry.rows_inserted:,} inserted"
        texts.append(f"{inserted}{elsewhere and f', {elsewhere}'}")
    if entry.reject_codes:
        texts.append(f"reasons: {tally(entry.reject_codes)}")
    if entry.first_error:
        code = f"{entry.error_code}: " if entry.error_code else "first: "
        texts.append(f"{code}{entry.first_error}")
    return texts
