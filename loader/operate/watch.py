"""`loader watch`: look at the landing folder again and again, and give what is ready to `run`.

The scan is the truth; an event only makes it come sooner, and a lost one makes it come no later than `scan_seconds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from loader import contract, landing
from loader.contract import Contract
from loader.errors import DatabaseError, UsageError
from loader.landing import LandingFile
from loader.operate.aftermath import Ending, tell
from loader.operate.logs import Log, safe
from loader.operate.outage import Outage
from loader.operate.patience import Patience
from loader.operate.wakeup import Wakeup
from loader.report import RunReport
from loader.run import Watcher, database, run
from loader.settings import Settings

if TYPE_CHECKING:
    from loader.operate.events import Events

_POLL_SECONDS = 1.0
# A scan comes no sooner after the last one, whatever happens, and takes no more than this share of the time.
_BREATH_SECONDS = 0.2
_SCAN_SHARE = 0.2


def watch(
    settings: Settings, watcher: Watcher, say: Callable[[str], None], is_ready: Callable[[], None], log: Log
) -> None:
    """Load what comes into the landing folder until SIGINT or SIGTERM asks for the end between two loads.

    `say` gets each line about trouble that comes or goes; `is_ready` is called when the first scan is about to start.
    Each pass with work counts as a run for the metrics and the call for help, and so does an idle one now and then.

    Raises:
        UsageError: the landing folder or the contract is wrong, or watchdog is missing.
        KeyboardInterrupt: a signal came during a load, which was rolled back.
    """
    terms = contract.load(settings.contracts)  # Better now than when the first file comes.
    if not settings.landing.is_dir():
        raise UsageError(f"landing folder {settings.landing}: not a directory")
    with Wakeup() as wakeup, ExitStack() as stack:
        events = None if settings.poll else _events(settings, wakeup)
        if events is not None:
            stack.callback(events.close)
        watch = _Watch(settings, terms, watcher, say, log=log, wakeup=wakeup, events=events, stack=stack)
        is_ready()
        while not wakeup.is_end_asked:
            watch.once()


def _events(settings: Settings, wakeup: Wakeup) -> Events:
    try:
        from loader.operate.events import Events
    except ImportError as error:
        raise UsageError(f"watchdog can't be imported ({error}): pip install watchdog, or use --poll") from error
    return Events(settings.landing, recursive=settings.recursive, notify=wakeup.notify)


class _Trouble:
    """Something that may be wrong for a while: one line when it begins, and one when it is over."""

    def __init__(self, say: Callable[[str], None], over: str) -> None:
        self._say = say
        self._over = over
        self.is_on = False

    def begin(self, line: str) -> None:
        if not self.is_on:
            self._say(line)
        self.is_on = True

    def end(self) -> None:
        if self.is_on:
            self._say(self._over)
        self.is_on = False


class _Watch:
    def __init__(
        self,
        settings: Settings,
        terms: Contract,
        watcher: Watcher,
        say: Callable[[str], None],
        *,
        log: Log,
        wakeup: Wakeup,
        events: Events | None,
        stack: ExitStack,
    ) -> None:
        self._settings = settings
        self._terms = terms
        self._watcher = watcher
        self._log = log
        self._told = float("-inf")  # when the outside was last told how it goes
        self._wakeup = wakeup
        self._events = events
        self._stack = stack
        self._keeps_database = False
        self._patience = Patience(settings.settle)
        self._outage = Outage(say)
        self._deaf = _Trouble(say, f"events of {settings.landing} come again")
        self._away = _Trouble(say, f"landing folder {settings.landing} is back")

    def once(self) -> None:
        """Scan, load what is ready, and wait until there may be more."""
        started = time.monotonic()
        files = self._look()
        breath = max(_BREATH_SECONDS, (time.monotonic() - started) * (1 / _SCAN_SHARE - 1))
        if files:
            self._load(self._outage.choose(files))
            # At once, if it could be used: more may have come, or be left.
            self._wakeup.wait(at_least=max(breath, self._outage.seconds_left), at_most=0)
            return
        if time.monotonic() - self._told >= self._settings.scan_seconds and not self._away.is_on:
            self._tell(Ending(), started, self._settings)
        often = self._settings.poll or self._away.is_on
        pause = min(self._settings.scan_seconds, _POLL_SECONDS if often else self._settings.scan_seconds)
        self._wakeup.wait(at_least=breath, at_most=min(pause, self._patience.next_look - time.monotonic()))

    def _look(self) -> Sequence[LandingFile]:
        """Return the files to load; none where there is no folder, which may come back."""
        folder = self._settings.landing
        no_events = self._renew_events()  # before the scan, so that nothing comes between the two
        try:
            files = self._patience.choose(landing.scan(folder, recursive=self._settings.recursive))
        except OSError as error:
            self._away.begin(f"landing folder {folder}: {error.strerror}; waiting for it")
            return []
        self._away.end()
        if no_events:
            pause = f"it is looked at every {self._settings.scan_seconds:g} s"
            self._deaf.begin(f"no events of {folder}: {no_events}; {pause}")
        else:
            self._deaf.end()
        return files

    def _renew_events(self) -> str | None:
        """Return why there are none, though there should be."""
        try:
            if self._events is not None:
                self._events.renew()
        except OSError as error:
            return error.strerror or str(error)
        return None

    def _load(self, files: Sequence[LandingFile]) -> None:
        report = RunReport()
        ending = Ending(report)
        started = time.monotonic()
        is_first_failure = not self._outage.is_on
        try:
            with self._wakeup.interruptible():
                if not self._keeps_database:
                    # An embedded server stays up between the loads.
                    self._stack.enter_context(database(self._settings))
                    self._keeps_database = True
                run(self._settings, files, self._watcher, report, self._terms)
        except DatabaseError as error:
            self._outage.failed(files, error)
            ending.exit_code, ending.error = 1, safe(str(error))
            # One call for each outage, not for each try.
            settings = self._settings if is_first_failure else self._settings._replace(on_failure=None)
            self._tell(ending, started, settings)
        else:
            ending.exit_code = report.exit_code
            # Whatever is still there at the next scan is not to be tried again at once.
            self._patience.tried([*files, *self._outage.passed()])
            self._tell(ending, started, self._settings)

    def _tell(self, ending: Ending, started: float, settings: Settings) -> None:
        self._told = time.monotonic()
        tell(settings, ending, self._log, seconds=self._told - started)
