"""What can be made of a unit before its turn to be merged comes. Pure.

Polars would wait for its threads, which decode what comes later, and Postgres for it.
"""

from __future__ import annotations

from collections.abc import Generator
from functools import cached_property

import polars as pl

from loader.contract import KEY
from loader.put_off import Apart, Keys, apart, beginnings_of
from loader.units import AGAIN

Encoded = Generator[bytes]  # rows in COPY's format


class Prepared:
    """What is made of one unit (`units.in_merge_order`), by whichever thread asks for it first.

    encoded: the beginning of what will be copied, most likely: the rows that are not AGAIN. None where it isn't made.
    """

    def __init__(self, unit: pl.DataFrame) -> None:
        self._unit = unit
        self.encoded: Encoded | None = None

    @cached_property
    def is_new(self) -> pl.Series:
        """Which rows are not AGAIN (Boolean)."""
        return ~self._unit[AGAIN]

    @cached_property
    def new_keys(self) -> Keys:
        """Their keys, ascending."""
        return beginnings_of(self._unit.select(KEY).filter(self.is_new))

    @cached_property
    def again(self) -> Apart:
        """The other rows."""
        return apart(self._unit.filter(self._unit[AGAIN]))

    def make(self) -> None:
        """Make what was not asked for yet."""
        _ = self.is_new, self.new_keys, self.again
