"""A process beside this one, for what takes many system calls: hashing, writing and moving many small files.

In one process the threads would take the interpreter from each other at each of them. The other process ends when the
pipe that it is asked through does, so that none outlives a loader that is killed.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

if TYPE_CHECKING:
    import subprocess

A = TypeVar("A")
B = TypeVar("B")

# Starting Python costs as much as it saves for some hundred files.
MANY_FILES = 1000
# Files at a time: few enough that whoever waits for them can be given up soon.
_SLICE_FILES = 100
_SERVE = "import sys; sys.path[:] = sys.argv[1:]; from loader.sidecar import serve; serve()"
# What is raised where the other process has died, or could not be started.
_GONE = (OSError, EOFError, pickle.UnpicklingError)


class Sidecar:
    """Does things in another process, for as long as the context lasts; here where that is not worth it or has died."""

    def __init__(self, *, files: int) -> None:
        """files: how many there are to do."""
        self._is_worth_it = files >= MANY_FILES
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> Self:
        """Start the other process."""
        if self._is_worth_it:
            self._start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """End it, once it has done what it was asked for."""
        with self._lock:
            self._end()

    def map(self, function: Callable[[A], B], arguments: Iterable[A], *, at_once: int = _SLICE_FILES) -> Iterator[B]:
        """Yield `function(argument)` for each argument. `function` is a module's own, and may be called twice.

        at_once: so many arguments are sent before the first answer comes.
        """
        rest = iter(arguments)
        while some := list(islice(rest, at_once)):
            done = self._done_there(function, some)
            yield from (function(argument) for argument in some) if done is None else done

    def _done_there(self, function: Callable[[A], B], arguments: Sequence[A]) -> list[B] | None:
        """Return what the other process returns, None where there is none."""
        with self._lock:
            if self._process is not None:
                try:
                    return self._ask(self._process, function, arguments)
                except _GONE:
                    self._end()
                except BaseException:
                    self._end()  # Half of an answer may be in the pipe.
                    raise
        return None

    def _start(self) -> None:
        import subprocess  # an idle run needs none of it

        try:
            # In a session of its own, where the terminal's Ctrl-C does not reach it: it ends with this process.
            self._process = subprocess.Popen(  # noqa: S603 # Python itself
                [sys.executable, "-P", "-X", f"utf8={sys.flags.utf8_mode}", "-c", _SERVE, *sys.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError:
            return  # as where there may be no more processes: then it is done here

    @staticmethod
    def _ask(process: subprocess.Popen[bytes], function: Callable[[A], B], arguments: Sequence[A]) -> list[B]:
        assert process.stdin is not None  # noqa: S101 # pipes
        assert process.stdout is not None  # noqa: S101
        pickle.dump((function, arguments), process.stdin)
        process.stdin.flush()
        answer: list[B] = pickle.load(process.stdout)  # noqa: S301 # from our own process
        return answer

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for pipe in (process.stdin, process.stdout):
            assert pipe is not None  # noqa: S101
            try:
                pipe.close()
            except OSError:
                continue  # What it was asked last could not be sent.
        process.wait()


def serve() -> None:
    """Be the other process: answer until nobody asks any more."""
    asked, answers = sys.stdin.buffer, sys.stdout.buffer
    try:
        while True:
            function, arguments = pickle.load(asked)  # noqa: S301 # from the process that started this one
            pickle.dump([function(argument) for argument in arguments], answers)
            answers.flush()
    except EOFError:
        return
    except BrokenPipeError:
        os._exit(0)  # Python itself would complain that nobody reads the rest.
