"""Rows in COPY's format, all at once or begun ahead."""

from __future__ import annotations

import struct
import uuid
from itertools import islice

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loader import contract, encode, units

TERMS = contract.load()
HEADER_BYTES = 19  # signature, flags, length of the extension
TRAILER = struct.pack("!h", -1)


@pytest.fixture(autouse=True)
def _small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encode, "_FIRST_ROWS", 3)
    monkeypatch.setattr(encode, "_PIECE_ROWS", 5)


def _rows(count: int) -> pl.DataFrame:
    """Rows with user ids of their own."""
    times = pl.Series(range(count), dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))
    fields: dict[str, object] = {name: ["{}"] * count for name in TERMS.columns}
    fields |= {"event_id": [str(uuid.UUID(int=number)) for number in range(count)], "event_time": times}
    fields |= {"user_id": [f"user {number}" for number in range(count)]}
    frame = pl.DataFrame({"file_id": [1] * count, "line": range(count)} | fields)
    return units.in_merge_order(units.with_binary_ids(frame, TERMS))


def _user_ids(encoded: bytes) -> list[str]:
    """Read COPY's format back: a count of fields for each row, a length before each value."""
    assert encoded.endswith(TRAILER)
    found = []
    position = HEADER_BYTES
    while position < len(encoded) - len(TRAILER):
        (fields,) = struct.unpack_from("!h", encoded, position)
        position += 2
        values = []
        for _ in range(fields):
            (length,) = struct.unpack_from("!i", encoded, position)
            position += 4
            values.append(encoded[position : position + length])
            position += length
        found.append(values[TERMS.columns.index("user_id")].decode())
    return found


@given(wanted=st.lists(st.booleans(), min_size=1, max_size=30).filter(any))
def test_just_the_rows_asked_for_are_encoded_in_their_order(wanted: list[bool]) -> None:
    encoded = b"".join(encode.encode(_rows(len(wanted)), TERMS, pl.Series(wanted)))
    assert _user_ids(encoded) == [f"user {number}" for number, is_wanted in enumerate(wanted) if is_wanted]


@given(wanted=st.lists(st.booleans(), min_size=1, max_size=30).filter(any))
def test_what_is_begun_ahead_is_encoded_alike(wanted: list[bool]) -> None:
    rows, where = _rows(len(wanted)), pl.Series(wanted)
    assert list(encode.begun(rows, TERMS, where)) == list(encode.encode(rows, TERMS, where))


def test_the_first_pieces_are_made_before_anybody_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    really = encode.encode

    def noting(*arguments: pl.DataFrame) -> object:
        for piece in really(*arguments):  # type: ignore[arg-type]
            made.append(len(piece))
            yield piece

    monkeypatch.setattr(encode, "encode", noting)
    pieces = encode.begun(_rows(30), TERMS, pl.Series([True] * 30))
    assert len(made) == 3
    next(pieces)
    assert len(made) == 3
    assert len(list(islice(pieces, 3))) == 3
    assert len(made) == 4
