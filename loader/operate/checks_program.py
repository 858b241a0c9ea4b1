"""Checks of the program itself: what it is made of, its settings and its contract."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from loader import __version__
from loader.operate.findings import Finding, fail, note, ok, warn
from loader.settings import CONFIG_FILE, Settings

_OLDEST_PYTHON = (3, 11)
_BOUND = re.compile(r"(?P<name>[\w.-]+)(?:\[[^]]*\])?>=(?P<version>[\d.]+)(?P<marker>\s*;.*)?")
_DEPTHS = ("SCHEMA_ONLY", "DATA_ONLY", "SCHEMA_AND_DATA")
_TRUE = ("true", "True", "1")  # as Pandera reads its switches
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Host(NamedTuple):
    """What is checked without a database."""

    settings: Settings
    config: Path | None = None  # the settings file, where one was named


Check = Callable[[Host], Finding]


def versions(_: Host) -> Finding:
    """Python and the libraries are as new as the package asks."""
    found = {"Python": platform.python_version()}
    if sys.version_info < _OLDEST_PYTHON:
        return fail(f"Python {found['Python']} is too old", "install Python 3.11 or newer")
    try:
        bounds = [_BOUND.fullmatch(line) for line in importlib.metadata.requires("loader") or ()]
    except importlib.metadata.PackageNotFoundError:
        return note(f"loader {__version__} is not installed: its libraries' versions can't be checked", "pip install .")
    too_old = []
    for bound in bounds:
        if bound is None or "extra" in (bound["marker"] or ""):
            continue
        try:
            found[bound["name"]] = importlib.metadata.version(bound["name"])
        except importlib.metadata.PackageNotFoundError:
            if not bound["marker"]:
                too_old.append(f"{bound['name']}>={bound['version']}")
            continue
        if _numbers(found[bound["name"]]) < _numbers(bound["version"]):
            too_old.append(f"{bound['name']}>={bound['version']}")
    if too_old:
        names = ", ".join(too_old)
        return fail(f"libraries are missing or too old: {names}", f"pip install {shlex.join(too_old)}")
    shown = [f"{name} {found[name]}" for name in ("Python", "polars", "pandera", "psycopg") if name in found]
    return ok(f"loader {__version__}, {', '.join(shown)}")


def pandera_switches(_: Host) -> Finding:
    """The environment doesn't keep Pandera from working."""
    depth = os.environ.get("PANDERA_VALIDATION_DEPTH")
    if depth is not None and depth not in _DEPTHS:
        return fail(
            f"PANDERA_VALIDATION_DEPTH is '{depth}', which Pandera doesn't know: it can't be imported",
            "unset PANDERA_VALIDATION_DEPTH",
        )
    if os.environ.get("PANDERA_USE_NARWHALS_BACKEND") in _TRUE:
        return fail(
            "PANDERA_USE_NARWHALS_BACKEND exchanges the engine that the contract is checked with; "
            "the loader is only known to work with Pandera's own",
            "unset PANDERA_USE_NARWHALS_BACKEND",
        )
    is_off = os.environ.get("PANDERA_VALIDATION_ENABLED", "True") not in _TRUE
    if is_off or depth not in (None, "SCHEMA_AND_DATA"):
        return note(
            "the environment turns Pandera's validation off or down (PANDERA_VALIDATION_*); the loader validates anyway"
        )
    return ok("the environment leaves Pandera alone")


def contract(host: Host) -> Finding:
    """The contract can be loaded."""
    from loader import contract as contracts

    terms = contracts.load(host.settings.contracts)
    return ok(f"{terms.source}: version {terms.version}, {len(terms.fields)} fields")


def settings_file(host: Host) -> Finding:
    """A password in the settings file is for its owner's eyes only."""
    path = host.config or Path(CONFIG_FILE)
    if not path.is_file():
        return ok(f"no {path}")
    mode = path.stat().st_mode
    if not _holds_password(path):
        return ok(f"{path} holds no password")
    if mode & _OTHERS:
        return warn(
            f"{path} holds the database's password and is open to others than its owner (mode {mode & 0o777:o})",
            f"chmod 600 {shlex.quote(str(path))}",
        )
    return ok(f"{path} holds a password, and only its owner can read it")


def password_file(_: Host) -> Finding:
    """Libpq will read its password file."""
    path = Path(os.environ.get("PGPASSFILE") or Path.home() / ".pgpass")
    if not path.is_file():
        return ok(f"no {path}")
    mode = path.stat().st_mode
    if mode & _OTHERS:
        return warn(
            f"{path} is open to others than its owner (mode {mode & 0o777:o}): libpq doesn't read it",
            f"chmod 600 {shlex.quote(str(path))}",
        )
    if not os.access(path, os.R_OK):
        return warn(f"{path} belongs to another account: libpq can't read it", f"ls -l {shlex.quote(str(path))}")
    return ok(f"{path} is its owner's only")


def _holds_password(path: Path) -> bool:
    """Say whether a settings file holds a password: also one that libpq would not find in it."""
    import tomllib

    from loader.conninfo import redact

    url = str(tomllib.loads(path.read_text()).get("database_url", ""))
    return redact(url) != url


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


CHECKS: list[Check] = [versions, pandera_switches, contract, settings_file, password_file]
