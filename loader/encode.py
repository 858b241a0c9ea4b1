"""Valid rows -> the binary COPY format. Pure.

Wire forms: PostgreSQL manual, COPY, "Binary Format"; `uuid` is its 16 bytes, `jsonb` is the byte 1, then text.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from itertools import islice, pairwise
from typing import Any

import pgpq.encoders
import pgpq.schema
import polars as pl
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder

from loader.contract import PROVENANCE, Contract, Kind

_PIECE_ROWS = 8192
_FIRST_ROWS = 1024  # Postgres waits for the first piece
_BEGINNING = 3  # pieces: the header, so many rows, and those of a larger one


def encode(frame: pl.DataFrame, contract: Contract, where: pl.Series | None = None) -> Generator[bytes]:
    """Yield `frame`, as `units.in_merge_order` returns it, in the binary COPY format, its columns in COPY's order.

    Only rows for which `where` (Boolean) holds; some do. It comes in pieces, so that Postgres works on the first while
    the next is encoded.
    """
    rows = (frame if where is None else frame.filter(where)).select(*contract.columns, *PROVENANCE)
    starts = [0, *range(_FIRST_ROWS, rows.height, _PIECE_ROWS)]
    kinds = {field.name: field.kind for field in contract.fields}
    encoder: Any = None
    for start, end in pairwise([*starts, rows.height]):
        table: Any = rows[start:end].to_arrow()
        if encoder is None:
            encoder = ArrowToPostgresBinaryEncoder.new_with_encoders(table.schema, _encoders(table.schema, kinds))
            yield encoder.write_header()
        for batch in table.combine_chunks().to_batches():
            yield encoder.write_batch(batch)
    yield encoder.finish()


def begun(frame: pl.DataFrame, contract: Contract, where: pl.Series) -> Generator[bytes]:
    """Return what `encode` does, the first pieces of it made already."""
    pieces = encode(frame, contract, where)
    beginning = list(islice(pieces, _BEGINNING))

    def resumed() -> Generator[bytes]:
        yield from beginning
        yield from pieces

    return resumed()


def _encoders(schema: pa.Schema, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    encoders: dict[str, Any] = {}
    for column in schema:
        if kinds.get(column.name) is Kind.JSONB:
            jsonb = pgpq.schema.Jsonb()
            encoders[column.name] = pgpq.encoders.LargeStringEncoderBuilder.new_with_output(column, jsonb)
        else:
            encoders[column.name] = ArrowToPostgresBinaryEncoder.infer_encoder(column)
    return encoders
