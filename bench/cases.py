"""What is loaded, by whom, into what."""

from __future__ import annotations

import compileall
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

import loader
from bench import contenders
from bench.data import DataSet, Store
from bench.measure import ContenderError, Measured, measure
from bench.server import Server
from loader.embedded_home import binaries

_FLOOR = Path(__file__).parent / "contenders" / "floor.sql"
# What the optional contenders need; requirements.txt has it.
_PACKAGES = {
    "adbc": ("adbc_driver_postgresql",),
    "dlt_merge": ("dlt", "psycopg2", "adbc_driver_postgresql"),
    "duckdb_pg": ("duckdb", "duckdb_extension_postgres_scanner"),
}
_PREFILL = """
    INSERT INTO events (event_id, event_time, event_name, user_id, properties)
    SELECT overlay(overlay(md5(i::text) PLACING '4' FROM 13) PLACING '8' FROM 17)::uuid,
           '2025-01-01Z'::timestamptz + i * interval '1 second', 'prefilled', 'nobody', '{}'
    FROM generate_series(1, %s) AS i
    ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Entry:
    """One way to load one data set into one kind of database."""

    label: str
    contender: str  # "loader", or the name of a module in bench.contenders
    data: DataSet
    prefilled: int = 0  # rows in `events` before
    preloaded: DataSet | None = None  # rows of this data set are in `events` before
    arguments: tuple[str, ...] = ()  # more arguments for `loader run`

    @property
    def needs(self) -> str | None:
        """The package that is missing, if any."""
        packages = _PACKAGES.get(self.contender, ())
        return next((package for package in packages if importlib.util.find_spec(package) is None), None)


@dataclass(frozen=True, slots=True)
class Case:
    """Entries to compare with the first of them; targets are ratios of wall time to it, by label."""

    name: str
    title: str
    entries: tuple[Entry, ...]
    targets: dict[str, float] = field(default_factory=dict)
    per_row: bool = False  # compare seconds a row, since the entries differ in rows


def cases(scale: float = 1.0) -> list[Case]:
    """Return all cases; `scale` below 1 makes them smaller, to try the harness."""

    def count(rows: int, files: int = 1) -> int:
        return max(files, int(rows * scale))

    million = DataSet(count(1_000_000))
    prefilled = count(20_000_000)
    others = [Entry(name, name, million) for name in ("handwritten", "copy_msgspec", "copy_rows", "adbc", "duckdb_pg")]
    slow = [Entry(name, name, million) for name in ("naive", "dlt_merge")]
    found: list[Case] = [
        Case(
            "fresh",
            "one NDJSON file into an empty table",
            (Entry("floor", "floor", million), Entry("loader", "loader", million), *others, *slow),
            {"loader": 0.85},
        ),
    ]
    parquet = DataSet(million.rows, format="parquet")
    found.append(
        Case(
            "parquet",
            "one Parquet file into an empty table",
            (Entry("floor", "floor", parquet), Entry("loader", "loader", parquet)),
            {"loader": 0.75},
        )
    )
    hundred = DataSet(count(1_000_000, 100), files=100)
    found.append(
        Case(
            "hundred",
            "100 NDJSON files into an empty table",
            (
                Entry("floor", "floor", hundred),
                Entry("loader --jobs 2", "loader", hundred, arguments=("--jobs", "2")),
                Entry("loader", "loader", hundred),
            ),
            {"loader --jobs 2": 0.70},
        )
    )
    found.append(
        Case(
            "prefilled",
            f"one NDJSON file into a table of {prefilled:,} rows",
            (
                Entry("floor", "floor", million, prefilled=prefilled),
                Entry("loader", "loader", million, prefilled=prefilled),
            ),
            {"loader": 0.85},
        )
    )
    uuid7 = DataSet(million.rows, uuid=7)
    found.append(
        Case(
            "uuid7",
            "one NDJSON file with UUIDv7 keys into an empty table",
            (Entry("floor", "floor", uuid7), Entry("loader", "loader", uuid7)),
        )
    )
    small = DataSet(count(1_000_000, 10_000), files=10_000 if scale >= 1 else 50)
    found.append(
        Case(
            "small",
            "many small files against one file of the same rows",
            (Entry("loader, one file", "loader", million), Entry("loader, small files", "loader", small)),
            {"loader, small files": 1.5},
        )
    )
    found.append(
        Case(
            "duplicates",
            "a file whose rows are all in the table already, against a fresh load",
            (
                Entry("loader, fresh", "loader", million),
                Entry("loader, all duplicates", "loader", DataSet(million.rows, variant="-again"), preloaded=million),
            ),
            {"loader, all duplicates": 1.0},
        )
    )
    found.append(
        Case(
            "large",
            "5 GB against 500 MB, per row",
            (
                Entry("loader, 500 MB", "loader", DataSet(count(1_650_000))),
                Entry("loader, 5 GB", "loader", DataSet(count(16_500_000))),
            ),
            {"loader, 5 GB": 1.15},
            per_row=True,
        )
    )
    return found


class Bench:
    """Runs entries on a server, each in a database made for it."""

    def __init__(self, server: Server, store: Store, scratch: Path) -> None:
        self._server = server
        self._store = store
        self._scratch = scratch
        # An installation has its bytecode; where Python may write none, each run would measure the compiler, too.
        for package in (loader, contenders):
            compileall.compile_dir(package.__path__[0], quiet=1)

    def run(self, entry: Entry) -> Measured:
        """Run an entry once.

        Raises:
            ContenderError: it failed, or not every distinct event is in the table afterwards.
        """
        template = self._template(entry)
        counted = self._store.counted(entry.data)
        conninfo = self._server.fresh(template)
        if entry.contender == "loader":
            measured, printed = self._load(entry.data, conninfo, *entry.arguments)
            self._check_report(entry, json.loads(printed), counted.valid)
        else:
            command = self._floor(entry, conninfo) if entry.contender == "floor" else self._other(entry, conninfo)
            measured, printed = measure(self._server, command)
        with psycopg.connect(conninfo) as connection:
            row = connection.execute("SELECT count(*) FROM events").fetchone()
        stored = int(printed) if printed.strip().isdigit() else (row[0] if row else 0)
        expected = counted.distinct + (0 if printed.strip().isdigit() else entry.prefilled)
        if stored != expected:
            raise ContenderError(f"{entry.label}: {stored:,} rows are stored, {expected:,} were expected")
        return measured

    def _template(self, entry: Entry) -> str:
        name = "empty"
        if entry.prefilled:
            name = f"prefilled_{entry.prefilled}"
        elif entry.preloaded:
            name = f"preloaded_{entry.preloaded.rows}"
        conninfo, is_new = self._server.template(name)
        if is_new and entry.prefilled:
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute(_PREFILL, (entry.prefilled,))
                connection.execute("VACUUM ANALYZE events")
        if is_new and entry.preloaded:
            self._load(entry.preloaded, conninfo)
            with psycopg.connect(conninfo, autocommit=True) as connection:
                connection.execute("VACUUM ANALYZE events")
        return name

    def _load(self, data: DataSet, conninfo: str, *arguments: str) -> tuple[Measured, str]:
        where = ["--database-url", conninfo, "--landing", str(self._landing(data))]
        command = [sys.executable, "-m", "loader", "run", "--settle", "0", "--json", *where, *arguments]
        return measure(self._server, command, accepted=(0, 3))

    def _landing(self, data: DataSet) -> Path:
        """Return a landing folder with copies of the raw files.

        Those of earlier runs are emptied, not deleted: ext4 without a journal is slow to make files for minutes after
        many were.
        """
        landings = self._scratch / "landing"
        landings.mkdir(parents=True, exist_ok=True)
        for path in landings.rglob("*"):
            if path.is_file() and path.stat().st_size:
                os.truncate(path, 0)
        folder = Path(tempfile.mkdtemp(dir=landings))
        for path in self._store.raw(data):
            shutil.copyfile(path, folder / path.name)
        return folder

    def _floor(self, entry: Entry, conninfo: str) -> list[str]:
        """Return psql's command line: no process but psql, nothing to start but psql."""
        copies = self._scratch / "copies.sql"
        files = self._store.binary(entry.data, conninfo)
        copies.write_text("".join(f"\\copy floor_staging FROM '{path}' (FORMAT binary)\n" for path in files))
        return [str(binaries() / "psql"), conninfo, "-qX", "-v", f"copies={copies}", "-f", str(_FLOOR)]

    def _other(self, entry: Entry, conninfo: str) -> list[str]:
        files = map(str, self._store.clean(entry.data))
        return [sys.executable, "-m", f"bench.contenders.{entry.contender}", conninfo, *files]

    @staticmethod
    def _check_report(entry: Entry, report: dict[str, int], valid: int) -> None:
        if report["inserted"] + report["duplicates"] != valid or report["read"] - report["rejected"] != valid:
            raise ContenderError(f"{entry.label}: the report does not add up to {valid:,} valid rows")
