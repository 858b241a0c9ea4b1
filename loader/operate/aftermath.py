"""After a run: the metrics file, and the call for help. Light: an idle run comes by here, too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from loader.errors import LoaderError, UsageError
from loader.operate.logs import ERROR, INFO, INTERRUPTED, WARNING, Log, safe, utc

if TYPE_CHECKING:
    from loader.report import RunReport
    from loader.settings import Settings

_FAILED, _WRONG_USAGE, _REJECTS, _INTERRUPTED = 1, 2, 3, 130
_MAX_TEXT = 1000


class Ending:
    """How a run ends, as far as is known by now."""

    def __init__(self, report: RunReport | None = None, exit_code: int = 0, error: str | None = None) -> None:
        self.report = report  # None: there was nothing to load
        self.exit_code = exit_code
        self.error = error


@contextmanager
def attended(settings: Settings, log: Log) -> Iterator[Ending]:
    """Attend to a run: whatever ends it, say so, then tell the outside.

    Only a defect leaves as an exception, and only where words are for people: a traceback is no JSON.
    """
    ending = Ending()
    started = time.monotonic()
    crash: BaseException | None = None
    try:
        yield ending
    except LoaderError as error:
        ending.error = safe(str(error))
        ending.exit_code = _WRONG_USAGE if isinstance(error, UsageError) else _FAILED
        log.trouble(ERROR, "run_failed", ending.error)
    except KeyboardInterrupt:
        ending.exit_code = _INTERRUPTED
        log.write(WARNING, "interrupted", INTERRUPTED)
    except BaseException as error:  # noqa: BLE001 # raised again below; Rust's panics are no Exceptions
        crash = error
        ending.error = safe(f"internal error: {type(error).__name__}: {error}")
        ending.exit_code = _FAILED
        if log.as_json:
            log.trouble(ERROR, "run_crashed", ending.error, traceback=_traceback(error))
    seconds = time.monotonic() - started
    if log.as_json:
        level = {0: INFO, _REJECTS: WARNING, _INTERRUPTED: WARNING}.get(ending.exit_code, ERROR)
        log.write(level, "run_finished", **_summary(ending, seconds))
    tell(settings, ending, log, seconds=seconds)
    if crash is not None and not log.as_json:
        raise crash


def tell(settings: Settings, ending: Ending, log: Log, *, seconds: float) -> None:
    """Bring the metrics up to date, and call the hook if the run has failed; once for each run.

    Neither can fail in a way that matters to the run: what goes wrong is a line on stderr.
    """
    now = time.time()
    if settings.metrics_file is not None:
        from loader.operate import metrics

        with _harmless(log, "metrics_failed"):
            metrics.write(settings, ending.report, metrics.Ended(ending.exit_code, seconds, now))
    if settings.on_failure is None:
        return
    if ending.exit_code == _FAILED or (ending.exit_code == _REJECTS and settings.on_failure_rows):
        from loader.operate import hooks

        with _harmless(log, "hook_failed"):
            report = _for_hook(settings, ending, now, seconds)
            hooks.call(settings.on_failure, report, summary(ending), seconds=settings.on_failure_seconds)


def summary(ending: Ending) -> str:
    """Return in a line or so how a run ended."""
    report = ending.report
    reasons = [reason for reason in (ending.error or (report and report.error),) if reason]
    if report is not None:
        from loader.report import explain

        reasons += [explain(outcome) or "" for outcome in report.outcomes if outcome.error_code]
        if rows := report.totals.quarantined:
            reasons.append(f"{rows:,} row{'s' * (rows != 1)} in quarantine")
    text = safe(f"loader run: exit code {ending.exit_code}: {'; '.join(reasons)}")
    return text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}..."


@contextmanager
def _harmless(log: Log, event: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # noqa: BLE001 # What comes after a run must not become its result.
        words = str(error) if isinstance(error, LoaderError) else f"{event}: {type(error).__name__}: {error}"
        log.trouble(WARNING, event, words)


def _for_hook(settings: Settings, ending: Ending, now: float, seconds: float) -> dict[str, Any]:
    """Return the report as `--json` has it, and what says which run it is."""
    from loader.report import RunReport

    report = (ending.report or RunReport()).as_json()
    where = {"host": safe(os.uname().nodename), "landing": safe(os.path.abspath(settings.landing)), "ended": utc(now)}  # noqa: PTH100
    error = report["error"] and safe(report["error"])
    told = {"seconds": round(seconds, 3), "error": ending.error or error, "exit_code": ending.exit_code}
    return {**where, **report, **told}


def _summary(ending: Ending, seconds: float) -> dict[str, Any]:
    fields: dict[str, Any] = {"exit_code": ending.exit_code, "seconds": round(seconds, 3)}
    if ending.report is not None:
        totals = ending.report.totals
        names = ("read", "inserted", "duplicates", "conflicts", "rejected")
        fields |= {"files": len(ending.report.outcomes)} | {name: getattr(totals, name) for name in names}
    return fields


def _traceback(error: BaseException) -> str:
    import traceback

    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(safe(line) for line in lines)
