"""`loader explain EVENT_ID`, as text for a person and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC
from typing import Any

import msgspec

from loader.operate.explain_event import EventExplained, Reject, Repeat
from loader.operate.words import count, moment, section, size

_MOST_CHARACTERS = 500
_MOST_NAMES = 10


def lines(found: EventExplained) -> Iterator[str]:
    """Yield what is to be printed."""
    repeats = [_repeat(repeat) for repeat in found.repeats if repeat.is_certain]
    unsure = [_repeat(repeat) for repeat in found.repeats if not repeat.is_certain]
    conflicts = [_reject(reject) for reject in found.rejects if reject.row.is_conflict]
    rejected = [_reject(reject) for reject in found.rejects if not reject.row.is_conflict]
    yield from section("event", _event(found), wrap=found.event is None)
    if found.event is not None:
        yield from section("brought by", _origin(found))
        yield from section("duplicates", repeats or ["none found"])
    if unsure:
        yield from section(
            "repeated", ["by a duplicate, conflict or reject; which, quarantine no longer tells:", *unsure]
        )
    if found.event is not None or conflicts:
        yield from section("conflicts", conflicts or ["none found"])
    if rejected:
        yield from section("rejected", rejected)
    if found.unlisted:
        yield from section("", [f"... and {count(found.unlisted, 'more row')}"])
    yield from section("searched", _searched(found))


def as_json(found: EventExplained) -> bytes:
    """Return all of it as one JSON object; the event's row as Postgres spells it, digit for digit."""
    origin = found.brought_by
    event = found.event and {
        "file_id": found.event.file_id,
        "line": found.event.line,
        "row": msgspec.Raw(found.event.row.encode()),
    }
    return msgspec.json.encode(
        {
            "event_id": str(found.event_id),
            "status": status(found),
            "event": event,
            "brought_by": origin and origin.as_json() | {"archived": found.archived},
            "repeats": [_repeat_json(repeat) for repeat in found.repeats],
            "rejects": [_reject_json(reject) for reject in found.rejects],
            "unlisted": found.unlisted,
            "searched": {
                "quarantine_files": found.search.quarantine_files,
                "archived_files": found.search.archived_files,
                "archived_bytes": found.search.archived_bytes,
                "missing": found.search.missing,
                "failed": found.search.failed,
            },
            "error": None,
        }
    )


def status(found: EventExplained) -> str:
    """Return `stored`, `rejected` or `unknown`."""
    if found.event is not None:
        return "stored"
    return "rejected" if any(reject.row.is_certain for reject in found.rejects) else "unknown"


def _event(found: EventExplained) -> list[str]:
    if found.event is not None:
        width = max((len(name) for name, _ in found.event.columns), default=0)
        return [f"{name:<{width}}  {_cut('' if value is None else value)}" for name, value in found.event.columns]
    if any(reject.row.is_certain for reject in found.rejects):
        return [f"{found.event_id} is not in events: it was rejected"]
    return [f"{found.event_id} is unknown: no row of events has it, and no row in quarantine"]


def _origin(found: EventExplained) -> list[str]:
    event, entry = found.event, found.brought_by
    if event is None or not event.file_id:
        return ["ingest_event(): no file"]
    if entry is None:
        return [f"line {event.line} of file {event.file_id}, which the ledger no longer knows"]
    texts = [
        f"line {event.line} of {entry.name} ({entry.sha256[:8]})",
        f"loaded {moment(entry.finished_at)} on {entry.host}",
    ]
    return [*texts, f"now {found.archived}" if found.archived else "the file is not in the archive"]


def _repeat(repeat: Repeat) -> str:
    return f"line {repeat.line} of {repeat.name} ({repeat.sha256[:8]}), {moment(repeat.loaded_at)}"


def _reject(reject: Reject) -> str:
    row = reject.row
    when = moment(reject.seen_at) if reject.seen_at else "of a load that is not committed"
    mention = "" if row.is_certain else "; it is no JSON, but the id stands in it"
    return f"line {row.line} of {row.source} ({row.sha256[:8]}), {when}: {_cut(row.message)}{mention}"


def _searched(found: EventExplained) -> list[str]:
    search = found.search
    rejects, archived = count(search.quarantine_files, "file"), count(search.archived_files, "archived file")
    texts = [f"{rejects} of rejects in quarantine; {archived} with duplicates, {size(search.archived_bytes)}"]
    if search.missing:
        texts.append(
            f"{count(len(search.missing), 'file')} with duplicates not in the archive (pruned, or never there):"
        )
        texts += _names(search.missing)
    if search.failed:
        texts.append(f"{count(len(search.failed), 'file')} that could not be searched:")
        texts += _names(search.failed)
    return texts


def _names(names: list[str]) -> list[str]:
    more = [f"  ... and {len(names) - _MOST_NAMES:,} more"] if len(names) > _MOST_NAMES else []
    return [*(f"  {name}" for name in names[:_MOST_NAMES]), *more]


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}... ({len(text):,} characters)"


def _repeat_json(repeat: Repeat) -> dict[str, Any]:
    return repeat._asdict() | {"loaded_at": repeat.loaded_at.astimezone(UTC).isoformat()}


def _reject_json(reject: Reject) -> dict[str, Any]:
    seen_at = reject.seen_at and reject.seen_at.astimezone(UTC).isoformat()
    return reject.row._asdict() | {"is_conflict": reject.row.is_conflict, "seen_at": seen_at}
