"""A damaged Parquet file is read or refused; whatever its damage, the process goes on.

Each file is tried in a process of its own: pyarrow's C++ could end the process, which no `except` can prevent.
`LONG_TESTS=1` tries far more of them, and takes many minutes.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import fuzz_parquet
from tests.support import event

SEED = 7
CASES = 40_000 if os.environ.get("LONG_TESTS") else 400
# A column in the footer's schema: an optional byte array, with its name.
OPTIONAL, REQUIRED = b"\x15\x0c\x25\x02\x18\x07user_id", b"\x15\x0c\x25\x00\x18\x07user_id"


def written(**options: Any) -> bytes:
    rows = [event(properties="{}") for _ in range(20)]
    file = io.BytesIO()
    pq.write_table(pa.table({name: [row[name] for row in rows] for name in rows[0]}), file, **options)
    return file.getvalue()


def outcome(path: Path, content: bytes) -> str:
    """What becomes of a file in a process of its own."""
    path.write_bytes(content)
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz_parquet", str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.removeprefix(str(path)).strip()


@pytest.mark.parametrize("page_index", [False, True])
def test_statistics_that_contradict_the_schema_do_not_end_the_process(tmp_path: Path, page_index: bool) -> None:
    content = written(write_page_index=page_index, use_dictionary=False, compression="none")
    assert content.count(OPTIONAL) == 1
    assert outcome(tmp_path / "good.parquet", content).startswith("read")
    assert outcome(tmp_path / "bad.parquet", content.replace(OPTIONAL, REQUIRED)).startswith("refused: corrupt")


@pytest.mark.slow
def test_a_file_with_any_damage_is_read_or_refused_and_nothing_else() -> None:
    found = fuzz_parquet.tried(SEED, 0, CASES)
    assert found.wrong == {}
    assert found.outcomes.total() == CASES
    assert min(found.outcomes["read"], found.outcomes["refused"]) > CASES / 20
