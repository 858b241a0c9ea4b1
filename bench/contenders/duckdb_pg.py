"""DuckDB with its postgres extension: reads the NDJSON, inserts into typed staging in Postgres, then one merge.

The extension sends an INSERT as COPY in the binary format. It comes as a package of its own, so that nothing is
downloaded at run time; DuckDB checks its signature as it loads it. The columns' types are given rather than detected;
as JSON, ``properties`` keeps its text. Staging and merge are one transaction of DuckDB's, and of Postgres'.
One core is left to the server: on two, where both share them, that halved DuckDB's CPU time and was faster as well.
"""

from __future__ import annotations

import importlib.resources
import os

from bench.contenders.common import arguments, need, statement

_COLUMNS = {
    "event_id": "UUID",
    "event_time": "TIMESTAMPTZ",
    "event_name": "VARCHAR",
    "user_id": "VARCHAR",
    "properties": "JSON",
}
_INSERT = """
    INSERT INTO postgres.contender_staging (event_id, event_time, event_name, user_id, properties)
    SELECT event_id, event_time, event_name, user_id, properties
    FROM read_ndjson($files, columns = $columns)
"""


def main() -> None:
    """Stage and merge in one transaction."""
    need("duckdb", "duckdb_extension_postgres_scanner")
    import duckdb

    conninfo, files = arguments()
    folder = importlib.resources.files("duckdb_extension_postgres_scanner") / "extensions" / f"v{duckdb.__version__}"
    with duckdb.connect(config={"threads": max(1, (os.cpu_count() or 1) - 1)}) as connection:
        connection.load_extension(str(folder / "postgres_scanner.duckdb_extension"))
        quoted = conninfo.replace("'", "''")
        connection.execute(f"ATTACH '{quoted}' AS postgres (TYPE postgres)")
        connection.begin()
        connection.execute("CALL postgres_execute('postgres', ?)", [statement("create_staging.sql")])
        connection.execute(_INSERT, {"files": [str(path) for path in files], "columns": _COLUMNS})
        connection.execute("CALL postgres_execute('postgres', ?)", [statement("merge_staging.sql")])
        connection.execute("CALL postgres_execute('postgres', 'DROP TABLE contender_staging')")
        connection.commit()


if __name__ == "__main__":
    main()
