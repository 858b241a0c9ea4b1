"""Units -> `events`, inside the load's one transaction; what is not inserted is a duplicate or a conflict.

Rows whose key is new are copied straight into `events`. All others, and all rows of a unit where Postgres refused
that, are staged and merged with ON CONFLICT DO NOTHING; what the merge leaves over is compared with what is stored.
A few such rows of a unit are put off, and merged with those of the next ones.
Keys are looked up first, except where the run has met nothing yet that was stored before it, or nothing else.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Iterable

import polars as pl
import psycopg
from psycopg import errors

from loader import aside, compare, resources, staging
from loader.aside import SetAside
from loader.compare import Found
from loader.comparer import Comparer
from loader.contract import KEY, PROVENANCE, Contract
from loader.database import Connection, UuidArray, compose, identifiers, is_about_a_row
from loader.encode import begun
from loader.errors import AccountingError
from loader.model import Counts
from loader.prepared import Encoded, Prepared
from loader.put_off import Apart, PutOff, apart, beginnings_of

# Fewer rows than this are not worth another way than the plain one.
_FEW = 100
_EMPTY_INDEX_BYTES = 8192  # the first page of a B-tree holds no keys


class Merger:
    """Merges the units of one load over a connection with an open transaction."""

    def __init__(
        self,
        connection: Connection,
        contract: Contract,
        *,
        expects_new: bool = False,
        comparer: Comparer | None = None,
    ) -> None:
        """Merge into what is stored.

        expects_new: rows that are not AGAIN are likely to be new, so that their keys need not be looked up.
        comparer: shares the work where all is stored already.
        """
        self._connection = connection
        self._contract = contract
        self._comparer = comparer
        self._inserted = self._rejected = 0
        self._may_copy: bool | None = None  # not asked yet
        self.index_bytes = index_bytes(connection)  # before this load
        self.expects_known = False  # the unit before had nothing new
        self._may_expect_new = True
        self._expects_new = expects_new or self.index_bytes <= _EMPTY_INDEX_BYTES
        self._put_off = PutOff()
        self.left_over: dict[int, Counts] = defaultdict(Counts)  # by file: duplicates, conflicts, rejected

    @property
    def inserted(self) -> int:
        """Rows that Postgres says it inserted, over all files of the load."""
        return self._inserted

    @property
    def expects_new(self) -> bool:
        """Whether nothing was met so far that was stored before and is not AGAIN."""
        return self._expects_new

    def look_ahead(self, units: Iterable[pl.DataFrame]) -> Generator[tuple[pl.DataFrame, Prepared | None]]:
        """Yield units, and what can be made of them ahead: by another thread, so that Postgres need not wait for it.

        None where it is most likely not needed, since all rows are stored already.
        """
        is_awaited = True  # The first is: what is made of it is made while it is copied.
        for unit in units:
            if self.expects_known:
                yield unit, None
                continue
            prepared = Prepared(unit)
            if not is_awaited:
                prepared.encoded = self._begun(unit, prepared)
                prepared.make()
            yield unit, prepared
            prepared.make()
            is_awaited = False

    def _begun(self, unit: pl.DataFrame, prepared: Prepared) -> Encoded | None:
        may_copy = self._expects_new and self._may_copy is not False and unit.height >= _FEW
        return begun(unit, self._contract, prepared.is_new) if may_copy and prepared.is_new.any() else None

    def merge(self, unit: pl.DataFrame, prepared: Prepared | None = None) -> None:
        """Merge all rows of `unit` (`units.in_merge_order`).

        prepared: what `look_ahead` made of it.

        Raises:
            AccountingError: rows were neither inserted nor found in `events`.
            psycopg.Error: the database fails for another reason than a row's content.
        """
        was_compared = self.expects_known
        if was_compared and self._is_known(unit):
            return
        self._settle_compared()
        self._merge(unit, prepared, was_compared=was_compared)

    def _merge(self, unit: pl.DataFrame, prepared: Prepared | None = None, *, was_compared: bool = False) -> None:
        self.expects_known = False
        rest = unit
        if unit.height >= _FEW and self._can_copy():
            prepared = prepared or Prepared(unit)
            # Not even where the key is not stored after all: it may have been rolled back, or only look like it.
            if not self._put_off.is_empty and self._put_off.are_overtaken(prepared.new_keys):
                self._merge_put_off()
            rest = self._copy_new(unit, prepared)
        if rest.is_empty() or (self.expects_known and not was_compared and self._find_all(rest)):
            return
        is_whole = rest.height == unit.height
        if prepared is not None and rest is prepared.again.rows:
            self._put_off.add(prepared.again)
        else:
            self._put_off.add(Apart(rest, beginnings_of(rest)) if is_whole else apart(rest))
        if is_whole or self._put_off.are_many:
            self._merge_put_off()

    def finish(self) -> None:
        """Merge what `merge` has put off.

        Raises:
            As `merge`.
        """
        self._settle_compared()
        self._merge_put_off()

    def _merge_put_off(self) -> None:
        """Merge the few rows of some units whose keys were met before."""
        rows = self._put_off.take()
        if rows is not None:
            self._merge_staged(rows)

    def _is_known(self, unit: pl.DataFrame) -> bool:
        """Deal with a unit whose rows are all stored already, or are soon known to be; return False if they are not."""
        if self._comparer is not None:
            while self._comparer.is_done:
                self._settle_first()
            if self.expects_known and self._comparer.take(unit):
                return True
        return self._find_all(unit)

    def _find_all(self, unit: pl.DataFrame) -> bool:
        found = compare.find_all(self._connection, unit, self._contract)
        if found is not None:
            self._leave_over(found)
        return found is not None

    def _settle_compared(self) -> None:
        """Deal with all that the comparer has in hand; no later row may be merged before."""
        if self._comparer is None:
            return
        last = self._comparer.give_back_unseen()
        is_known = last is None or self._find_all(last)
        while self._settle_first():
            pass
        if last is not None and not is_known:
            self._merge(last, was_compared=True)

    def _settle_first(self) -> bool:
        """Deal with the first of the units that the comparer has in hand; say whether there was one."""
        compared = self._comparer.give_back() if self._comparer is not None else None
        if compared is None:
            return False
        unit, found = compared
        if found is None:
            self._merge(unit)
        else:
            self._leave_over(found)
        return True

    def _merge_staged(self, rows: pl.DataFrame) -> None:
        """Stage rows and merge them; tell apart what is left over."""
        rejected_before = self._rejected
        staging.clear(self._connection)
        for row in staging.stage(self._connection, rows, self._contract):
            self._set_aside(row)
        inserted_before = self._inserted
        self._merge_rows(rows.select(PROVENANCE).sort(PROVENANCE))
        inserted = self._inserted - inserted_before
        left_over = rows.height - inserted - (self._rejected - rejected_before)
        if left_over == 0:
            return
        found = compare.tell_apart(self._connection, self._contract, none_inserted=not inserted)
        if compare.rows(found) != left_over:
            raise AccountingError(
                f"{left_over} rows were not inserted, but not all of them are in events: "
                "does a trigger on events drop rows, or did somebody delete events just now?"
            )
        self._leave_over(found)

    def _can_copy(self) -> bool:
        if self._may_copy is None:  # outside of a savepoint, whose end could give up the lock
            self._connection.execute(resources.sql("check_key"))
            row = self._connection.execute(resources.sql("can_copy")).fetchone()
            self._may_copy = row is not None and row[0]
        return self._may_copy

    def _copy_new(self, unit: pl.DataFrame, prepared: Prepared) -> pl.DataFrame:
        """Copy the rows with new keys straight into `events`; return the others, or all where Postgres refuses."""
        if self._expects_new:
            try:
                return prepared.again.rows if self._copy(unit, prepared.is_new, prepared.encoded) else unit
            except errors.UniqueViolation:
                self._expects_new, self._may_expect_new = False, False
        is_known = self._look_up(unit[KEY])
        self.expects_known = bool(is_known.all())
        self._expects_new = self._may_expect_new and not (is_known & prepared.is_new).any()
        is_new = prepared.is_new & ~is_known
        try:
            return unit.filter(~is_new) if self._copy(unit, is_new) else unit
        except errors.UniqueViolation:  # another session came in between, or it is not the key that is not unique
            return unit

    def _look_up(self, keys: pl.Series) -> pl.Series:
        """Say of each of `keys` (Binary) whether it is stored."""
        parameters = {"keys": UuidArray(keys.to_list())}
        found = self._connection.execute(resources.sql("find_known"), parameters, binary=True).fetchone()
        places = pl.Series(found[0] if found else [], dtype=pl.Int64)
        return pl.int_range(len(keys), eager=True).is_in(places.implode())

    def _copy(self, unit: pl.DataFrame, is_new: pl.Series, encoded: Encoded | None = None) -> bool:
        """Copy the rows that are said to be new; return False where Postgres refuses a row's content.

        Raises:
            errors.UniqueViolation: one is not new.
        """
        new = is_new.sum()
        if new:
            try:
                with self._connection.transaction():
                    copied = staging.copy_into_events(self._connection, unit, self._contract, is_new, encoded)
            except psycopg.Error as error:
                if isinstance(error, errors.UniqueViolation) or not is_about_a_row(error):
                    raise
                return False
            if copied != new:
                raise AccountingError(f"{copied} of {new} rows were copied: does a trigger on events drop rows?")
            self._inserted += copied
        return True

    def _merge_rows(self, places: pl.DataFrame) -> None:
        """Merge staged rows, by file and line; where Postgres refuses one, halve down to it and set it aside."""
        first, last = places.row(0), places.row(-1)
        bounds = {"first_file": first[0], "first_line": first[1], "last_file": last[0], "last_line": last[1]}
        query = compose("merge", columns=identifiers(self._contract.columns))
        try:
            with self._connection.transaction():  # a savepoint: a refused row must not cost the others
                self._inserted += self._connection.execute(query, bounds).rowcount
        except psycopg.Error as error:
            if not is_about_a_row(error):
                raise
            if len(places) > 1:
                half = len(places) // 2
                self._merge_rows(places[:half])
                self._merge_rows(places[half:])
                return
            self._connection.execute(resources.sql("unstage_row"), {"file_id": first[0], "line": first[1]})
            self._set_aside(SetAside(first[0], first[1], staging.refusal(error)))

    def _leave_over(self, found: list[Found]) -> None:
        for file_id, duplicates, conflicts in found:
            self.left_over[file_id].duplicates += duplicates
            self.left_over[file_id].conflicts += conflicts

    def _set_aside(self, row: SetAside) -> None:
        aside.add(self._connection, row)
        self.left_over[row.file_id].rejected += 1
        self._rejected += 1


def index_bytes(connection: Connection) -> int:
    """Return how large the index on event_id is."""
    row = connection.execute(resources.sql("key_size")).fetchone()
    return row[0] if row else 0
