"""A run: find what is ready, load it, report. `validate_files` is the same without a database."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from loader import landing, memory
from loader.identify import Identification
from loader.landing import Format, LandingFile
from loader.model import FileOutcome
from loader.report import RunReport
from loader.settings import Settings, names_database
from loader.sidecar import Sidecar

if TYPE_CHECKING:
    from loader.contract import Contract

# Files up to this size share a transaction with their neighbours, up to so many bytes and files together, by all jobs:
# a load has a start at which Postgres waits for the first rows, and an end at which it is waited for; but each file
# takes an advisory lock, and Postgres has room for some thousands.
_SMALL_FILE_BYTES = 4 << 20
_BATCH_BYTES = 256 << 20
BATCH_FILES = 1000
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


@dataclass(frozen=True, slots=True)
class Watcher:
    """Whoever wants to see a run go on. All are called from any thread."""

    notify: Callable[[str], None]  # a line worth reading
    start: Callable[[int, int], None]  # files, bytes
    progress: Callable[[int, int, int], None]  # bytes, rows, rejected since the last call
    finished: Callable[[Sequence[FileOutcome]], None]  # some files; of many small ones, many at a time


def batches(files: Sequence[LandingFile], jobs: int) -> Iterator[list[LandingFile]]:
    """Cut files into loads, in order: small neighbours together, as many for each job; large files by themselves."""
    small = [file.size for file in files if file.size <= _SMALL_FILE_BYTES]
    loads = jobs * max(1, ceil(sum(small) / _BATCH_BYTES), ceil(len(small) / BATCH_FILES))
    most_bytes, most_files = sum(small) // loads + max(small, default=0), ceil(len(small) / loads)
    batch: list[LandingFile] = []
    size = 0
    for file in files:
        is_small = file.size <= _SMALL_FILE_BYTES
        if batch and (not is_small or size + file.size > most_bytes or len(batch) == most_files):
            yield batch
            batch, size = [], 0
        batch.append(file)
        size += file.size
        if not is_small:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _parts_ahead(work: Sequence[Sequence[LandingFile]], jobs: int) -> int:
    """Return how many parts of loads are read ahead: more where there is work for the time in which a load ends.

    Parts of a large file, or of several jobs, would be too many to hold.
    """
    return 3 if jobs == 1 and all(len(files) > 1 for files in work) else 1


@contextmanager
def database(settings: Settings) -> Iterator[str]:
    """Yield the conninfo of the database that the settings mean; the embedded one is up for as long as this lasts."""
    if names_database(settings):
        yield settings.database_url or ""
        return
    from loader import embedded  # a production install does without

    with embedded.running(settings.embedded) as conninfo:
        yield conninfo


def run(
    settings: Settings,
    files: Sequence[LandingFile],
    watcher: Watcher,
    report: RunReport,
    terms: Contract | None = None,
) -> None:
    """Load `files`; their outcomes go into `report` as they come, so that they are known whatever happens later.

    Who runs again and again brings the contract: Pandera never forgets a model, and each import makes a new one.

    Raises:
        DatabaseError: the database can't be used; files that are not in a report yet are untouched.
        UsageError: the contract is wrong.
    """
    started = time.monotonic()
    memory.share_one_heap()
    memory.keep_what_is_freed()
    watcher.start(len(files), sum(file.size for file in files))
    work = list(batches(files, settings.jobs))
    with (
        Sidecar(files=len(files)) as hasher,
        Sidecar(files=len(files)) as filer,
        Identification(work, hasher, takers=min(settings.jobs, len(work))) as identification,
    ):
        _load(settings, identification, watcher, report, terms, work=work, sidecar=filer)
    report.seconds = time.monotonic() - started


@contextmanager
def _lean_imports() -> Iterator[None]:
    """Import without what would take time beside it: a tenth of a second each.

    No garbage is looked for, then or later, among what was imported and stays. NumPy's library for linear algebra,
    which nobody here asks for anything, starts no threads, which would spin.
    """
    gc.disable()
    chosen = os.environ.get(_BLAS_THREADS)
    os.environ[_BLAS_THREADS] = chosen or "1"
    try:
        yield
    finally:
        if chosen is None:
            del os.environ[_BLAS_THREADS]
        if not gc.get_freeze_count():  # once is enough, where run follows run
            gc.freeze()
        gc.enable()


def _load(
    settings: Settings,
    identification: Identification,
    watcher: Watcher,
    report: RunReport,
    terms: Contract | None,
    *,
    work: Sequence[Sequence[LandingFile]],
    sidecar: Sidecar,
) -> None:
    # Heavy imports stand here, since a run that finds nothing needs none of them, and the first files are hashed
    # meanwhile.
    with ExitStack() as context:
        with _lean_imports():
            from loader import contract
            from loader.reading import Reading

            if any(file.format is Format.PARQUET for files in work for file in files):
                # Else whoever reads the first of them would import it, beside the imports below, which delays both.
                from loader import parquet  # noqa: F401

        terms = terms or contract.load(settings.contracts)
        reading = Reading(terms, identification, watcher.progress, max_line_bytes=settings.max_line_bytes)
        loads = context.enter_context(reading.loads(parts_ahead=_parts_ahead(work, settings.jobs)))
        with _lean_imports():  # What talks to the database comes last: the first rows are read meanwhile.
            from loader import merge, migrate, scratch
            from loader.database import connected, refuse_pooler, reported
            from loader.workers import Workers

        scratch.sweep(settings.landing / landing.QUARANTINE)
        conninfo = context.enter_context(database(settings))
        with connected(conninfo) as connection:
            with reported("looking for a pooler"):
                refuse_pooler(connection, conninfo)
            for name in migrate.migrate(connection):
                watcher.notify(f"migrated: {name}")
            migrate.check_events(connection, terms)
            with reported("looking at the size of events"):
                reading.know_index(merge.index_bytes(connection))
        # The workers are joined out here: CPython 3.11 was seen to skip a handler in the very frame that waits, where
        # Ctrl-C came at its loop's jump.
        with Workers(settings, conninfo, reading, loads, watcher, sidecar=sidecar) as workers:
            for outcomes in workers.outcomes():
                report.add(outcomes)
                watcher.finished(outcomes)
        _drop_superseded(conninfo, settings.landing / landing.QUARANTINE)


def _drop_superseded(conninfo: str, folder: Path) -> None:
    """Drop rejects of attempts that died before COMMIT, where another attempt has loaded the same content since."""
    from loader import ledger, quarantine
    from loader.database import connected, reported

    found = quarantine.published(folder)
    if not found:
        return
    with connected(conninfo) as connection, reported("looking for superseded rejects"):
        unknown = ledger.unknown(connection, [*set(found.values())])
        digests = {name: quarantine.source_digest(folder / name) for name in found if found[name] in unknown}
        loaded = ledger.loaded(connection, [digest for digest in digests.values() if digest])
    for name, digest in digests.items():
        # The ids were unknown a moment ago: one may just have been committed.
        if digest in loaded and loaded[digest].file_id != found[name][0]:
            (folder / name).unlink(missing_ok=True)
