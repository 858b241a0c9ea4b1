"""Replay: rejected rows are loaded again, by the very run that loads files; their quarantine file is the input.

Its SHA-256 is what the ledger knows a replay by: the same rows, rejected once more, stand in another quarantine file
with another content, and can be replayed again. Two replays of one file are one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from glob import escape
from pathlib import Path

from loader import landing, ledger, migrate, opening, quarantine, resources, run
from loader.database import Connection, connected, reported
from loader.errors import FileUnavailable, UsageError
from loader.landing import Compression, Format, LandingFile
from loader.model import FileOutcome, Status
from loader.names import printable
from loader.rejected import Origin, Row, lines, parse, rows
from loader.report import RunReport
from loader.run import Watcher
from loader.settings import Settings

Say = Callable[[str], None]


def chosen(paths: Sequence[Path], settings: Settings, say: Say) -> list[LandingFile]:
    """Return the quarantine files to replay, each read once and found good; say of those that were replayed before.

    Raises:
        UsageError: one of them is not there, or no quarantine file.
    """
    files = []
    for path in dict.fromkeys(paths):
        before = None if path.exists() else _archived(path, settings.landing)
        if before is not None:
            say(f"{printable(path.name)}: was replayed before; it is in {printable(str(before))}")
        else:
            files.append(inspected(path, settings, say))
    return files


def inspected(path: Path, settings: Settings, say: Say) -> LandingFile:
    """Return a quarantine file with the origin of its rows.

    Raises:
        UsageError: it is not there, or no quarantine file.
    """
    folder = settings.landing / landing.QUARANTINE
    file = landing.named(path, folder)
    if (file.format, file.compression) != (Format.NDJSON, Compression.NONE):
        raise UsageError(f"{path}: not a quarantine file, whose name ends in .rejected.ndjson")
    lines_there = array("q")
    first: Row | None = None
    cut_off = 0
    try:
        with opening.opened_as_found(file) as handle:
            for number, _, row, content in rows(handle, max_line_bytes=settings.max_line_bytes):
                lines_there.append(0 if row is None else row.first_place.line)
                if row is None:
                    continue
                first = first or row
                cut_off += row.is_truncated(content)
                if _belongs_to(row) != _belongs_to(first):
                    what = "is a row of another file than those before it"
                    raise UsageError(f"{path}: line {number}: {what}; replay each quarantine file as it is")
    except FileUnavailable as problem:
        raise UsageError(f"{path}: {problem.message}; nothing is replayed") from problem
    if first is None:
        raise UsageError(f"{path}: holds no row: there is nothing to replay")
    if cut_off:
        some, its = ("1 row", "its") if cut_off == 1 else (f"{cut_off:,} rows", "their")
        say(
            f"{printable(path.name)}: {some} can't be replayed, since only {its} beginning is there"
            f" (raw_truncated_from): kept in quarantine; what is whole stands in the archive, in"
            f" {printable(first.first_place.source)}"
        )
    place = first.first_place
    return file._replace(origin=Origin(bytes.fromhex(first.sha256), place.source, place.sha256, lines_there))


def _belongs_to(row: Row) -> tuple[str, str]:
    return row.sha256, row.first_place.sha256


def _archived(path: Path, folder: Path) -> Path | None:
    """Return where the archive has a quarantine file of this name."""
    if not path.name.endswith(quarantine.REJECTED):
        return None
    return next((folder / landing.ARCHIVE).glob(f"*/{escape(path.name.removesuffix('.ndjson'))}.*.ndjson"), None)


def replay(settings: Settings, files: Sequence[LandingFile], watcher: Watcher, report: RunReport) -> None:
    """Load the rows of `files` again; see `run.run`.

    Raises:
        DatabaseError: the database can't be used.
        UsageError: the contract is wrong.
    """
    # What a budget guards against has happened: these rows are in quarantine.
    settings = settings._replace(max_rejects=None, max_reject_ratio=None)
    with run.database(settings) as conninfo:
        settings = settings._replace(database_url=conninfo)
        with connected(conninfo) as connection:
            for name in migrate.migrate(connection):
                watcher.notify(f"migrated: {name}")
            with reported("looking up what is to be replayed"):
                refused = _not_loaded(connection, settings.landing / landing.QUARANTINE, files)
                refused |= _changed_since(connection, files)
                good = [file for file in files if file.path not in refused]
                _drop_leftovers(connection, settings.landing / landing.QUARANTINE, good)
        for file in files:
            if file.path in refused:
                outcome = FileOutcome(printable(file.path.name), file.size, Status.FAILED)
                outcome.error_code, outcome.error = "not_replayed", refused[file.path]
                report.add([outcome])
                watcher.finished([outcome])
        if good:
            run.run(settings, good, watcher, report)


def _not_loaded(connection: Connection, folder: Path, files: Sequence[LandingFile]) -> dict[Path, str]:
    """Return those of the files whose rows are rejects of no load that was committed, with the reason.

    Nothing of their source was loaded: it is refused and over its budget, or still on its way, maybe this very moment.
    Replayed, its rejects would be loaded now, and be met again when the whole file is.
    """
    loaded = ledger.loaded(connection, [file.origin.replay_of for file in files if file.origin])
    attempts = quarantine.published(folder)
    unknown = ledger.unknown(connection, [*attempts.values()]) if attempts else set()
    refused = {}
    for file in files:
        source = printable(file.origin.source) if file.origin else ""
        if file.origin and file.origin.replay_of not in loaded:
            refused[file.path] = (
                f"nothing of {source} was loaded into this database (it is over its budget, or was not committed):"
                f" put {source} itself into the landing folder again and run `loader run`"
            )
        elif file.in_landing and attempts.get(file.path.name) in unknown:
            refused[file.path] = (
                f"it was left by a load of {source} that was not committed; `loader run` removes it when it has work"
            )
    return refused


def _changed_since(connection: Connection, files: Sequence[LandingFile]) -> dict[Path, str]:
    """Return those of the files that were replayed before, and changed since, with the reason to leave them.

    A loader that dies right after COMMIT leaves them in quarantine. Unchanged they are recognised, and archived; but
    with other words in them their rows would be in quarantine twice.
    """
    contents = [file.origin.replay_of for file in files if file.origin]
    found = connection.execute(resources.sql("find_replays"), {"contents": contents}).fetchall()
    replays: dict[str, dict[bytes, str | None]] = {}
    for name, sha256, rejects in found:
        replays.setdefault(name, {})[bytes(sha256)] = rejects
    changed = {}
    for file in files:
        before = replays.get(printable(file.path.name))
        if before and (digest := _digest(file)) and digest not in before:
            rejects = next(iter(before.values()))
            what = f"what failed again is in {rejects}: mend it there" if rejects else "no row failed"
            changed[file.path] = f"it was replayed before it was changed; {what}, and remove this file"
    return changed


def _digest(file: LandingFile) -> bytes | None:
    try:
        with opening.opened_as_found(file) as handle:
            return opening.fingerprint(handle)
    except FileUnavailable:
        return None  # The load will say what is the matter with it.


def _drop_leftovers(connection: Connection, folder: Path, files: Sequence[LandingFile]) -> None:
    """Drop the rejects of replays of these files that died before COMMIT: the rows are still in `files`, edited maybe.

    `run` drops those of a content that was loaded since; an edited file's former content never will be.
    """
    names = {printable(file.path.name) for file in files if file.in_landing}
    for name, attempt in quarantine.published(folder).items():
        path = folder / name
        row = _first_row(path)
        if row is None or row.replayed_from is None or row.source not in names:
            continue
        digest = bytes.fromhex(row.sha256)
        with connection.transaction():  # As long as it lasts, nobody else has this content in hand.
            is_free = ledger.claim(connection, [digest])[digest] is ledger.Claim.TAKEN
            if is_free and ledger.unknown(connection, [attempt]):
                path.unlink(missing_ok=True)


def _first_row(path: Path) -> Row | None:
    try:
        with opening.opened(path) as file:
            return next((parse(number, line) for number, line in lines(file, max_line_bytes=0)), None)
    except FileUnavailable:
        return None
