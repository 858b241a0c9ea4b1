"""After COMMIT: a file goes where its fate says, and its outcome is finished."""

from __future__ import annotations

import time
from pathlib import Path

from loader import landing, ledger, quarantine
from loader.archive import ArchiveError, archive, put_in_quarantine
from loader.errors import FileRefused
from loader.item import Item
from loader.model import Status
from loader.names import printable
from loader.quarantine import QuarantineError
from loader.session import Session


def settle(item: Item, session: Session, folder: Path, contract_version: str) -> None:
    """Move the file of `item` out of landing, `folder`, where it was loaded, is known already or is refused."""
    outcome = item.outcome
    try:
        if isinstance(item.problem, FileRefused) and item.file.origin is None:  # else it is in quarantine already
            _refuse(item, item.problem, session, folder, contract_version)
        elif item.problem is not None:
            if item.problem.code == "file_vanished" and item.file.in_landing:
                outcome.status, outcome.error = Status.BUSY, "another loader took it, or its producer"
            else:
                outcome.status = Status.FAILED
                outcome.error_code, outcome.error = item.problem.code, item.problem.message
        elif outcome.status in (Status.LOADED, Status.SKIPPED):
            archive(item.file, item.digest, folder)
    except (ArchiveError, QuarantineError) as error:
        outcome.error_code, outcome.error = "not_moved", printable(str(error))
    outcome.seconds = time.monotonic() - item.started


def _refuse(item: Item, problem: FileRefused, session: Session, folder: Path, contract_version: str) -> None:
    """Say why in quarantine and in the ledger, then move the file."""
    outcome = item.outcome
    outcome.status = Status.REFUSED
    outcome.counts.inserted = 0  # What was, over the budget, is rolled back.
    outcome.error_code, outcome.error = problem.code, problem.message
    path = quarantine.write_error(folder / landing.QUARANTINE, item.file.path.name, item.digest, problem)
    outcome.quarantine = outcome.quarantine or printable(str(path))

    def record() -> None:
        connection = session.connection()
        with connection.transaction():
            item.file_id = ledger.new_file_ids(connection, 1)[0]
            ledger.record(connection, [item.entry(contract_version, problem)])

    session.retrying(record)
    put_in_quarantine(item.file, item.digest, folder)
