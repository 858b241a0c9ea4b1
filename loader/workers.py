"""Threads that load batches side by side, each over a database session of its own."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self

from loader.ahead import Load
from loader.model import FileOutcome
from loader.pipeline import Pipeline
from loader.reading import Reading
from loader.run import Watcher
from loader.session import Session
from loader.settings import Settings
from loader.settle import Settler
from loader.sidecar import Sidecar

_POLL_SECONDS = 0.2
_PATIENCE_SECONDS = 5.0  # for what has been cancelled


class Workers:
    """A worker for each taker of a reading; they take its loads in order, for as long as the context lasts."""

    def __init__(
        self,
        settings: Settings,
        conninfo: str,
        reading: Reading,
        loads: Sequence[Iterator[Load]],
        watcher: Watcher,
        *,
        sidecar: Sidecar,
    ) -> None:
        """loads: what each worker loads, as `reading` gives them."""
        self._settings = settings
        self._watcher = watcher
        self._reading = reading
        self._sidecar = sidecar
        # Each worker ends with None, or with the error that ended it.
        self._done: queue.SimpleQueue[Sequence[FileOutcome] | BaseException | None] = queue.SimpleQueue()
        self._stopped = threading.Event()  # no further batch is begun
        self._sessions = [Session(conninfo, reading.contract, self._notify, reading.given_up) for _ in loads]
        self._threads = [
            threading.Thread(target=self._work, args=work, name="loader-worker", daemon=True)
            for work in zip(self._sessions, loads, strict=True)
        ]

    def __enter__(self) -> Self:
        """Start the workers."""
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Roll back what is still in hand (after Ctrl-C) and wait for the workers.

        A thread that outlived the interpreter could crash it.
        """
        self._stopped.set()
        self._reading.give_up()  # and with it the loads in hand
        patience_ends = time.monotonic() + _PATIENCE_SECONDS
        while any(thread.is_alive() for thread in self._threads):
            # A network that drops everything would be waited for without an end.
            is_patient = time.monotonic() < patience_ends
            for session in self._sessions:
                session.cancel() if is_patient else session.cut()
            for thread in self._threads:
                thread.join(_POLL_SECONDS)

    def outcomes(self) -> Iterator[Sequence[FileOutcome]]:
        """Yield outcomes as they come, some at a time.

        When a worker fails, the others finish the load in hand; then what it raised is raised here.
        """
        failure: BaseException | None = None
        running = len(self._threads)
        while running:
            try:
                # A wait without an end was seen to miss Ctrl-C once the workers' libraries are loaded.
                done = self._done.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(done, Sequence):
                yield done
                continue
            running -= 1
            if done is not None:
                self._stopped.set()
                failure = failure or done
        if failure is not None:
            raise failure

    def _notify(self, line: str) -> None:
        if not self._reading.given_up.is_set():  # After Ctrl-C a lost connection is no news.
            self._watcher.notify(line)

    def _settler(self, session: Session) -> Settler:
        return Settler(session, self._sidecar, self._settings.landing, self._reading.contract.version, self._done.put)

    def _work(self, session: Session, loads: Iterator[Load]) -> None:
        try:
            with session, self._settler(session) as settler:
                pipeline = Pipeline(
                    session,
                    self._reading,
                    self._sidecar,
                    landing_folder=self._settings.landing,
                    budget=self._settings.budget,
                )
                session.retrying(session.connection)  # while the first rows are being read
                for load in loads:
                    if self._stopped.is_set():
                        break
                    for items in pipeline.load(load):
                        settler.add(items)
            self._done.put(None)
        except BaseException as error:  # noqa: BLE001 # raised again by whoever asked for the outcomes
            self._done.put(error)
