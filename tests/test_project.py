"""What a new user meets first: a project folder, help, completion."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from loader import cli
from loader.contract import load as load_contract
from loader.settings import Settings, read
from tests.support import commands, event, write_ndjson


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder as `loader init` makes it; the current one."""
    folder = tmp_path / "shop"
    assert cli.main(["init", str(folder)]) == 0
    monkeypatch.chdir(folder)
    return folder


def test_a_new_project_loads_a_file_by_its_own_contract(project: Path, database: str) -> None:
    contract = project / "contracts" / "events.py"
    contract.write_text(contract.read_text().replace('"version": "', '"version": "shop-'))
    write_ndjson(project / "landing" / "a.ndjson", event())
    assert cli.main(["run", "--quiet", "--settle", "0", "--database-url", database]) == 0
    assert load_contract(read({}).contracts).version.startswith("shop-")
    assert not list(project.glob("landing/*.ndjson"))


def test_the_settings_of_a_new_project_name_every_setting_with_its_default(project: Path) -> None:
    lines = (project / "loader.toml").read_text().splitlines()
    settings = [
        line.removeprefix("# ") for line in lines if line.removeprefix("# ").split(" = ")[0] in Settings._fields
    ]
    shown = tomllib.loads("\n".join(settings))
    assert shown.keys() == set(Settings._fields)
    for name, default in Settings()._asdict().items():
        if default is not None:
            assert type(default)(shown[name]) == default, name
    (project / "loader.toml").write_text("\n".join(settings))
    read({}, environment={})  # and each example is a valid value


def test_only_its_owner_can_read_the_settings_of_a_new_project(project: Path) -> None:
    assert (project / "loader.toml").stat().st_mode & 0o077 == 0


def test_a_project_is_never_made_over_another(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "loader.toml").write_text("jobs = 3\n")
    (project / ".gitignore").unlink()
    assert cli.main(["init", str(project)]) == 2
    assert "loader.toml" in capsys.readouterr().err
    assert (project / "loader.toml").read_text() == "jobs = 3\n"
    assert not (project / ".gitignore").exists()


def test_a_folder_with_other_things_in_it_can_become_a_project(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert cli.main(["init", str(tmp_path)]) == 0
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", commands())
def test_the_help_of_each_command_has_examples_that_are_right(name: str) -> None:
    epilog = commands()[name].epilog or ""
    examples = epilog.partition("examples:\n")[2].partition("\n\n")[0].splitlines()
    assert examples
    for example in examples:
        words = shlex.split(example, comments=True)
        calls = " ".join("\0" if word in ("&&", "|", ">") else shlex.quote(word) for word in words).split("\0")
        ours = [shlex.split(call.partition("loader ")[2]) for call in calls if "loader " in call]
        assert ours
        for arguments in ours:
            cli.parser().parse_known_args(arguments)


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_knows_the_commands_and_their_options(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in [*commands(), "--max-reject-ratio"]:
        assert word.removeprefix("--") in script


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_completes_a_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cli.main(["completion", "bash"])
    script = tmp_path / "loader.bash"
    script.write_text(capsys.readouterr().out)
    ask = f"source {script}; COMP_WORDS=(loader vali); COMP_CWORD=1; _shtab_loader; echo ${{COMPREPLY[@]}}"
    done = subprocess.run(["bash", "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["validate"]
