"""UUIDs: text to 16 bytes. Pure."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from loader.characters import joined

_LENGTH = 36
_HYPHENS = [8, 13, 18, 23]  # RFC 9562, section 4
_DIGITS = [place for place in range(_LENGTH) if place not in _HYPHENS]
_NONE = 0x100  # no byte


def to_bytes(texts: pl.Series) -> pl.Series:
    """Return UUIDs (String of hexadecimal digits with hyphens, either case; null allowed) as Binary.

    Raises:
        polars.exceptions.ComputeError: one has other characters.
    """
    if texts.is_empty() or texts.null_count() or not (texts.str.len_bytes() == _LENGTH).all():
        return _to_bytes_slowly(texts)
    column = texts.to_arrow()
    rows = joined(column).reshape(-1, _LENGTH)
    found = np.take(_byte_of_digits(), np.ascontiguousarray(rows[:, _DIGITS]).view("<u2"))
    if found.max() == _NONE or (rows[:, _HYPHENS] != ord("-")).any():
        return _to_bytes_slowly(texts)
    bounds = np.arange(0, found.size + 1, found.shape[1], dtype=np.int64)
    buffers = [None, pa.py_buffer(bounds), pa.py_buffer(found.astype(np.uint8))]
    return pl.Series(texts.name, pa.LargeBinaryArray.from_buffers(pa.large_binary(), len(column), buffers))


def _to_bytes_slowly(texts: pl.Series) -> pl.Series:
    return texts.str.replace_all("-", "", literal=True).str.decode("hex")


@functools.cache
def _byte_of_digits() -> npt.NDArray[np.uint16]:
    """Return the byte that two digits mean, by the two as one number, the first one in its lower half."""
    bytes_of = np.full(1 << 16, _NONE, np.uint16)
    for high in "0123456789abcdefABCDEF":
        for low in "0123456789abcdefABCDEF":
            bytes_of[ord(high) | ord(low) << 8] = int(high + low, 16)
    return bytes_of
