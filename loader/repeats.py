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


def suspects(columns: Columns, lines: Sequence[bytes], contract: Contract) -> Iterator[int]:
    """Yield the rows that could hold a key twice.

    columns: as decoded, documents as Binary. lines: the text of each row.

    A line can't be shorter than its keys, values and punctuation without any white space and escapes. Where it is
    longer by less than the shortest member, there is no room for another member, which settles most lines.
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
    room = pl.col("length") - shortest
    smallest_member = min(len(name.encode()) for name in columns) + len('"":1,')
    frame = pl.DataFrame(columns).with_columns(length=pl.Series(list(map(len, lines)), dtype=pl.Int64))
    roomy = frame.with_row_index("row").filter(room >= smallest_member)
    documents = [name for name in columns if columns[name].dtype == pl.Binary]
    for row, *values in roomy.select("row", *documents).iter_rows():
        if _may_repeat(lines[row], values, contract):
            yield row


def in_line(line: bytes, contract: Contract) -> list[Problem]:
    """Return a problem for each field of the contract whose key stands more than once in `line`, a JSON object."""
    if b"\\" not in line and not any(_stands_twice(name, line) for name in contract.columns):
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
    """Say whether a key could stand twice in `line`, by counting keys outside of the nested documents."""
    rest = line
    for document in documents:
        if document is not None and document.startswith((b"{", b"[")):  # Of a scalar the like may stand inside a key.
            rest = rest.replace(document, b"", 1)
    if b"\\" in rest or contract.ignore_unknown:
        return True
    return any(_stands_twice(name, rest) for name in contract.columns)


def _stands_twice(name: str, text: bytes) -> bool:
    return text.count(b'"%b"' % name.encode()) > 1


def _top_level_keys(line: bytes) -> list[str]:
    """Return every top-level key of `line`, a JSON object, repeated ones as often as they stand."""
    keys: list[str] = []

    def remember(pairs: list[tuple[str, Any]]) -> None:
        keys[:] = [key for key, _ in pairs]  # The outermost object is closed last.

    # Numbers stay text: int() refuses very long ones. What is not UTF-8 is somebody else's to say.
    json.loads(line.decode(errors="replace"), object_pairs_hook=remember, parse_int=str, parse_float=str)
    return keys
