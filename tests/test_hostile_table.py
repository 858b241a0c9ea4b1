"""Every poison file of `hostile.py` has its exact outcome, and stops none of those that lie beside it."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import zlib
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest

from loader import cli
from loader.names import printable
from tests import hostile
from tests.conftest import new_database
from tests.hostile import CASES, Case, is_safe
from tests.support import Query, Report, event, write_ndjson

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

MEGABYTE = 1 << 20
MEMORY_LIMIT = 600 * MEGABYTE


@dataclass(frozen=True)
class Loaded:
    """What a run on a folder left behind."""

    landing: Path
    code: int
    report: Report
    out: str
    err: str
    ledger: list[tuple[Any, ...]]
    events: Counter[str]  # by the file that brought them
    rejects: dict[str, list[tuple[int, str]]]  # by file: line, codes

    def file(self, case: Case) -> dict[str, Any]:
        (found,) = [file for file in self.report["files"] if file["name"] == printable(case.file)]
        return dict(found)


def load(landing: Path, conninfo: str) -> Loaded:
    """Run the loader as a cron job would, with all that it says."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        where = ["--landing", str(landing), "--database-url", conninfo]
        code = cli.main(["run", "--json", "--settle", "0", *where])
    with psycopg.connect(conninfo) as connection:
        ledger = connection.execute("SELECT * FROM loader_files").fetchall()
        per_file = "SELECT name, count(*) FROM events JOIN loader_files USING (file_id) GROUP BY name"
        events = Counter[str](dict(connection.execute(per_file).fetchall()))
    rejects: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for path in (landing / "quarantine").glob("*.rejected.ndjson"):
        if path.stem.count(".") >= 2:  # A refused file may be called so, too.
            for row in map(json.loads, path.read_bytes().splitlines()):
                rejects[row["source"]].append((row["line"], "+".join(error["code"] for error in row["errors"])))
    return Loaded(landing, code, json.loads(out.getvalue()), out.getvalue(), err.getvalue(), ledger, events, rejects)


def check(loaded: Loaded, case: Case) -> None:
    file = loaded.file(case)
    assert (file["status"], file["read"], file["inserted"]) == (case.status, case.read, case.inserted), file["error"]
    assert (file["error"] or "").partition(":")[0] == (case.code or "")
    assert file["duplicates"] == file["conflicts"] == 0
    assert loaded.events[file["name"]] == case.inserted
    found = loaded.rejects[file["name"]]
    assert [line for line, _ in found] == [line for line, _ in case.rejects]
    assert all(due in ("*", codes) for (_, codes), (_, due) in zip(found, case.rejects, strict=True)), found[:20]
    assert not (loaded.landing / case.file).exists()


@pytest.fixture(scope="module")
def all_at_once(server: str, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    """All cases that the loader deals with, in one folder, a good file beside each."""
    landing = tmp_path_factory.mktemp("hostile")
    for number, case in enumerate(hostile.CASES):
        case.write(landing)
        write_ndjson(landing / f"good-{number}.ndjson", event())
    with new_database(server, template=template) as (_, conninfo):
        yield load(landing, conninfo)


@pytest.mark.slow
@pytest.mark.parametrize("case", hostile.CASES, ids=str)
def test_each_poison_file_has_its_outcome(all_at_once: Loaded, case: Case) -> None:
    check(all_at_once, case)


@pytest.mark.slow
def test_no_poison_file_stops_the_good_ones(all_at_once: Loaded) -> None:
    good = [file for file in all_at_once.report["files"] if file["name"].startswith("good-")]
    assert len(good) == len(hostile.CASES)
    assert {(file["status"], file["inserted"]) for file in good} == {("loaded", 1)}


@pytest.mark.slow
def test_the_exit_code_says_that_files_were_refused(all_at_once: Loaded) -> None:
    assert (all_at_once.code, all_at_once.report["error"]) == (1, None)


@pytest.mark.slow
def test_every_refused_file_is_in_quarantine_with_its_reason(all_at_once: Loaded) -> None:
    refused = {printable(case.file): case.code for case in hostile.CASES if case.status == "refused"}
    reasons = [json.loads(path.read_bytes()) for path in (all_at_once.landing / "quarantine").glob("*.error.json")]
    assert {reason["source"]: reason["code"] for reason in reasons} == refused


@pytest.mark.slow
def test_landing_is_empty_afterwards(all_at_once: Loaded) -> None:
    assert [path.name for path in all_at_once.landing.iterdir() if path.is_file()] == []


def assert_safe(loaded: Loaded) -> None:
    """Nothing of what was said or noted could steer a terminal or break a log line."""
    assert [line for line in loaded.err.split("\n") if not is_safe(line)] == []
    assert is_safe(loaded.out.removesuffix("\n"))
    said = [value for file in loaded.report["files"] for value in file.values() if isinstance(value, str)]
    noted = [value for row in loaded.ledger for value in row if isinstance(value, str)]
    reasons = [
        value
        for path in (loaded.landing / "quarantine").glob("*.error.json")
        for value in json.loads(path.read_bytes()).values()
    ]
    assert [text for text in (*said, *noted, *reasons) if not is_safe(text)] == []


@pytest.mark.slow
def test_nothing_that_is_said_or_noted_can_steer_a_terminal(all_at_once: Loaded) -> None:
    assert_safe(all_at_once)


@pytest.mark.slow
def test_control_characters_in_values_are_stored_as_they_are(server: str, template: str, tmp_path: Path) -> None:
    write_ndjson(tmp_path / "a.ndjson", event(user_id=hostile.ESCAPES, event_name=hostile.ESCAPES))
    with new_database(server, template=template) as (_, conninfo):
        load(tmp_path, conninfo)
        with psycopg.connect(conninfo) as connection:
            assert connection.execute("SELECT user_id, event_name FROM events").fetchall() == [(hostile.ESCAPES,) * 2]


def test_parquet_with_an_encrypted_column_is_refused_and_stops_no_other(
    database: str, landing: Path, query: Query
) -> None:
    (landing / "a.parquet").write_bytes(hostile.encrypted(plain_footer=True))
    write_ndjson(landing / "zz-good.ndjson", event())
    where = ["--landing", str(landing), "--database-url", database, "--settle", "0", "--quiet"]
    done = subprocess.run([sys.executable, "-m", "loader", "run", *where], capture_output=True, check=False)
    assert query("SELECT count(*) FROM events") == [(1,)], done.stderr
    assert query("SELECT status, error_code FROM loader_files WHERE name = 'a.parquet'") == [("refused", "corrupt")]


def test_no_two_cases_share_a_name() -> None:
    assert len({case.file for case in CASES}) == len({case.name for case in CASES}) == len(CASES)


@pytest.mark.parametrize("name", [".ndjson", "..ndjson", "...ndjson", ".-.parquet", ".hidden.ndjson.gz"])
def test_names_that_start_with_a_dot_are_left_alone(database: str, landing: Path, name: str) -> None:
    write_ndjson(landing / name, event())
    loaded = load(landing, database)
    assert (loaded.code, loaded.report["files"]) == (0, [])
    assert (landing / name).exists()


# --- Bombs -----------------------------------------------------------------------------------------------------------

# The peak of this very program. Its ru_maxrss would start with that of the process that began it.
_MEASURED = """
import pathlib, re, resource, sys
from loader import cli
limit = 4 << 30
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
code = cli.main(sys.argv[1:])
status = pathlib.Path("/proc/self/status")
if status.exists():
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) << 10
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(code, peak, file=sys.stderr)
"""


def measured(*arguments: str) -> tuple[Report, int]:
    """Run the loader in a process of its own; return its report and the most memory that it took."""
    done = subprocess.run([sys.executable, "-c", _MEASURED, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), int(done.stderr.splitlines()[-1].split()[1])


def gzip_bomb(path: Path, block: bytes, count: int) -> None:
    squeezer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with path.open("wb") as file:
        for _ in range(count):
            file.write(squeezer.compress(block))
        file.write(squeezer.flush())


def zstd_bomb(path: Path, block: bytes, count: int) -> None:
    squeezer = zstd.ZstdCompressor(1)
    with path.open("wb") as file:
        for _ in range(count):
            file.write(squeezer.compress(block))
        file.write(squeezer.flush())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "block", "codes"),
    [
        ("zeros.ndjson.gz", b"\0", ["line_too_long"]),
        ("zeros.ndjson.zst", b"\0", ["line_too_long"]),
        ("brackets.ndjson.zst", b"[", ["line_too_long"]),
    ],
)
def test_a_gigabyte_in_a_small_file_is_one_rejected_row_in_little_memory(
    database: str, landing: Path, name: str, block: bytes, codes: list[str]
) -> None:
    (gzip_bomb if name.endswith(".gz") else zstd_bomb)(landing / name, block * MEGABYTE, 1024)
    write_ndjson(landing / "zz-good.ndjson", event())
    assert (landing / name).stat().st_size < 6 * MEGABYTE
    report, peak = measured("run", "--json", "--settle", "0", "--landing", str(landing), "--database-url", database)
    assert [(file["status"], file["read"], file["inserted"]) for file in report["files"]] == [
        ("loaded", 1, 0),
        ("loaded", 1, 1),
    ]
    (rejects,) = (landing / "quarantine").glob("*.rejected.ndjson")
    row = json.loads(rejects.read_bytes())
    assert [error["code"] for error in row["errors"]] == codes
    assert row["raw_truncated_from"] == 1024 * MEGABYTE
    assert peak < MEMORY_LIMIT


@pytest.mark.slow
def test_a_bomb_of_short_bad_lines_takes_little_memory(landing: Path) -> None:
    zstd_bomb(landing / "a.ndjson.zst", b"{\n" * 50_000, 3)
    report, peak = measured("validate", "--json", "--quiet", str(landing / "a.ndjson.zst"))
    assert (report["read"], report["rejected"]) == (150_000, 150_000)
    assert peak < MEMORY_LIMIT


def struct_bomb() -> pa.Array:
    """A struct whose one field has a very long name: each row's JSON text holds it, the file has it but once."""
    return hostile.struct(**{"x" * 200_000: pa.array([1] * 4000, pa.int8())})


def list_bomb() -> pa.Array:
    """One row with a list of very many nulls, which take no space in the file."""
    count = 9_000_000
    return hostile.struct(a=pa.ListArray.from_arrays(pa.array([0, count], pa.int32()), pa.nulls(count, pa.int8())))


@pytest.mark.slow
@pytest.mark.parametrize("bomb", [struct_bomb, list_bomb])
def test_a_nested_parquet_column_that_grows_as_json_takes_little_memory(landing: Path, bomb: Any) -> None:
    properties = bomb()
    path = landing / "a.parquet"
    path.write_bytes(hostile.written(hostile.table(len(properties), properties=properties), compression="zstd"))
    assert path.stat().st_size < 2 * MEGABYTE
    report, peak = measured("validate", "--json", "--quiet", str(path))
    assert report["read"] == len(properties)
    assert peak < MEMORY_LIMIT
