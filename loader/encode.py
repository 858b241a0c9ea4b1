"""Valid rows -> the binary COPY format, in the order in which they are to be merged. Pure.

Wire forms: PostgreSQL manual, COPY, "Binary Format"; `uuid` is its 16 bytes, `jsonb` is the byte 1, then text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pgpq.encoders
import pgpq.schema
import polars as pl
import pyarrow as pa
from pgpq import ArrowToPostgresBinaryEncoder

from loader.contract import KEY, PROVENANCE, Contract, Kind


def in_merge_order(frame: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Return `frame` (Block.frame's columns) with its UUIDs as 16 bytes, by event_id, file_id and line.

    One column more, `again` Boolean, says that an earlier row has the same event_id.
    """
    binary_ids = [
        pl.col(field.name).str.replace_all("-", "", literal=True).str.decode("hex").alias(field.name)
        for field in contract.fields
        if field.kind is Kind.UUID
    ]
    ordered = frame.with_columns(binary_ids).sort(KEY, *PROVENANCE)
    return ordered.with_columns(again=(pl.col(KEY) == pl.col(KEY).shift()).fill_null(value=False))


def encode(frame: pl.DataFrame, contract: Contract) -> bytes:
    """Return `frame`, as `in_merge_order` returns it, in the binary COPY format, its columns in COPY's order."""
    table: Any = frame.select(*contract.columns, *PROVENANCE, "again").rechunk().to_arrow()
    kinds = {field.name: field.kind for field in contract.fields}
    encoder = ArrowToPostgresBinaryEncoder.new_with_encoders(table.schema, _encoders(table.schema, kinds))
    batches = table.combine_chunks().to_batches()
    return b"".join([encoder.write_header(), *(encoder.write_batch(batch) for batch in batches), encoder.finish()])


def _encoders(schema: pa.Schema, kinds: Mapping[str, Kind]) -> dict[str, Any]:
    encoders: dict[str, Any] = {}
    for column in schema:
        if kinds.get(column.name) is Kind.JSONB:
            jsonb = pgpq.schema.Jsonb()
            encoders[column.name] = pgpq.encoders.LargeStringEncoderBuilder.new_with_output(column, jsonb)
        else:
            encoders[column.name] = ArrowToPostgresBinaryEncoder.infer_encoder(column)
    return encoders
