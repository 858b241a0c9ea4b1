"""What pip installs works without the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import loader
from tests.support import event, write_ndjson

ROOT = Path(loader.__file__).resolve().parent.parent
MAIN = "import sys; sys.path.append(sys.argv.pop(1)); from loader.cli import main; sys.exit(main())"


def test_every_module_is_on_the_map() -> None:
    words = set(re.findall(r"\w+", loader.__doc__ or ""))
    helpers = {"__init__", "__main__", "_bundled"}
    modules = {path.stem for path in (ROOT / "loader").glob("*.py")} - helpers
    assert modules <= words, f"not on the map: {sorted(modules - words)}"


def test_no_sql_hides_in_python() -> None:
    allowed = re.compile(
        r"pg_reload_conf|pg_terminate_backend|pg_stat_user_indexes|"  # doctor: for the user to paste
        r"pg_(try_)?advisory|SET (LOCAL )?|DROP TABLE IF EXISTS|loader_migrations|SELECT 1|CREATE DATABASE loader"
    )
    for path in (ROOT / "loader").rglob("*.py"):
        for line in path.read_text().splitlines():
            if re.search(r'(?<!")"(SELECT|INSERT|UPDATE|DELETE|CREATE|COPY|TRUNCATE) ', line):
                assert allowed.search(line), f"{path.name}: {line.strip()}"


def test_the_proofs_that_the_documentation_names_are_there() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text()
    code = "".join(path.read_text() for path in (ROOT / "tests").rglob("*.py"))
    named = set(re.findall(r"`(test_\w+)`", text))
    assert {name for name in named if f"def {name}(" not in code} == set()
    files = set(re.findall(r"`(tests/[\w/]+(?:\.py)?)`", text)) | set(re.findall(r"\((\.\./[^)]+)\)", text))
    assert {name for name in files if not (ROOT / name).exists()} == set()
    assert named
    assert files


@pytest.mark.slow
def test_the_wheel_carries_contract_and_sql_and_runs_from_anywhere(tmp_path: Path) -> None:
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run(
        [sys.executable, "-m", "build", "--outdir", str(tmp_path / "dist"), str(ROOT)],
        check=True,
        capture_output=True,
        env=clean,
    )
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    shipped = set(zipfile.ZipFile(wheel).namelist())
    due = {
        f"loader/_bundled/{path.relative_to(ROOT)}"
        for folder in ("sql", "contracts")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".sql", ".py")
    }
    assert {name for name in shipped if name.startswith("loader/_bundled/")} == due
    assert "loader/py.typed" in shipped
    assets = {f"{path.relative_to(ROOT)}" for path in (ROOT / "loader" / "operate" / "assets").iterdir()}
    assert assets
    assert assets <= shipped
    assert not [name for name in shipped if name.startswith(("landing/", "tests/"))]

    venv.create(tmp_path / "venv", with_pip=False)
    program = tmp_path / "venv" / "bin" / "python"
    (site,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)
    # The dependencies are those of the environment that runs the tests; the checkout is not to be seen.
    dependencies = next(path for path in sys.path if (Path(path) / "polars").is_dir())
    path = write_ndjson(tmp_path / "a.ndjson", event())
    done = subprocess.run(
        [str(program), "-c", MAIN, dependencies, "validate", str(path)],
        cwd=tmp_path,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert " valid " in done.stderr
