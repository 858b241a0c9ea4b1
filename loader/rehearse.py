"""`loader validate`: the verdicts of a run on files, without a database and without moving anything."""

from __future__ import annotations

import time
from collections.abc import Callable

import polars as pl

from loader.contract import Contract
from loader.decode import BlockReader, Source
from loader.errors import FileProblem, FileRefused, FileUnavailable
from loader.identify import identify
from loader.landing import LandingFile
from loader.model import FileOutcome, Reject, Status
from loader.names import printable
from loader.settings import Budget
from loader.validate import validate


def rehearse(
    file: LandingFile,
    contract: Contract,
    *,
    max_line_bytes: int,
    budget: Budget,
    on_reject: Callable[[Reject], None],
    progress: Callable[[int, int, int], None],
) -> FileOutcome:
    """Decode and validate one file; hand every reject to `on_reject`. Duplicates and conflicts only Postgres knows."""
    started = time.monotonic()
    outcome = FileOutcome(name=printable(file.path.name), size=file.size, status=Status.VALID)
    reader = BlockReader(contract, max_line_bytes=max_line_bytes, advance=lambda count: progress(count, 0, 0))
    try:
        identified = identify(file)
        outcome.sha256 = identified.digest.hex() or None
        if identified.problem is not None:
            raise identified.problem
        for block in reader.stream(Source(file, 0)):
            rejects = validate(block, contract).rejects
            outcome.counts.read += block.frame.height
            outcome.counts.rejected += len(rejects)
            progress(0, block.frame.height, len(rejects))
            for reject in rejects:
                on_reject(reject)
        if budget.is_over(outcome.counts):
            raise FileRefused("over_budget", budget.describe(outcome.counts))
        if outcome.counts.rejected:
            outcome.status = Status.INVALID
    except FileUnavailable as problem:
        outcome.status = Status.FAILED
        outcome.error_code, outcome.error = problem.code, problem.message
    except FileProblem as problem:
        outcome.status = Status.REFUSED
        outcome.error_code, outcome.error = problem.code, problem.message
    except pl.exceptions.PanicException as panic:
        outcome.status = Status.REFUSED
        outcome.error_code, outcome.error = "undecodable", f"its content can't be decoded: {panic}"
    outcome.seconds = time.monotonic() - started
    return outcome
