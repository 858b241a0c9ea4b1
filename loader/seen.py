"""The keys that a load has met: which rows may have the key of an earlier one. Pure.

Keys are remembered as hashes, and only the latest million or two of them. Both errors are harmless: a row that is taken
for one seen before is merged with ON CONFLICT; one that is not fails its COPY, and its unit's keys are looked up.
"""

from __future__ import annotations

import polars as pl

_MAX_KEYS = 1 << 20  # in each of two generations; 8 bytes a key


class SeenKeys:
    """Hashes of the keys met so far."""

    def __init__(self) -> None:
        self._recent = self._older = _sorted(pl.Series(dtype=pl.UInt64))

    def add(self, keys: pl.Series) -> pl.Series:
        """Say of each of `keys` (Binary) whether it may have been added before this call (Boolean), then add them."""
        met = pl.DataFrame({"hash": keys.hash()}).with_row_index("row").sort("hash")
        hashes = met["hash"]
        seen = met.select("row", seen=_among(hashes, self._recent) | _among(hashes, self._older)).sort("row")["seen"]
        if len(self._recent) + len(keys) > _MAX_KEYS:
            self._recent, self._older = _sorted(hashes), self._recent
        else:
            self._recent = _merged(self._recent, hashes)
        return seen


def _among(hashes: pl.Series, known: pl.Series) -> pl.Series:
    """Say of each of `hashes` whether it is in `known`; both are sorted, which keeps the search within the cache."""
    if known.is_empty():
        return pl.repeat(value=False, n=len(hashes), eager=True)
    places = known.search_sorted(hashes).clip(upper_bound=len(known) - 1)
    return known[places] == hashes


def _merged(one: pl.Series, other: pl.Series) -> pl.Series:
    frames = [series.alias("hash").to_frame() for series in (one, _sorted(other))]
    return frames[0].merge_sorted(frames[1], key="hash")["hash"]


def _sorted(series: pl.Series) -> pl.Series:
    return series.set_sorted()
