"""Lines in one buffer, looked at in many places at once: each step is one NumPy call for all lines. Pure.

A place is an offset in the buffer. Eight bytes are looked at together, as an integer whose lowest byte comes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from loader.characters import Mask, Places, spans, utf8

_Words = npt.NDArray[np.uint64]

_WORD_BYTES = 8
# Around the lines, so that a word can be read at the place of each of their bytes, and no search leaves them.
_MARGIN = b"\n" * _WORD_BYTES
_NEWLINE = ord("\n")
_ONES = np.uint64(0x0101010101010101)
_HIGHEST_BITS = np.uint64(0x8080808080808080)
_QUOTES = np.uint64(0x2222222222222222)
_BACKSLASHES = np.uint64(0x5C5C5C5C5C5C5C5C)
_SPACES = np.uint64(0x2020202020202020)  # what is less is a control character
_SPECIAL = re.compile(rb'["\\\x00-\x1f]')
_MOST_WORDS = 512  # strings longer than so many words are few in a block, and searched one by one
_MOST_ALIKE = 64  # bytes


class Text:
    """Lines, each of which ends with a newline; a line is known by its index."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._data = b"".join((_MARGIN, *pieces, _MARGIN))
        self._bytes = np.frombuffer(self._data, np.uint8)
        self._last = len(self._data) - _WORD_BYTES
        self._words: _Words = np.ndarray((self._last + 1,), "<u8", self._data, strides=(1,))
        newlines = np.flatnonzero(self._bytes == _NEWLINE)[_WORD_BYTES - 1 : -_WORD_BYTES]
        self.starts: Places = newlines[:-1] + 1
        self.ends: Places = newlines[1:]

    def __len__(self) -> int:
        """Lines."""
        return len(self.starts)

    def lines(self, indexes: Places) -> list[bytes]:
        """Return lines without their newlines."""
        spans = zip(self.starts[indexes].tolist(), self.ends[indexes].tolist(), strict=True)
        return [self._data[start:end] for start, end in spans]

    def are_utf8(self) -> Mask:
        """Say of each line whether it is UTF-8."""
        buffer = pa.py_buffer(self._data)
        whole = np.array([0, len(self._data)], np.int64)
        try:
            pa.LargeStringArray.from_buffers(1, pa.py_buffer(whole), buffer).validate(full=True)
        except pa.ArrowInvalid:  # Some line is not; Arrow doesn't say which.
            bounds = pa.py_buffer(np.append(self.starts, self.ends[-1:] + 1))
            lines = pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(self), [None, bounds, buffer])
            return utf8(pl.Series(lines)).is_not_null().to_numpy(writable=True)
        return np.ones(len(self), np.bool_)

    def has(self, places: Places, mark: bytes) -> Mask:
        """Say of each of `places` (ascending) whether `mark`, in which there is no newline, stands there."""
        last = len(self._data) - len(mark)
        if last < 0 or not len(places):
            return np.zeros(len(places), np.bool_)
        if places[0] < 0 or places[-1] > last:
            places = places.clip(0, last)  # There are newlines.
        found: Mask = _windows(self._data, places, len(mark)) == mark
        return found

    def ends_of_strings(self, starts: Places) -> Places:
        """Return where the strings end that start at `starts` (ascending): before a quote, an escape or a control."""
        ends = starts.copy()
        rest = self._end_alike(ends)
        for _ in range(_MOST_WORDS):
            plain = _plain_bytes(self._words[ends[rest]])
            ends[rest] += plain
            rest = rest[plain == _WORD_BYTES]
            if not len(rest):
                return ends
        for place in rest:
            special = _SPECIAL.search(self._data, ends[place])
            ends[place] = special.start() if special else self._last
        return ends

    def _end_alike(self, places: Places) -> Places:
        """Move those of `places` to the ends of their strings that are as long as the first; return the others."""
        others: Places = np.arange(len(places))
        special = _SPECIAL.search(self._data, places[0]) if len(places) else None
        length = special.start() - int(places[0]) if special else 0
        if not _WORD_BYTES < length <= _MOST_ALIKE or places[-1] + length > self._last:
            return others
        alike = self._bytes[places + length] == self._bytes[places[0] + length]
        if alike.mean() < 0.9:  # noqa: PLR2004 # not worth it
            return others
        strings = _windows(self._data, places, length).view(np.uint8)
        is_special = (strings < ord(" ")) | (strings == ord('"')) | (strings == ord("\\"))
        alike[np.flatnonzero(is_special) // length] = False
        places[alike] += length
        return np.flatnonzero(~alike)

    def starts_of_strings(self, ends: Places) -> Places:
        """Return where the strings start that end at `ends`: behind a quote, an escape or a control character."""
        starts = ends.copy()
        rest = np.arange(len(starts))
        for _ in range(_MOST_WORDS):
            plain = _plain_bytes(self._words[starts[rest] - _WORD_BYTES].byteswap())
            starts[rest] -= plain
            rest = rest[plain == _WORD_BYTES]
            if not len(rest):
                return starts
        for place in rest:
            end = starts[place]
            backwards = self._data[self._data.rfind(b"\n", 0, end) : end][::-1]
            special = _SPECIAL.search(backwards)
            starts[place] -= special.start() if special else 0
        return starts

    def column(self, starts: Places, ends: Places) -> pa.LargeStringArray:
        """Return what stands from each of `starts` (ascending) to its end, which is UTF-8 and before the next start."""
        length = int(ends[0] - starts[0]) if len(starts) else 0
        if 0 < length <= _MOST_ALIKE and (ends - starts == length).all():
            texts = _windows(self._data, starts, length)
            bounds = np.arange(0, texts.nbytes + 1, length, dtype=np.int64)
            return pa.LargeStringArray.from_buffers(len(starts), pa.py_buffer(bounds), pa.py_buffer(texts))
        return spans(pa.py_buffer(self._data), starts, ends)


def _windows(data: bytes, places: Places, length: int) -> npt.NDArray[np.bytes_]:
    """Return so many bytes of `data` from each of `places`, none of which is too near to its end."""
    every = np.ndarray((len(data) - length + 1,), f"S{length}", data, strides=(1,))
    return every[places]


def _plain_bytes(words: _Words) -> Places:
    """Count the bytes of each word before the first quote, backslash or control character.

    A byte that is zero, or less than another, is found as in "Bit Twiddling Hacks" (S. E. Anderson): what is said of
    the lowest such byte of a word is right, above it there may be errors.
    """
    special = (words - _SPACES) & ~words
    for repeated in (_QUOTES, _BACKSLASHES):
        differing = words ^ repeated
        special |= (differing - _ONES) & ~differing
    special &= _HIGHEST_BITS
    # The bits below the lowest one that is set; all 64 of them where none is.
    below = (special & (~special + np.uint64(1))) - np.uint64(1)
    return (np.bitwise_count(below) >> 3).astype(np.int64)
