"""`loader status`, as text for a person. Pure."""

from __future__ import annotations

from datetime import datetime

from loader.operate.in_flight import Claimed
from loader.operate.status import Backlog, EventsSize, LastRun, Status
from loader.operate.waiting import Waiting
from loader.operate.words import count, duration, moment, section, size, tally

_MOST_CLAIMS = 10


def lines(status: Status, *, now: datetime) -> list[str]:
    """Return what is to be printed."""
    sections = {"landing": _landing(status.backlog), "quarantine": _quarantine(status.quarantine)}
    if status.error is None:
        sections |= {
            "in flight": _in_flight(status.in_flight),
            "last run": _last_run(status.last_run, now),
            "events": _events(status.events),
        }
    order = ("landing", "in flight", "last run", "quarantine", "events")
    return [line for title in order if title in sections for line in section(title, sections[title])]


def _landing(backlog: Backlog) -> list[str]:
    if backlog.oldest_seconds is None:
        found = ["nothing is ready"]
    else:
        waits = duration(backlog.oldest_seconds)
        ready = f"{count(backlog.ready, 'file')} ready, {size(backlog.ready_bytes)}"
        found = [f"{ready}; the oldest was last changed {waits} ago"]
    if backlog.not_yet:
        found.append(f"not yet: {tally(backlog.not_yet)}")
    if backlog.left_alone:
        found.append(f"left alone: {tally(backlog.left_alone)}")
    return found


def _in_flight(claims: list[Claimed]) -> list[str]:
    found = [_claim(claim) for claim in claims[:_MOST_CLAIMS]]
    if len(claims) > _MOST_CLAIMS:
        found.append(f"... and {len(claims) - _MOST_CLAIMS:,} more")
    return found or ["nothing"]


def _claim(claim: Claimed) -> str:
    what = claim.name or "content"
    since = "" if claim.seconds is None else f" for {duration(claim.seconds)}"
    place = f" from {claim.address}" if claim.address else ""
    return f"{what} ({claim.sha256_begins[:8]}){since}, by server process {claim.process}{place}"


def _last_run(run: LastRun | None, now: datetime) -> list[str]:
    if run is None:
        return ["none: the ledger is empty"]
    files = tally({"loaded": run.loaded, "refused": run.refused})
    counts = run.counts
    took = duration((run.finished_at - run.started_at).total_seconds())
    ago = duration(max(0.0, (now - run.finished_at).total_seconds()))
    elsewhere = tally({"duplicates": counts.duplicates, "conflicts": counts.conflicts, "rejected": counts.rejected})
    return [
        f"ended {moment(run.finished_at)}, {ago} ago, after {took}; on {', '.join(run.hosts)}",
        f"{count(run.loaded + run.refused, 'file')}: {files}",
        f"{count(counts.read, 'row')} read: {counts.inserted:,} inserted{elsewhere and f', {elsewhere}'}",
    ]


def _quarantine(found: Waiting) -> list[str]:
    if not found.files and not found.refused:
        return ["empty"]
    rows = f"{count(found.rows, 'row')} in {count(found.files, 'file')}, {size(found.bytes)}"
    refused = f"{count(found.refused, 'refused file')}: {tally(found.refused_codes)}"
    return [*([rows] if found.files else []), *([refused] if found.refused else [])]


def _events(found: EventsSize | None) -> list[str]:
    if found is None:
        return ["there is no such table"]
    if found.rows is None:
        rows = "many rows, not analyzed yet (ANALYZE events gives an estimate)"
    elif found.is_estimate:
        rows = f"about {count(found.rows, 'row')} (an estimate)"
    else:
        rows = count(found.rows, "row")
    return [rows, f"{size(found.table_bytes)} of table, {size(found.index_bytes)} of indexes"]
