"""kill -9 at any step of a replay, then the same command again: nothing is lost, nothing is doubled."""

from __future__ import annotations

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from loader import cli, resources
from tests.support import Load, Query, event, quarantined, write_ndjson
from tests.torture import crash_child
from tests.torture.harness import backends, is_long, until

pytestmark = pytest.mark.slow
STEPS = [
    "claimed",
    "decoded a shared block",
    "wrote to COPY",
    "staged",
    "merged all",
    "quarantine written, not renamed",
    "quarantine renamed",
    "quarantine published",
    "ledger not written",
    "ledger written",
    "COMMIT sent",
    "committed",
    "not archived",
    "chose a name in the archive",
    "archived",
]
# About as many calls and returns of the loader's functions as the replay takes.
CALLS = 16_000
COLOURED = 40


@pytest.fixture
def command(database: str, landing: Path, load: Load, tmp_path: Path) -> list[str]:
    """`loader replay` of two quarantine files, each with rows that load now, rows that don't, and a conflict."""
    contracts = tmp_path / "relaxed"
    shutil.copytree(resources.bundled("contracts"), contracts)
    text = (contracts / "events.py").read_text()
    (contracts / "events.py").write_text(text.replace('"unknown_fields": "reject"', '"unknown_fields": "ignore"'))
    first = event()
    for name in ("a", "b"):
        coloured = [event(colour="red", user_id=name) for _ in range(COLOURED)]
        write_ndjson(landing / f"{name}.ndjson", first, first | {"user_id": name}, "{" + name, *coloured)
    load()
    files = sorted(map(str, (landing / "quarantine").glob("*.rejected.ndjson")))
    where = ["--quiet", "--landing", str(landing), "--database-url", database, "--contracts", str(contracts)]
    return ["replay", *where, *files]


def _killed(command: Sequence[str], step: str, nth: int = 1) -> int:
    child = [sys.executable, crash_child.__file__, "--step", step, "--nth", str(nth), "--", *command]
    return subprocess.run(child, capture_output=True, check=False).returncode


def _again_and_check(command: Sequence[str], database: str, landing: Path, query: Query) -> None:
    until(lambda: not backends(database), "the end of the killed loader's sessions")
    assert cli.main(list(command)) in (0, 3)
    assert query("SELECT count(*) FROM events") == [(1 + 2 * COLOURED,)]
    assert query(
        "SELECT name, rows_read, rows_inserted, rows_duplicate, rows_conflict, rows_rejected FROM loader_files"
        " WHERE replay_of IS NOT NULL ORDER BY name"
    ) == [(Path(name).name, COLOURED + 2, COLOURED, 0, 1, 1) for name in command[-2:]]
    rows = [(row["replayed_from"]["source"], row["replayed_from"]["line"]) for row in quarantined(landing)]
    assert sorted(rows) == [("a.ndjson", 2), ("a.ndjson", 3), ("b.ndjson", 2), ("b.ndjson", 3)]
    assert len(list(landing.glob("quarantine/*"))) == 2
    assert not list(landing.glob("quarantine/.*"))
    assert len(list(landing.glob("archive/*/*.rejected.*"))) == 2


@pytest.mark.parametrize("step", STEPS)
def test_killed_at_a_step(command: list[str], database: str, landing: Path, query: Query, step: str) -> None:
    assert _killed(command, step) == -signal.SIGKILL
    _again_and_check(command, database, landing, query)


@pytest.mark.parametrize("seed", range(100 if is_long() else 5))
def test_killed_at_any_call(command: list[str], database: str, landing: Path, query: Query, seed: int) -> None:
    nth = random.Random(seed).randint(1, CALLS)
    assert _killed(command, "any call", nth) in (-signal.SIGKILL, 3)
    _again_and_check(command, database, landing, query)


def test_killed_twice(command: list[str], database: str, landing: Path, query: Query) -> None:
    assert _killed(command, "quarantine renamed", 2) == -signal.SIGKILL
    until(lambda: not backends(database), "the end of the killed loader's sessions")
    assert _killed(command, "archived") == -signal.SIGKILL
    _again_and_check(command, database, landing, query)


def test_killed_and_its_file_edited(command: list[str], database: str, landing: Path, query: Query) -> None:
    """What the dead replay left in quarantine is of a content that will never come again."""
    assert _killed(command, "quarantine renamed", 2) == -signal.SIGKILL
    for name in command[-2:]:
        rows: list[dict[str, Any]] = [json.loads(line) for line in Path(name).read_text().splitlines()]
        write_ndjson(Path(name), *(row | {"raw": row["raw"] + " "} for row in rows))
    _again_and_check(command, database, landing, query)


def test_two_replays_of_the_same_files_at_once(command: list[str], database: str, landing: Path, query: Query) -> None:
    both = [subprocess.Popen([sys.executable, "-m", "loader", *command], stderr=subprocess.PIPE) for _ in range(2)]
    for one in both:
        said = one.communicate()[1]
        assert one.returncode in (0, 1, 2, 3), said
    _again_and_check(command, database, landing, query)
