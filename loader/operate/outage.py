"""What `loader watch` does while the database can't be used: wait, try again, and say so once."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from loader.errors import DatabaseError
from loader.landing import LandingFile

_FIRST_PAUSE_SECONDS = 1.0
_LAST_PAUSE_SECONDS = 30.0
_SUSPECTS = 1000


class Outage:
    """Nothing, or an outage of the database that goes on.

    A file may be what the database fails at, time and again: it is too long for a `statement_timeout`, say. So while
    an outage goes on files are tried one by one, in turn; and after it, those that were are left alone for a while.
    """

    def __init__(self, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._reason: str | None = None
        self._pause = 0.0
        self._until = 0.0
        self._tries = 0
        self._suspects: list[LandingFile] = []

    @property
    def is_on(self) -> bool:
        """Say whether the database can't be used, as far as is known."""
        return self._reason is not None

    @property
    def seconds_left(self) -> float:
        """How long the database should be left alone."""
        return max(0.0, self._until - self._clock())

    def choose(self, files: Sequence[LandingFile]) -> Sequence[LandingFile]:
        """Return what to try of the files, of which there is one at least."""
        return files if self._reason is None else [files[self._tries % len(files)]]

    def failed(self, files: Sequence[LandingFile], error: DatabaseError) -> None:
        """Take note of a failure; a line is written where it says something new."""
        if self._reason is None:
            self._tries, self._pause = 0, _FIRST_PAUSE_SECONDS
        else:
            self._tries += 1
            self._pause = min(2 * self._pause, _LAST_PAUSE_SECONDS)
            self._suspects = [*self._suspects, *files][-_SUSPECTS:]
        if str(error) != self._reason:
            self._reason = str(error)
            self._say(f"{error}; files stay where they are until it can be used")
        self._until = self._clock() + self._pause * random.uniform(0.8, 1.2)  # noqa: S311 # not all loaders at once

    def passed(self) -> list[LandingFile]:
        """Take note of a success; return the files that were tried in vain."""
        suspects, self._suspects = self._suspects, []
        if self._reason is not None:
            self._reason = None
            self._say("the database can be used again")
        return suspects
