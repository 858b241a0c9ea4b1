"""The nouns of the loader: plain data that flows from one stage to the next. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple

from loader.errors import AccountingError

if TYPE_CHECKING:
    import polars as pl


class Problem(NamedTuple):
    """One reason why a row is rejected. `code` is stable; `column` is None where the whole row is meant."""

    code: str
    column: str | None
    message: str


class Reject(NamedTuple):
    """One rejected row: every reason, and the row verbatim."""

    file_id: int
    line: int
    problems: tuple[Problem, ...]
    raw: Raw


class Raw(NamedTuple):
    """A row verbatim; of a line over the limit only the first bytes."""

    content: bytes
    length: int  # bytes in the file


@dataclass(slots=True)
class Block:
    """Some decoded rows, of one or of many files, in any order.

    frame: file_id Int64, line Int64 (counted from 1), then the contract's columns in its dtypes, null where
        a value is missing or could not be decoded.
    problems: by row index of `frame`: what the decoder found.
    raws: rows, by index -> what they are in the file.
    """

    frame: pl.DataFrame
    problems: dict[int, list[Problem]]
    raws: Callable[[Sequence[int]], list[Raw]]


@dataclass(slots=True)
class Validated:
    """A block after validation; `valid` has Block.frame's columns. Every row of the block is in one of the two.

    The rejects are in the order of files and lines.
    """

    valid: pl.DataFrame
    rejects: list[Reject]


@dataclass(slots=True)
class Counts:
    """Where a file's rows went."""

    read: int = 0
    inserted: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: int = 0

    @property
    def quarantined(self) -> int:
        """Rows that went to the quarantine file."""
        return self.conflicts + self.rejected

    def check(self, name: str) -> None:
        """Raise AccountingError unless every row read went to exactly one place."""
        parts = (self.inserted, self.duplicates, self.conflicts, self.rejected)
        if self.read != sum(parts) or min(parts) < 0:
            raise AccountingError(f"{name}: rows do not add up: {self}")


class Status(StrEnum):
    """What became of a file."""

    LOADED = "loaded"
    SKIPPED = "skipped"  # its content was loaded before
    BUSY = "busy"  # another loader has it in hand, or took it away
    REFUSED = "refused"  # nothing of it was loaded; it is in quarantine
    FAILED = "failed"  # it could not be dealt with now; it stays where it is
    VALID = "valid"  # `loader validate`: nothing to reject
    INVALID = "invalid"  # `loader validate`: rows would be rejected


@dataclass(slots=True)
class FileOutcome:
    """What a run did with one file."""

    name: str
    size: int
    status: Status
    sha256: str | None = None
    counts: Counts = field(default_factory=Counts)
    reject_codes: dict[str, int] = field(default_factory=dict)  # rows that went to quarantine, by each of their codes
    seconds: float = 0.0
    quarantine: str | None = None
    error_code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A file's row in the ledger, about to be written."""

    file_id: int
    sha256: bytes
    name: str
    size: int
    status: Status
    contract_version: str
    counts: Counts
    seconds: float
    error_code: str | None = None
    first_error: str | None = None
    quarantine: str | None = None
    reject_codes: Mapping[str, int] = field(default_factory=dict)
    replay_of: bytes | None = None  # the content whose rejects these rows were
