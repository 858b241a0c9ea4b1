"""Settings: a flag, then the environment, then `loader.toml`, then the default. Light: imported by every command."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from loader.errors import UsageError

if TYPE_CHECKING:
    from loader.model import Counts

CONFIG_FILE = "loader.toml"
_PREFIX = "LOADER_"
_A_DAY = 86_400
_MOST_DAYS = 36_500
_AN_HOUR = 3600
_PG_VARIABLES = ("PGHOST", "PGHOSTADDR", "PGPORT", "PGDATABASE", "PGUSER", "PGSERVICE")


class Budget(NamedTuple):
    """How many rows of a file may go to quarantine before nothing of it is loaded."""

    max_rejects: int | None = None
    max_reject_ratio: float | None = None

    def is_over(self, counts: Counts) -> bool:
        """Say whether a file with these counts is over the budget."""
        if self.max_rejects is not None and counts.quarantined > self.max_rejects:
            return True
        return self.max_reject_ratio is not None and counts.quarantined > self.max_reject_ratio * counts.read

    def describe(self, counts: Counts) -> str:
        """Say by how much."""
        limits = []
        if self.max_rejects is not None:
            limits.append(f"max_rejects is {self.max_rejects}")
        if self.max_reject_ratio is not None:
            limits.append(f"max_reject_ratio is {self.max_reject_ratio:g}")
        return f"{counts.quarantined} of {counts.read} rows would go to quarantine, but {' and '.join(limits)}"


class Settings(NamedTuple):
    """Everything that can be set. Field names are the keys in `loader.toml`; in the environment `LOADER_<NAME>`."""

    landing: Path = Path("landing")
    database_url: str | None = None
    settle: float = 2.0
    recursive: bool = False
    jobs: int = 1
    max_rejects: int | None = None
    max_reject_ratio: float | None = None
    max_line_bytes: int = 16 << 20
    contracts: Path | None = None
    embedded: Path = Path(".loader")
    scan_seconds: float = 30.0
    poll: bool = False
    archive_days: int | None = None
    quarantine_days: int | None = None
    metrics_file: Path | None = None
    log_format: str = "text"
    on_failure: str | tuple[str, ...] | None = None  # a command, split or to be split, or a URL
    on_failure_rows: bool = False
    on_failure_seconds: float = 30.0

    @property
    def budget(self) -> Budget:
        """The limits on rows that go to quarantine."""
        return Budget(self.max_rejects, self.max_reject_ratio)


def read(
    flags: Mapping[str, Any], *, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Combine flags (None: not given), environment and file into settings.

    Raises:
        UsageError: a value is of the wrong type or out of range, a key unknown, or the file not readable.
    """
    environment = os.environ if environment is None else environment
    values = _from_file(config)
    for name in Settings._fields:
        variable = _PREFIX + name.upper()
        text = environment.get(variable)
        if text is None and name == "database_url":
            text = environment.get("DATABASE_URL")
        if text:
            values[name] = _convert(name, text, variable)
    values |= {name: value for name, value in flags.items() if value is not None}
    settings = Settings(**values)
    _check_ranges(settings)
    return settings


def readable(
    flags: Mapping[str, Any], *, config: Path | None = None, environment: Mapping[str, str] | None = None
) -> Settings:
    """Return what can be used of settings some of which are wrong, so that somebody can be told that they are."""
    environment = os.environ if environment is None else environment
    given: list[tuple[str, Any]] = []
    with suppress(UsageError):
        given += _table(config).items()
    given += [(name, text) for name in Settings._fields if (text := environment.get(_PREFIX + name.upper()))]
    settings = Settings()
    for name, value in [*given, *flags.items()]:
        with suppress(UsageError):
            if name in _KINDS and value is not None:
                one: dict[str, Any] = {name: value if isinstance(value, Path) else _convert(name, value, name)}
                tried = settings._replace(**one)
                _check_ranges(tried)
                settings = tried
    return settings


def is_url(hook: str) -> bool:
    """Say whether `on_failure` means a webhook."""
    return hook.lower().startswith(("http://", "https://"))


def host_of(url: str) -> str:
    """Return the host of a URL, with its port."""
    return re.split("[/?#]", url)[2]


def names_database(settings: Settings, environment: Mapping[str, str] | None = None) -> bool:
    """Say whether the user named a database; otherwise it is the embedded one."""
    environment = os.environ if environment is None else environment
    return settings.database_url is not None or any(environment.get(name) for name in _PG_VARIABLES)


def _check_ranges(settings: Settings) -> None:
    ratio = settings.max_reject_ratio
    _check(settings.settle >= 0, "settle", "must not be negative")
    _check(settings.jobs >= 1, "jobs", "must be at least 1")
    _check(settings.max_rejects is None or settings.max_rejects >= 0, "max_rejects", "must not be negative")
    _check(ratio is None or 0 <= ratio <= 1, "max_reject_ratio", "must lie between 0 and 1")
    _check(0 < settings.scan_seconds <= _A_DAY, "scan_seconds", "must be above 0 and at most a day, 86400")
    for name in ("archive_days", "quarantine_days"):
        days = getattr(settings, name)
        _check(days is None or 1 <= days <= _MOST_DAYS, name, f"must lie between 1 and {_MOST_DAYS}")
    _check(settings.max_line_bytes >= 1024, "max_line_bytes", "must be at least 1024")  # noqa: PLR2004
    _check(settings.log_format in ("text", "json"), "log_format", "must be text or json")
    _check(0 < settings.on_failure_seconds <= _AN_HOUR, "on_failure_seconds", "must be above 0 and at most 3600")
    if settings.on_failure is not None:
        _check_hook(settings.on_failure)


def _check_hook(hook: str | tuple[str, ...]) -> None:
    """Raise UsageError where the hook can't be called; what it is isn't shown, since a URL may be a secret."""
    words: Sequence[str] = [hook] if isinstance(hook, str) else hook
    _check(not any("\0" in word for word in words), "on_failure", "must not contain a NUL")
    if isinstance(hook, str) and is_url(hook):
        host = host_of(hook)
        _check(bool(host) and "@" not in host, "on_failure", "a URL needs a host, and no user or password before it")
        _check(hook.isascii() and hook.isprintable() and " " not in hook, "on_failure", "the URL must be encoded")
        return
    if isinstance(hook, str):
        import shlex

        try:
            words = shlex.split(hook)
        except ValueError as error:
            raise UsageError(f"on_failure: {error}") from error
    _check(bool(words) and bool(words[0]), "on_failure", "names no command")


def _from_file(config: Path | None) -> dict[str, Any]:
    path = config or Path(CONFIG_FILE)
    table = _table(config)
    known = set(Settings._fields)
    unknown = sorted(set(table) - known)
    _check(not unknown, str(path), f"unknown setting {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return {name: _convert(name, value, f"{path}: {name}") for name, value in table.items()}


def _table(config: Path | None) -> dict[str, Any]:
    path = config or Path(CONFIG_FILE)
    if not path.is_file():
        _check(config is None, str(config), "no such file")
        return {}
    import tomllib  # an idle run without a file needs none of it

    try:
        return tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"{path}: {error}") from error


def _convert(name: str, value: object, where: str) -> Any:
    kind = _KINDS[name]
    if name == "on_failure" and isinstance(value, list):
        _check(all(isinstance(word, str) for word in value), where, "a command's list holds strings only")
        return tuple(value)
    if kind is bool and isinstance(value, str):
        lowered = value.lower()
        _check(lowered in ("1", "true", "yes", "0", "false", "no"), where, f"{value!r} is not true or false")
        return lowered in ("1", "true", "yes")
    wrong_type = isinstance(value, bool) != (kind is bool) or not isinstance(value, str | int | float)
    # A connection string may have come to the wrong place; a list or table may hold one.
    shown = (
        repr(value)
        if isinstance(value, bool | int | float) or ("://" not in str(value) and kind is not str)
        else "the value"
    )
    _check(not wrong_type, where, f"{shown} is not a {kind.__name__}")
    try:
        return kind(value)
    except ValueError as error:
        raise UsageError(f"{where}: {shown} is not a {kind.__name__}") from error


def _check(holds: bool, where: str, message: str) -> None:
    if not holds:
        raise UsageError(f"{where}: {message}")


_KINDS: dict[str, Any] = {
    "landing": Path,
    "database_url": str,
    "settle": float,
    "recursive": bool,
    "jobs": int,
    "max_rejects": int,
    "max_reject_ratio": float,
    "max_line_bytes": int,
    "contracts": Path,
    "embedded": Path,
    "scan_seconds": float,
    "poll": bool,
    "archive_days": int,
    "quarantine_days": int,
    "metrics_file": Path,
    "log_format": str,
    "on_failure": str,
    "on_failure_rows": bool,
    "on_failure_seconds": float,
}
