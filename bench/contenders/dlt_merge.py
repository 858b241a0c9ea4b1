"""dlt (data load tool): a merge into a table in a schema of its own, which begins empty; prints the rows in it.

How it is set up, and why:

- Arrow tables as source: dlt's normalizer of rows, which takes the greater part of the time otherwise, has nothing to
  do. ``properties`` stays one json column instead of being spread over child tables.
- Parquet as loader file format: the files that were extracted are loaded as they are, through ADBC, that is with COPY
  in the binary format. CSV, the other format loaded by COPY, took twice the client's CPU time.
- The merge strategy ``insert-only`` (MERGE ... WHEN NOT MATCHED), which is what immutable events ask for: what is
  stored stays. It wants every key once, so the source drops repeated keys. ``delete-insert`` drops them in the
  database, took as long for an empty table, and replaces rows that are stored already.
- dlt enforces a primary key only by a unique index on its staging table as well; the table is therefore made
  beforehand, with a primary key, so that its guarantee is that of ``events`` and staging goes without (dlt_table.sql).
- One file: loading several at once was no faster on two cores. No telemetry; dlt's working files are temporary.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import polars as pl
import psycopg
import pyarrow as pa
from psycopg.conninfo import conninfo_to_dict

from bench.contenders.common import arguments, need, statement, tables

_COLUMNS: Any = {
    "event_id": {"data_type": "text", "nullable": False, "primary_key": True},
    "event_time": {"data_type": "timestamp", "nullable": False},
    "event_name": {"data_type": "text", "nullable": False},
    "user_id": {"data_type": "text", "nullable": False},
    "properties": {"data_type": "json", "nullable": False},
}


def main() -> None:
    """Run a pipeline on a table that begins empty."""
    need("dlt", "psycopg2", "adbc_driver_postgresql")
    conninfo, files = arguments()
    with psycopg.connect(conninfo) as connection:
        connection.execute(statement("dlt_table.sql"))
    with tempfile.TemporaryDirectory() as folder:
        os.environ["DLT_DATA_DIR"] = folder
        os.environ["RUNTIME__DLTHUB_TELEMETRY"] = "false"
        os.environ["RUNTIME__LOG_LEVEL"] = "ERROR"  # it would warn that `properties` is declared as json, not as text
        import dlt

        pipeline = dlt.pipeline(
            "contender",
            pipelines_dir=folder,
            destination=dlt.destinations.postgres(_credentials(conninfo)),
            dataset_name="dlt_contender",
        )
        events = dlt.resource(
            _unique(files),
            name="events",
            write_disposition={"disposition": "merge", "strategy": "insert-only"},
            columns=_COLUMNS,
        )
        pipeline.run(events, loader_file_format="parquet")
    with psycopg.connect(conninfo) as connection:
        row = connection.execute("SELECT count(*) FROM dlt_contender.events").fetchone()
    print(row[0] if row else 0)  # the harness reads it


def _credentials(conninfo: str) -> dict[str, object]:
    given = conninfo_to_dict(conninfo)
    return {
        "database": given.pop("dbname", None),
        "username": given.pop("user", None),
        "password": given.pop("password", None) or "",
        "host": quote(str(given.pop("host", None) or "localhost"), safe=""),  # dlt puts it into a URL as it is
        "port": int(given.pop("port", None) or 5432),
        "query": given,
    }


def _unique(files: list[Path]) -> Iterator[pa.Table]:
    """Yield the events with a timestamp for their time, each event_id once."""
    seen: set[str] = set()
    for table in tables(files):
        frame = pl.DataFrame(table)
        is_new: list[bool] = []
        for event_id in frame["event_id"]:
            is_new.append(event_id not in seen)
            seen.add(event_id)
        yield (
            frame.filter(pl.Series(is_new, dtype=pl.Boolean))
            .with_columns(pl.col("event_time").str.to_datetime("%+", time_unit="us", time_zone="UTC"))
            .to_arrow()
        )


if __name__ == "__main__":
    main()
