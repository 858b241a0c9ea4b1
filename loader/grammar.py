"""Which of many texts are JSON objects, with one look at all of them where they are. Pure."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

_DECODER = msgspec.json.Decoder(msgspec.Raw)
_Mask = npt.NDArray[np.bool_]


def are_objects(texts: pa.LargeStringArray | pa.LargeBinaryArray) -> _Mask:
    """Say of each of `texts` (null allowed) whether it is one JSON object, without white space around it."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    characters = np.frombuffer(data or b"", np.uint8)
    looks_so: _Mask = texts.is_valid().to_numpy(zero_copy_only=False) & (np.diff(bounds) >= len("{}"))
    looks_so[looks_so] &= characters[bounds[:-1][looks_so]] == ord("{")
    looks_so[looks_so] &= characters[bounds[1:][looks_so] - 1] == ord("}")
    if looks_so.all():
        return _are_objects(texts)
    looks_so[looks_so] = _are_objects(texts.filter(pa.array(looks_so)))
    return looks_so


def _are_objects(texts: pa.LargeStringArray | pa.LargeBinaryArray) -> _Mask:
    """Say of each of `texts`, which start with `{` and end with `}`, whether it is one object, by halving."""
    if not len(texts) or _count(texts) == len(texts):
        return np.ones(len(texts), np.bool_)
    if len(texts) == 1:
        return np.zeros(1, np.bool_)
    half = len(texts) // 2
    return np.concatenate([_are_objects(texts[:half]), _are_objects(texts[half:])])


def _count(texts: pa.LargeStringArray | pa.LargeBinaryArray) -> int | None:
    """Count the documents in `texts`; None where they are not grammatical.

    Inside of an object `}` is never followed by `{` without a comma between them, and no string holds a newline. So
    none goes over the newlines that are put between texts that start and end so, and as many documents as texts means
    one in each.
    """
    together = pa.LargeListArray.from_arrays(pa.array([0, len(texts)], pa.int64()), texts)
    joined = pc.binary_join(together, pa.scalar("\n", texts.type))
    try:
        return len(_DECODER.decode_lines(joined.buffers()[2]))
    except (msgspec.DecodeError, RecursionError):
        return None
