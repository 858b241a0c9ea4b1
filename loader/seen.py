"""The keys that a run has met: which rows may have the key of an earlier one. Pure.

Keys are remembered as bits of their hashes (a Bloom filter), and only the latest million or two of them. Both errors
are harmless: a row that is taken for one seen before is merged with ON CONFLICT; one that is not fails its COPY, and
its unit's keys are looked up.
"""

from __future__ import annotations

import threading
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

_MAX_KEYS = 1 << 20  # in each of two generations
# Each key has four bits in one of so many words of 64, one key to a word on the average.
_WORDS_POWER = 20
_BITS_PER_KEY = 4
_Words = npt.NDArray[np.uint64]


class SeenKeys:
    """The keys met so far, by all loads of a run. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._recent, self._older = _Generation(), _Generation()
        # Whether all that turned out to be stored so far had been met here before.
        self.expects_new = False
        # Whether what came last was all stored already, be it met here or not.
        self.expects_known = False

    def add(self, keys: pl.Series) -> pl.Series:
        """Say of each of `keys` (Binary) whether it may have been added before this call (Boolean), then add them."""
        hashes = keys.hash().to_numpy()
        order = np.argsort(hashes)  # so that words are looked at in their order, not at random
        ordered = hashes[order]
        places, bits = (ordered >> np.uint64(64 - _WORDS_POWER)).astype(np.int64), _bits(ordered)
        with self._lock:
            found = self._recent.has(places, bits) | self._older.has(places, bits)
            if self._recent.keys + len(keys) > _MAX_KEYS:
                self._recent, self._older = _Generation(), self._recent
            self._recent.add(places, bits)
        seen = np.empty_like(found)
        seen[order] = found
        return pl.Series(seen)


class _Generation:
    """So many keys, as bits."""

    def __init__(self) -> None:
        self.keys = 0

    @cached_property
    def _words(self) -> _Words:
        return np.zeros(1 << _WORDS_POWER, np.uint64)

    def has(self, places: npt.NDArray[np.int64], bits: _Words) -> npt.NDArray[np.bool_]:
        if not self.keys:  # Its 8 MB are not made before there is a key: few runs need a second generation.
            return np.zeros(len(places), np.bool_)
        found: npt.NDArray[np.bool_] = self._words[places] & bits == bits
        return found

    def add(self, places: npt.NDArray[np.int64], bits: _Words) -> None:
        np.bitwise_or.at(self._words, places, bits)
        self.keys += len(places)


def _bits(hashes: _Words) -> _Words:
    """Return the bits of each key in its word."""
    bits = np.zeros_like(hashes)
    for number in range(_BITS_PER_KEY):
        bits |= np.left_shift(np.uint64(1), hashes >> np.uint64(6 * number) & np.uint64(63))
    return bits
