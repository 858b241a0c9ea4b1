"""Finds `sql/` and `contracts/`, in an installed wheel and in a checkout alike."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from loader.errors import UsageError

_PACKAGE = Path(__file__).resolve().parent


@cache
def bundled(folder: str) -> Path:
    """Return the path of the bundled `folder` ("sql" or "contracts").

    A wheel carries both inside the package. A checkout has them beside it; the look at pyproject.toml keeps
    an unrelated folder of the same name in site-packages from being taken for ours.
    """
    installed = _PACKAGE / "_bundled" / folder
    if installed.is_dir():
        return installed
    checkout = _PACKAGE.parent
    if (checkout / "pyproject.toml").is_file() and (checkout / folder).is_dir():
        return checkout / folder
    raise UsageError(f"the installation is incomplete: {folder}/ is missing beside {_PACKAGE}")


@cache
def sql(name: str) -> bytes:
    """Return the text of `sql/<name>.sql` as bytes, which psycopg takes as a query."""
    return (bundled("sql") / f"{name}.sql").read_bytes()


def asset(name: str) -> str:
    """Return the text of a file in `loader/operate/assets/`."""
    return (_PACKAGE / "operate" / "assets" / name).read_text(encoding="utf-8")
