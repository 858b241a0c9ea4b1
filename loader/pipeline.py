"""A load: one transaction that takes one large file, or many small ones, from the landing folder into `events`.

    identify -> decode -> validate -> units -> claim -> merge -> quarantine + ledger -> COMMIT -> archive

Decode with validate, sorting into units, and merge run each in a thread of their own, a unit or two apart; the first
unit of a load is ready when the one before it ends. Whatever dies before COMMIT leaves nothing but the file in
landing; whatever dies after it is mended by the next run, to which the ledger says that this content is loaded: it only
moves the file.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from itertools import groupby, repeat
from pathlib import Path

import polars as pl
import psycopg

from loader import account, aside, landing, ledger, merge, resources
from loader.ahead import Load, Part, Trouble
from loader.comparer import Comparer
from loader.decode import Source, find_raw
from loader.errors import (
    Abandoned,
    AccountingError,
    DatabaseError,
    FileProblem,
    FileRefused,
    FileUnavailable,
    UsageError,
)
from loader.item import Item
from loader.model import Counts, Problem, Reject, Status
from loader.names import printable
from loader.prefetch import prefetched
from loader.publish import Publisher
from loader.quarantine import QuarantineError
from loader.reading import Reading
from loader.seen import SeenKeys
from loader.session import Session
from loader.settings import Budget
from loader.sidecar import Sidecar


class Pipeline:
    """Loads files over one session."""

    def __init__(
        self,
        session: Session,
        reading: Reading,
        sidecar: Sidecar,
        *,
        landing_folder: Path,
        budget: Budget,
    ) -> None:
        self._session = session
        self._contract = reading.contract
        self._sidecar = sidecar
        self._reading = reading
        self._landing = landing_folder
        self._budget = budget
        # Reading a file again, for the rows that were set aside, is no progress; but it may be given up, too.
        self._second_reader = reading.reader(lambda _: reading.check())

    def load(self, load: Load) -> Iterator[list[Item]]:
        """Load files in one transaction, or in several where that can't be; yield those whose fate is certain.

        What is left to do for it is `settle`'s.

        Raises:
            DatabaseError: the database can't be used; files without an outcome are untouched.
            UsageError: the contract can't be applied.
            Abandoned: the run is being given up.
        """
        for item in load.items:
            item.started = time.monotonic()
        later = deque(self._load_together(load.readable, load) if load.readable else [])
        yield _without(later, load.items)
        while later:
            items = later.popleft()
            still_later = self._load_together(items)
            yield _without(still_later, items)
            later.extendleft(reversed(still_later))

    def _load_together(self, items: Sequence[Item], load: Load | None = None) -> list[list[Item]]:
        """Load items in one transaction, again where trouble passes; return those that must be loaded after it.

        They come as they must be loaded, those of each list together. Of an item alone none is left.
        """
        attempts = _attempts(load)
        try:
            return self._session.retrying(lambda: self._transaction(items, next(attempts)))
        except (FileProblem, AccountingError, QuarantineError) as error:
            if len(items) > 1:
                return [[item] for item in items]
            problem = error if isinstance(error, FileProblem) else None
            items[0].problem = problem or FileUnavailable("failed", printable(str(error)))
        except pl.exceptions.PanicException as panic:  # no Exception: Rust code gave up on the content
            if len(items) > 1:
                return [[item] for item in items]
            items[0].problem = FileRefused("undecodable", f"its content can't be decoded: {panic}")
        except (DatabaseError, UsageError, Abandoned):
            raise
        except Exception as error:  # noqa: BLE001 # one file must not stop those beside it, whatever is in it
            if len(items) > 1:
                return [[item] for item in items]
            items[0].problem = FileUnavailable("internal_error", printable(f"{type(error).__name__}: {error}"))
        return []

    def _transaction(self, items: Sequence[Item], load: Load | None) -> list[list[Item]]:
        """Load items; everything is committed, or nothing is. Return as `_load_together`.

        load: has the rows of `items`, where they are being read already.
        """
        connection = self._session.connection()
        with ExitStack() as context, connection.transaction():
            connection.execute(resources.sql("check_at_once"))
            ledger.enter_load(connection, is_alone=self._session.has_collided)
            taken, again = self._claim(connection, items)
            later = [[item] for item in again]
            if taken:
                publisher = context.enter_context(Publisher(self._landing / landing.QUARANTINE, self._sidecar))
                for item in taken:
                    item.rejects = publisher.file(item.file.path.name, item.digest, item.file_id, item.file.origin)
                if load is not None and len(taken) < len(items):
                    load.end()  # It has rows of the others, too.
                    load = None
                seen = self._reading.seen if load is not None else SeenKeys()  # Who begins anew has seen nothing.
                parts = load.parts() if load is not None else self._reading.parts(taken, seen, is_awaited=True)
                ready = context.enter_context(closing(parts))
                later = self._stages(connection, taken, publisher, seen, ready, is_alone=len(items) == 1) + later
        return later

    def _claim(self, connection: psycopg.Connection, items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
        """Take the items that nobody has in hand or has loaded; the second list has the same contents once more."""
        first = {item.digest: item for item in reversed(items)}
        again = [item for item in items if first[item.digest] is not item]
        claims = ledger.claim(connection, list(first))
        taken = []
        for item in [item for item in items if first[item.digest] is item]:
            # An earlier attempt may have left some.
            item.outcome.counts, item.outcome.reject_codes, item.outcome.quarantine = Counts(), {}, None
            item.problem = item.outcome.error = None
            match claims[item.digest]:
                case ledger.Claim.TAKEN:
                    taken.append(item)
                case ledger.Claim.BUSY:
                    item.outcome.status = Status.BUSY
                    item.outcome.error = "another loader has this content in hand"
                case ledger.Claim.LOADED:
                    self._recognise(connection, item)
        for item, file_id in zip(taken, ledger.new_file_ids(connection, len(taken)), strict=True):
            item.file_id = file_id
        return taken, again

    def _recognise(self, connection: psycopg.Connection, item: Item) -> None:
        """Deal with a content that is in the ledger: loaded before, or just now by a COMMIT whose answer was lost."""
        known = ledger.loaded(connection, [item.digest])[item.digest]
        if known.file_id == item.file_id:
            item.outcome.status = Status.LOADED
            item.outcome.counts = known.counts
            item.outcome.quarantine = known.quarantine
        else:
            item.outcome.status = Status.SKIPPED
            item.outcome.error = f"this content was loaded before, as {known.name}"

    def _stages(
        self,
        connection: psycopg.Connection,
        items: Sequence[Item],
        publisher: Publisher,
        seen: SeenKeys,
        parts: Iterator[Part],
        *,
        is_alone: bool,
    ) -> list[list[Item]]:
        """Run the stages over claimed items, up to the ledger; return those that must be loaded after them."""
        later: list[list[Item]] = []
        with Comparer(self._session.second, self._contract) as comparer:
            merger = merge.Merger(connection, self._contract, expects_new=seen.expects_new, comparer=comparer)
            self._reading.know_index(merger.index_bytes)
            units = self._units(parts, items, later, publisher)
            with prefetched(merger.look_ahead(units), depth=1) as ready:
                for unit, ahead_of_it in ready:
                    merger.merge(unit, ahead_of_it)
                    seen.expects_known = merger.expects_known
                merger.finish()
        seen.expects_new = merger.expects_new
        publisher.wait()
        self._explain_set_aside(connection, {item.file_id: item for item in items})
        loaded = [item for item in _without(later, items) if item.problem is None]
        account.account(merger, loaded)
        over = [item for item in loaded if self._budget.is_over(item.counts)]
        if over:
            if is_alone:  # Otherwise each of them is tried alone next.
                assert over[0].rejects is not None  # noqa: S101 # set when the item was taken
                over[0].rejects.refuse()
                publisher.publish([over[0].rejects])
                over[0].outcome.quarantine = over[0].rejects_path
            raise FileRefused("over_budget", self._budget.describe(over[0].counts))
        for item in loaded:
            item.outcome.status = Status.LOADED
            item.outcome.quarantine = item.rejects_path
        ledger.record(connection, [item.entry(self._contract.version) for item in loaded])
        # Last before COMMIT, so that a load that Postgres refuses leaves nothing in quarantine.
        publisher.publish([item.rejects for item in loaded if item.rejects is not None])
        return later

    def _units(
        self, parts: Iterator[Part], items: Sequence[Item], later: list[list[Item]], publisher: Publisher
    ) -> Iterator[pl.DataFrame]:
        """Count the rows, keep the rejects, and yield units of the others with their files' ids."""
        ids = pl.Series("file_id", [item.file_id for item in items], pl.Int64)
        for part in parts:
            if isinstance(part, Trouble):
                if isinstance(part.problem, FileProblem):
                    items[part.item].problem = part.problem
                else:  # The younger ones, which must not be loaded before it, were not read.
                    groups = [[items[part.item]], list(items[part.item + 1 :])]
                    later += [group for group in groups if group]
                continue
            for place, rows in part.read:
                items[place].counts.read += rows
            for place, rejects in groupby(part.rejects, key=lambda reject: reject.file_id):
                self._reject(items[place], list(rejects))
            if part.unit is not None:  # The ids ascend with the places, and so are in the same order.
                yield part.unit.with_columns(ids.gather(part.unit["file_id"]))
        publisher.begin()

    def _explain_set_aside(self, connection: psycopg.Connection, by_id: dict[int, Item]) -> None:
        """Write the rows that Postgres refused and the conflicts to quarantine, as they stand in the file."""
        for file_id, group in groupby(aside.rows(connection), key=lambda row: row.file_id):
            item = by_id[file_id]
            problems: deque[Problem] = deque()

            def lines(rows: Iterator[aside.SetAside] = group, queue: deque[Problem] = problems) -> Iterator[int]:
                for row in rows:
                    queue.append(row.problem)
                    yield row.line

            for line, raw in find_raw(self._second_reader, Source(item.file, file_id), lines()):
                assert item.rejects is not None  # noqa: S101 # set when the item was taken
                item.rejects.add([Reject(file_id, line, (problems.popleft(),), raw)])

    @staticmethod
    def _reject(item: Item, rejects: Sequence[Reject]) -> None:
        assert item.rejects is not None  # noqa: S101 # set when the item was taken
        item.counts.rejected += len(rejects)
        item.rejects.add(rejects)


def _attempts(load: Load | None) -> Iterator[Load | None]:
    """Yield what each attempt finds read: after one that came to nothing, its parts are used up."""
    yield load
    if load is not None:
        load.end()  # What is left of them takes as much memory as what is read anew.
    yield from repeat(None)


def _without(later: Iterable[Sequence[Item]], items: Iterable[Item]) -> list[Item]:
    are_later = {item for group in later for item in group}
    return [item for item in items if item not in are_later]
