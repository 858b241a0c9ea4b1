"""What ends a wait of `loader watch`: a signal that asks for the end, or somebody who calls `notify`."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Self

_DRAINED_BYTES = 4096


class Wakeup:
    """Lets the main thread wait; SIGINT and SIGTERM are its own for as long as the context lasts.

    Python's signal handlers run in the main thread alone, and a thread that waits for a lock is not always woken by a
    signal that another thread received. So the handler in C writes into a pipe, and the pipe is what is waited for.
    """

    def __init__(self) -> None:
        self.is_end_asked = False
        self._is_interruptible = False
        self._is_notified = False

    def __enter__(self) -> Self:
        """Take the signals over. One that is ignored from the outside (nohup, a background job) stays ignored."""
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        numbers = [s for s in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(s) != signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._on_signal) for number in numbers}
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.close(self._reader)
        os.close(self._writer)

    def notify(self) -> None:
        """End the wait, or the next one; called from any thread. However often it is called, one byte is written."""
        if not self._is_notified:
            self._is_notified = True
            with suppress(BlockingIOError):  # A full pipe wakes as well.
                os.write(self._writer, b"\0")

    def wait(self, *, at_least: float, at_most: float) -> None:
        """Wait `at_most` so many seconds, after `at_least` so many only until notified; not at all for the end."""
        started = time.monotonic()
        while not self.is_end_asked:
            left = (at_least if self._is_notified else max(at_least, at_most)) - (time.monotonic() - started)
            if left <= 0:
                break
            if select.select([self._reader], [], [], left)[0]:
                os.read(self._reader, _DRAINED_BYTES)
        self._is_notified = False

    @contextmanager
    def interruptible(self) -> Iterator[None]:
        """In here a signal raises KeyboardInterrupt, as it does in `loader run`."""
        self._is_interruptible = True
        try:
            if self.is_end_asked:
                raise KeyboardInterrupt
            yield
        finally:
            self._is_interruptible = False

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.is_end_asked = True
        if self._is_interruptible:
            raise KeyboardInterrupt
