"""A few rows of each of some units, until they are merged together. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import polars as pl

from loader.contract import KEY
from loader.ranges import beginnings
from loader.units import in_merge_order

Keys = npt.NDArray[np.uint64]  # how keys begin
# So many are merged together, but before `SeenKeys` forgets their keys.
_MOST_ROWS = 8192
_MOST_UNITS = 8


class Apart(NamedTuple):
    """Rows of a unit (`units.in_merge_order`), and their keys."""

    rows: pl.DataFrame
    keys: Keys


class PutOff:
    """The rows of some units that have been put off."""

    def __init__(self) -> None:
        self._some: list[Apart] = []

    def add(self, rows: Apart) -> None:
        """Put more off."""
        self._some.append(rows)

    @property
    def is_empty(self) -> bool:
        """Whether there is none."""
        return not self._some

    @property
    def are_many(self) -> bool:
        """Say whether it is time to merge them."""
        return len(self._some) == _MOST_UNITS or sum(len(some.keys) for some in self._some) > _MOST_ROWS

    def are_overtaken(self, keys: Keys) -> bool:
        """Say whether one of `keys` (ascending) may be the key of a row that was put off."""
        if self.is_empty or not len(keys):
            return False
        own = np.concatenate([some.keys for some in self._some])
        places = np.searchsorted(keys, own).clip(max=len(keys) - 1)
        return bool((keys[places] == own).any())

    def take(self) -> pl.DataFrame | None:
        """Return them all, in merge order, and hold none any more; None where there is none."""
        frames = [some.rows for some in self._some]
        self._some.clear()
        if len(frames) > 1:
            return in_merge_order(pl.concat(frames))
        return frames[0] if frames else None


def beginnings_of(rows: pl.DataFrame) -> Keys:
    """Return the keys of `rows`."""
    return beginnings(rows[KEY]).to_numpy()


def apart(rows: pl.DataFrame) -> Apart:
    """Copy rows out of their unit, of which they would keep all texts in memory."""
    return Apart(pl.DataFrame(rows.to_arrow()), beginnings_of(rows))
