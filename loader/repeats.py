"""Top-level keys that stand twice in a line; msgspec takes the last and says nothing. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from loader import jsonb
from loader.canonical import Columns
from loader.contract import Contract
from loader.model import Problem

_FEW = 1024  # Each of so many is looked at sooner than all of them by columns.


def suspects(columns: Columns, lines: Sequence[bytes], contract: Contract) -> Iterator[int]:
    """Yield the rows that could hold a key twice.

    columns: as decoded, documents as Binary. lines: the text of each row.
    """
    documents = [series for series in columns.values() if series.dtype == pl.Binary]
    for row in range(len(lines)) if len(lines) <= _FEW else _roomy(columns, lines):
        line = lines[row]
        if _looks_so(line, contract) and _may_repeat(line, [series[row] for series in documents], contract):
            yield row


def _roomy(columns: Columns, lines: Sequence[bytes]) -> list[int]:
    """Return the rows in which there is room for another member, which are few most often.

    A line can't be shorter than its keys, values and punctuation without any white space and escapes; here it is longer
    by the shortest member or more.
    """
    shortest = pl.lit(len("{}") - 1, pl.Int64)
    for name, series in columns.items():
        value = pl.lit(1)
        if series.dtype == pl.Binary:
            value = pl.col(name).bin.size()
        elif series.dtype == pl.String:
            value = pl.col(name).str.len_bytes() + 2
        member = value + len(name.encode()) + len('"":,')
        shortest = shortest + pl.when(pl.col(name).is_not_null()).then(member).otherwise(0)
    smallest_member = min(len(name.encode()) for name in columns) + len('"":1,')
    frame = pl.DataFrame(columns).with_columns(length=pl.Series(list(map(len, lines)), dtype=pl.Int64))
    return frame.select(pl.arg_where(pl.col("length") - shortest >= smallest_member)).to_series().to_list()


def in_line(line: bytes, contract: Contract) -> list[Problem]:
    """Return a problem for each field of the contract whose key stands more than once in `line`, a JSON object."""
    if not _looks_so(line, contract):
        return []
    try:
        names = _top_level_keys(line)
    except RecursionError:  # It takes a few frames more than msgspec, which has read the line.
        return [jsonb.too_deep(None)]
    return [
        Problem("duplicate_key", name, "the key stands more than once in the row")
        for name in contract.columns
        if names.count(name) > 1
    ]


def _may_repeat(line: bytes, documents: Sequence[bytes | None], contract: Contract) -> bool:
    """Say whether a key could stand twice in `line`, which looks so, by counting keys outside of nested documents."""
    rest = line
    for document in documents:
        if document is not None and document.startswith((b"{", b"[")):  # Of a scalar the like may stand inside a key.
            rest = rest.replace(document, b"", 1)
    return contract.ignore_unknown or _looks_so(rest, contract)


def _looks_so(text: bytes, contract: Contract) -> bool:
    """Say whether the name of a field stands twice in `text`, or may be spelled with an escape."""
    return b"\\" in text or any(text.count(b'"%b"' % name.encode()) > 1 for name in contract.columns)


def _top_level_keys(line: bytes) -> list[str]:
    """Return every top-level key of `line`, a JSON object, repeated ones as often as they stand."""
    keys: list[str] = []

    def remember(pairs: list[tuple[str, Any]]) -> None:
        keys[:] = [key for key, _ in pairs]  # The outermost object is closed last.

    # Numbers stay text: int() refuses very long ones. What is not UTF-8 is somebody else's to say.
    json.loads(line.decode(errors="replace"), object_pairs_hook=remember, parse_int=str, parse_float=str)
    return keys
