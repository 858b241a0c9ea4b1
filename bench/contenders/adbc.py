"""ADBC: Arrow batches through adbc_ingest, which writes COPY's binary format in C, into typed staging, then one merge.

The staging table is made beforehand and appended to: what the driver would create has text columns, and parsing uuid
and jsonb from them only in the merge took longer. The driver writes an Arrow column as it is, so each one is given the
bytes that PostgreSQL's binary format wants: 16 for a uuid, and for jsonb its version number, 1, before the text.
Batches are read while the driver sends, so that memory stays bounded. One transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa

from bench.contenders.common import arguments, need, statement, tables

_SCHEMA = pa.schema(
    [
        ("event_id", pa.binary()),
        ("event_time", pa.timestamp("us", "UTC")),
        ("event_name", pa.string()),
        ("user_id", pa.string()),
        ("properties", pa.binary()),
    ]
)


def main() -> None:
    """Stage and merge in one transaction."""
    need("adbc_driver_postgresql")
    from adbc_driver_postgresql import dbapi

    conninfo, files = arguments()
    with dbapi.connect(conninfo) as connection, connection.cursor() as cursor:
        cursor.execute(statement("create_staging.sql"))
        reader = pa.RecordBatchReader.from_batches(_SCHEMA, _batches(files))
        cursor.adbc_ingest("contender_staging", reader, mode="append")
        cursor.execute(statement("merge_staging.sql"))
        cursor.execute("DROP TABLE contender_staging")
        connection.commit()


def _batches(files: list[Path]) -> Iterator[pa.RecordBatch]:
    for table in tables(files):
        frame = pl.DataFrame(table).select(
            pl.col("event_id").str.replace_all("-", "", literal=True).str.decode("hex"),
            pl.col("event_time").str.to_datetime("%+", time_unit="us", time_zone="UTC"),
            "event_name",
            "user_id",
            pl.concat_str(pl.lit("\x01"), "properties").cast(pl.Binary).alias("properties"),
        )
        yield from frame.to_arrow().cast(_SCHEMA).to_batches()


if __name__ == "__main__":
    main()
