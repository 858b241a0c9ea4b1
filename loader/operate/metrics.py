"""What a run did, as a file for Prometheus's textfile collector. Light: an idle run writes it, too.

What a run adds up (rows, rejects, files, seconds, runs) are counters that go on from the file's former ones: cron
runs more often than Prometheus looks, so a gauge "of the last run" would be overwritten by the next, idle run before
anybody saw it. A file that was lost starts them at 0 again, which `rate` and `increase` expect of a counter.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from loader import landing, opening
from loader.errors import FileUnavailable, LoaderError
from loader.names import printable
from loader.operate import exposition
from loader.operate.exposition import Samples

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loader.report import RunReport
    from loader.settings import Settings

_MODE = 0o644  # The collector is another user.
_MAX_BYTES = 1 << 20
_LOCK_TRIES, _LOCK_PAUSE = 50, 0.1
_SUCCESS = (0, 3)
_LAST_SUCCESS = "loader_last_success_timestamp_seconds"
# What there is from the start, at 0: `increase` doesn't see the step with which a series begins.
_BEGINNINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "loader_runs_total": ("exit_code", ("0", "1", "2", "3")),
    "loader_files_total": ("status", ("loaded", "skipped", "busy", "refused", "failed")),
    "loader_rows_total": ("outcome", ("inserted", "duplicates", "conflicts", "rejected")),
}


class MetricsError(LoaderError):
    """Raised when the metrics can't be written; what was loaded is not touched by that."""


class Ended(NamedTuple):
    """How a run ended."""

    exit_code: int
    seconds: float
    at: float  # seconds since 1970


def write(settings: Settings, report: RunReport | None, ended: Ended) -> None:
    """Bring the metrics file up to date, atomically; `report` is None where there was nothing to load.

    Raises:
        MetricsError: it can't be written, or another program's file is in its place.
    """
    path = settings.metrics_file
    if path is None:
        return
    own = os.path.abspath(settings.landing)  # noqa: PTH100 # a path that can't be resolved has a name, too
    try:
        with _locked(path.parent):
            former = _former(path, own)
            samples = _counters(former, report, ended) | _gauges(former, ended) | _backlog(settings, ended.at)
            _replace(path, exposition.text(samples, {"landing": own}).encode())
    except OSError as error:
        raise MetricsError(f"can't write metrics {path}: {error.strerror or error}") from error


def _counters(former: Samples, report: RunReport | None, ended: Ended) -> Samples:
    added: Samples = {("loader_run_seconds_total", ()): ended.seconds}
    for family, (label, values) in _BEGINNINGS.items():
        added |= {(family, ((label, value),)): 0.0 for value in values}
    _count(added, "loader_runs_total", "exit_code", {str(ended.exit_code): 1})
    for outcome in report.outcomes if report else ():
        _count(added, "loader_files_total", "status", {str(outcome.status): 1})
        counts = outcome.counts
        if outcome.status == "loaded":
            names = _BEGINNINGS["loader_rows_total"][1]
            _count(added, "loader_rows_total", "outcome", {name: getattr(counts, name) for name in names})
        if outcome.status in ("loaded", "refused"):  # Others come again.
            _count(added, "loader_rejects_total", "code", outcome.reject_codes)
    going_on = {key: value for key, value in former.items() if key[0].endswith("_total")}
    return going_on | {key: value + going_on.get(key, 0.0) for key, value in added.items()}


def _count(samples: Samples, family: str, label: str, numbers: Mapping[str, int]) -> None:
    for value, number in numbers.items():
        key = (family, ((label, printable(value)),))  # as it will be read back
        samples[key] = samples.get(key, 0.0) + number


def _gauges(former: Samples, ended: Ended) -> Samples:
    last_success = ended.at if ended.exit_code in _SUCCESS else former.get((_LAST_SUCCESS, ()), 0.0)
    return {
        ("loader_last_run_timestamp_seconds", ()): ended.at,
        (_LAST_SUCCESS, ()): last_success,
        ("loader_last_run_duration_seconds", ()): ended.seconds,
        ("loader_last_run_exit_code", ()): ended.exit_code,
    }


def _backlog(settings: Settings, now: float) -> Samples:
    """Return what is left in landing, ready or not; nothing where the folder can't be read."""
    try:
        files = list(landing.scan(settings.landing, recursive=settings.recursive))
    except OSError:
        return {}
    oldest = min((file.mtime_ns / 1e9 for file in files), default=now)
    return {
        ("loader_landing_files", ()): len(files),
        ("loader_landing_bytes", ()): sum(file.size for file in files),
        ("loader_landing_oldest_file_age_seconds", ()): max(0.0, now - oldest),
    }


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep others from writing metrics into `folder`: of two that read the same counters, one would be lost."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for left in reversed(range(_LOCK_TRIES)):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not left:
                    raise
                time.sleep(_LOCK_PAUSE)
            except OSError:
                break  # a file system without locks, where one must do with one job
        yield
        os.fsync(descriptor)  # The name is durable, too.
    finally:
        os.close(descriptor)


def _former(path: Path, own: str) -> Samples:
    """Return what the file says of our landing folder up to now."""
    if not os.path.lexists(path):
        return {}
    try:
        with opening.opened(path) as file:
            text = (file.read(_MAX_BYTES) or b"").decode(errors="replace")
    except FileUnavailable as error:
        raise MetricsError(f"can't read metrics {path}, and won't replace it: {error.message}") from error
    if text and not text.startswith(exposition.BEGINNING):
        raise MetricsError(f"{path} was not written by the loader: remove it, or name another metrics file")
    return exposition.parse(text, {"landing": own})


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")  # no collector takes it: its name doesn't end in .prom
    with suppress(FileNotFoundError):
        temporary.unlink()  # of a run that died: others are locked out
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, stat.S_IRUSR | stat.S_IWUSR), "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        temporary.rename(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
