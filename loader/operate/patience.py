"""Which of the files in the landing folder to load now, and when to look at the others again.

Something is kept only about files that a load has left where they were, or whose time lies in the future; what is no
longer in the folder is forgotten at the next scan.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from loader import landing
from loader.landing import LandingFile

# Files that are handed out at a time: a report on all of them is kept while they are loaded.
_FILES_AT_A_TIME = 10_000
# Files that something is kept about. Where more than that can't be loaded, new ones wait until some have gone.
_REMEMBERED = 50_000
_FIRST_PAUSE_SECONDS = 5.0
_LAST_PAUSE_SECONDS = 300.0


class _Wait(NamedTuple):
    """A file, for as long as it is what it was, is left alone until then; for `pause` seconds, where it was tried."""

    file: LandingFile
    until: float
    pause: float


class Patience:
    """Chooses files. `settle` decides as it does in `landing.discover`, without waiting for it."""

    def __init__(self, settle: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.next_look = float("inf")  # when, by the clock, another file may be ready, as far as is known
        self._settle = settle
        self._clock = clock
        self._waits: dict[Path, _Wait] = {}

    def choose(self, found: Iterable[LandingFile]) -> list[LandingFile]:
        """Return those of the files found that are ready and not to be left alone, oldest first, then by name.

        Raises:
            OSError: as `found` does; then all is as before.
        """
        kept: dict[Path, _Wait] = {}
        self.next_look = float("inf")
        chosen = heapq.nsmallest(_FILES_AT_A_TIME, self._ready(found, kept), key=landing.by_age)
        self._waits = kept
        return chosen

    def tried(self, files: Iterable[LandingFile]) -> None:
        """Leave files alone for a while, should they still be there; each time in a row for twice as long."""
        now = self._clock()
        for file in files:
            before = self._waits.get(file.path)
            pause = 2 * before.pause if before is not None and before.file == file else 0.0
            pause = min(max(pause, _FIRST_PAUSE_SECONDS), _LAST_PAUSE_SECONDS)
            self._waits[file.path] = _Wait(file, now + pause, pause)

    def _ready(self, found: Iterable[LandingFile], kept: dict[Path, _Wait]) -> Iterator[LandingFile]:
        now, time_ns = self._clock(), time.time_ns()
        for file in found:
            wait = self._waits.get(file.path)
            is_full = len(kept) >= _REMEMBERED
            if wait is None or wait.file != file:
                wait = self._first_sight(file, now, time_ns)
            if (file.mtime_ns > time_ns or wait.pause) and not is_full:
                kept[file.path] = wait
            if wait.until > now:
                self.next_look = min(self.next_look, wait.until)
            elif not is_full:
                yield file

    def _first_sight(self, file: LandingFile, now: float, time_ns: int) -> _Wait:
        """Let the clock say how long a file must still be still; a time in the future says nothing."""
        still_for = max(0.0, (time_ns - file.mtime_ns) / 1e9)
        return _Wait(file, now + self._settle - still_for, 0.0)
