"""What a run did: per file, in total, and as an exit code. Light: an idle run needs it too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from loader.model import Counts, FileOutcome, Status

_TROUBLE = (Status.REFUSED, Status.FAILED)
_COLUMNS = ("file", "status", "read", "inserted", "duplicates", "conflicts", "rejected", "seconds")
_ALIGNED = "<<>>>>>>"


@dataclass(slots=True)
class RunReport:
    """Outcomes in the order in which they came."""

    outcomes: list[FileOutcome] = field(default_factory=list)
    seconds: float = 0.0
    error: str | None = None  # why the run ended early

    def add(self, outcomes: Sequence[FileOutcome]) -> None:
        """Take outcomes in."""
        self.outcomes += outcomes

    @property
    def totals(self) -> Counts:
        """The sums over all files."""
        total = Counts()
        for outcome in self.outcomes:
            total.read += outcome.counts.read
            total.inserted += outcome.counts.inserted
            total.duplicates += outcome.counts.duplicates
            total.conflicts += outcome.counts.conflicts
            total.rejected += outcome.counts.rejected
        return total

    @property
    def exit_code(self) -> int:
        """0 all loaded; 1 something failed; 3 loaded, and rows were quarantined."""
        if self.error or any(outcome.status in _TROUBLE or outcome.error_code for outcome in self.outcomes):
            return 1
        return 3 if self.totals.quarantined else 0

    def as_json(self) -> dict[str, Any]:
        """Return the report as one JSON object."""
        totals = self.totals
        return {
            "files": [file_as_json(outcome) for outcome in self.outcomes],
            "read": totals.read,
            "inserted": totals.inserted,
            "duplicates": totals.duplicates,
            "conflicts": totals.conflicts,
            "rejected": totals.rejected,
            "seconds": round(self.seconds, 3),
            "error": self.error,
            "exit_code": self.exit_code,
        }

    def as_table(self) -> str:
        """Return a table with a row a file, and the totals."""
        rows = [_cells(outcome.name, outcome.status, outcome.counts, outcome.seconds) for outcome in self.outcomes]
        total = _cells("total", f"{len(rows)} file{'s' * (len(rows) != 1)}", self.totals, self.seconds)
        widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, total, strict=True)]
        rule = "  ".join("-" * width for width in widths)
        line = "  ".join(f"{{:{side}{width}}}" for side, width in zip(_ALIGNED, widths, strict=True))
        return "\n".join(
            [line.format(*_COLUMNS), rule, *(line.format(*row) for row in rows), rule, line.format(*total)]
        )


def file_as_json(outcome: FileOutcome) -> dict[str, Any]:
    """Return what became of a file as a JSON object."""
    counts = outcome.counts
    return {
        "name": outcome.name,
        "sha256": outcome.sha256,
        "status": outcome.status.value,
        "read": counts.read,
        "inserted": counts.inserted,
        "duplicates": counts.duplicates,
        "conflicts": counts.conflicts,
        "rejected": counts.rejected,
        "reject_codes": outcome.reject_codes,
        "seconds": round(outcome.seconds, 3),
        "quarantine": outcome.quarantine,
        "error": None if outcome.error is None else _error(outcome),
    }


def _error(outcome: FileOutcome) -> str:
    return f"{outcome.error_code}: {outcome.error}" if outcome.error_code else str(outcome.error)


def is_trouble(outcome: FileOutcome) -> bool:
    """Say whether somebody should hear of a file, even when quiet."""
    return bool(outcome.error_code or outcome.counts.quarantined)


def explain(outcome: FileOutcome) -> str | None:
    """Return a line that says what is remarkable about a file, or None."""
    notes = [] if outcome.error is None else [_error(outcome)]
    if outcome.counts.quarantined and outcome.quarantine:
        rows = outcome.counts.quarantined
        notes.append(f"{rows:,} row{'s' * (rows != 1)} in {outcome.quarantine}")
    return f"{outcome.name}: {outcome.status}: {'; '.join(notes)}" if notes else None


def _cells(name: str, status: str, counts: Counts, seconds: float) -> tuple[str, ...]:
    numbers = (counts.read, counts.inserted, counts.duplicates, counts.conflicts, counts.rejected)
    return (name, status, *(f"{number:,}" for number in numbers), f"{seconds:.2f}")
