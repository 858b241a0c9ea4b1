"""Which of many texts are JSON objects, with one look at all of them where they are. Pure."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from loader.characters import Mask, characters_of, offsets

_DECODER = msgspec.json.Decoder(msgspec.Raw)


def are_objects(texts: pa.LargeStringArray | pa.LargeBinaryArray) -> Mask:
    """Say of each of `texts` (null allowed) whether it is one JSON object, without white space around it."""
    bounds = offsets(texts)
    characters = characters_of(texts)
    looks_so: Mask = texts.is_valid().to_numpy(zero_copy_only=False) & (np.diff(bounds) >= len("{}"))
    looks_so[looks_so] &= characters[bounds[:-1][looks_so]] == ord("{")
    looks_so[looks_so] &= characters[bounds[1:][looks_so] - 1] == ord("}")
    if looks_so.all():
        return _are_objects(texts)
    looks_so[looks_so] = _are_objects(texts.filter(pa.array(looks_so)))
    return looks_so


def _are_objects(texts: pa.LargeStringArray | pa.LargeBinaryArray) -> Mask:
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
    return count_values(joined.buffers()[2])


def count_values(lines: pa.Buffer | memoryview) -> int | None:
    """Count the JSON values in `lines`, to which newlines are but white space; None where they are not grammatical."""
    try:
        return len(_DECODER.decode_lines(lines))
    except (msgspec.DecodeError, RecursionError):
        return None
