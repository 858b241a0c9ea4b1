"""A crowd of loaders on one landing folder: every file is loaded once, and nobody is in anybody's way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.torture.corpus import Maker, drop, ndjson, other
from tests.torture.harness import Child, check, inputs_left, is_long
from tests.torture.model import Input

pytestmark = pytest.mark.slow
LOADERS = 8
FILES = 2_000 if is_long() else 200
# Many small loads instead of one large one, so that all have something to do.
SETTINGS = (f"loader.run.BATCH_FILES={FILES // 40}",)


def _files() -> list[Input]:
    """Each file has events of its own, repeats some of others, contradicts a few, and now and then has a bad row."""
    make = Maker(3)
    pool = make.events(FILES * 3)
    files = []
    for number in range(FILES):
        lines = [*make.events(5), *make.chance.sample(pool, 20)]
        if number % 3 == 0:
            lines.append(other(make.chance.choice(pool)))
        make.chance.shuffle(lines)
        bad = [make.bad(number)] * (number % 7 == 0)
        files.append(Input(f"{number:04}.ndjson", ndjson(*lines, *bad)))
    return files


def test_eight_loaders_share_a_folder(database: str, landing: Path) -> None:
    files = _files()
    drop(landing, files)
    loaders = [Child(landing, database, settings=SETTINGS, more=["--json"]) for _ in range(LOADERS)]
    loaded: list[str] = []
    for loader in loaders:
        code, out, said = loader.end()
        assert code in (0, 3), said
        assert "deadlock" not in said
        assert "Traceback" not in said
        report = json.loads(out)
        assert report["read"] == sum(report[what] for what in ("inserted", "duplicates", "conflicts", "rejected"))
        loaded += [file["name"] for file in report["files"] if file["status"] == "loaded"]
    assert inputs_left(landing) == []
    assert sorted(loaded) == [file.name for file in files]
    check(landing, database, files, together=())
