"""What a check of `loader doctor` finds. Light."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"  # good to know
    WARN = "warn"  # works, but slowly, or not always
    FAIL = "fail"  # doesn't work, or loses data


class Finding(NamedTuple):
    """What a check found, what it means, and what mends it: something to paste where there is such a thing."""

    level: Level
    message: str
    remedy: str | None = None


def ok(message: str) -> Finding:
    """Return a finding that all is well."""
    return Finding(Level.OK, message)


def note(message: str, remedy: str | None = None) -> Finding:
    """Return a finding that is good to know."""
    return Finding(Level.NOTE, message, remedy)


def warn(message: str, remedy: str | None = None) -> Finding:
    """Return a finding of what works, but slowly, or not always."""
    return Finding(Level.WARN, message, remedy)


def fail(message: str, remedy: str | None = None) -> Finding:
    """Return a finding of what doesn't work, or loses data."""
    return Finding(Level.FAIL, message, remedy)


def worst(findings: Sequence[Finding], otherwise: str) -> Finding:
    """Return several findings of one check as one, as bad as the worst of them; where there is none, all is well."""
    if not findings:
        return ok(otherwise)
    by_badness = sorted(findings, key=lambda finding: [*Level].index(finding.level), reverse=True)
    remedies = dict.fromkeys(finding.remedy for finding in by_badness if finding.remedy)
    return Finding(
        by_badness[0].level, "; ".join(finding.message for finding in by_badness), "\n".join(remedies) or None
    )


def megabytes(size: float) -> str:
    """Spell a size in bytes."""
    return f"{size / 1e6:,.0f} MB" if size < 10e9 else f"{size / 1e9:,.0f} GB"  # noqa: PLR2004


def duration(seconds: float | None) -> str:
    """Spell how long something has lasted."""
    if seconds is None:
        return "an unknown time"
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:,.0f} seconds"
