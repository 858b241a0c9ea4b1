"""A file on its way through a load."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from loader.errors import FileProblem
from loader.landing import LandingFile
from loader.model import Counts, Entry, FileOutcome, Status
from loader.names import printable
from loader.reject_file import RejectFile


@dataclass(slots=True, eq=False)
class Item:
    """A file on its way through a load."""

    file: LandingFile
    outcome: FileOutcome
    digest: bytes
    problem: FileProblem | None
    file_id: int = 0
    rejects: RejectFile | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def counts(self) -> Counts:
        """Where the file's rows went."""
        return self.outcome.counts

    @property
    def rejects_path(self) -> str | None:
        """Where the rejects are or will be, in a form that can be printed; None where there are none."""
        return None if self.rejects is None or self.rejects.is_empty else printable(self.rejects.path)

    def entry(self, contract_version: str, problem: FileProblem | None = None) -> Entry:
        """Return the file's row for the ledger: refused with `problem`, or loaded."""
        first_error = self.rejects.first_error if self.rejects is not None else None
        return Entry(
            file_id=self.file_id,
            sha256=self.digest,
            name=self.outcome.name,
            size=self.file.size,
            status=Status.REFUSED if problem else Status.LOADED,
            contract_version=contract_version,
            counts=self.counts,
            seconds=time.monotonic() - self.started,
            error_code=problem.code if problem else None,
            first_error=problem.message if problem else first_error,
            quarantine=self.outcome.quarantine,
            reject_codes=self.outcome.reject_codes,
            replay_of=self.file.origin.replay_of if self.file.origin else None,
        )


def begin(file: LandingFile, digest: bytes, problem: FileProblem | None) -> Item:
    """Return an item for a file whose content was identified, or can't be."""
    outcome = FileOutcome(name=printable(file.path.name), size=file.size, status=Status.FAILED)
    outcome.sha256 = digest.hex() or None
    return Item(file, outcome, digest, problem)
