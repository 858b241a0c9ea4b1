"""Columns of texts, of Arrow or Polars, and the bytes that they are. Pure."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

Places = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Characters = npt.NDArray[np.uint8]


def spans(buffer: pa.Buffer, starts: Places, ends: Places) -> pa.LargeStringArray:
    """Return what stands in `buffer` from each of `starts` (ascending) to its end, UTF-8, before the next start."""
    bounds = np.empty(2 * len(starts) + 1, np.int64)
    bounds[:-1:2], bounds[1::2] = starts, ends
    bounds[-1] = ends[-1] if len(ends) else 0
    with_gaps = pa.LargeStringArray.from_buffers(2 * len(starts), pa.py_buffer(bounds), buffer)
    return with_gaps.take(pa.array(np.arange(0, 2 * len(starts), 2)))


def offsets(texts: pa.LargeStringArray | pa.LargeBinaryArray) -> Places:
    """Return where each of `texts` starts in their buffer, and where the last one ends."""
    return np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]


def characters_of(texts: pa.LargeStringArray | pa.LargeBinaryArray) -> Characters:
    """Return the buffer of `texts`, to which `offsets` refers; one that Arrow has just made can be written to."""
    return np.frombuffer(texts.buffers()[2] or bytearray(), np.uint8)


def joined(texts: pa.LargeStringArray | pa.LargeBinaryArray) -> Characters:
    """Return the bytes of `texts`, one behind the other."""
    bounds = offsets(texts)
    return characters_of(texts)[bounds[0] : bounds[-1]]


def utf8(series: pl.Series) -> pl.Series:
    """Return Binary as String, null where a value is not UTF-8."""
    try:
        return series.cast(pl.String)
    except pl.exceptions.ComputeError:  # Some value is not; Polars doesn't say which.
        return pl.Series(series.name, list(map(_decode, series)), pl.String)


def _decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
