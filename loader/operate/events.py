"""Events of the landing folder, from watchdog. They only wake `loader watch` up: what there is, a scan tells."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver

# None that a scan itself causes (a folder is opened), or it would wake itself for ever; nor each write of a slow
# producer: a file that was seen young is looked at again anyway.
_KINDS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileMovedEvent,
    FileClosedEvent,
    DirCreatedEvent,
    DirMovedEvent,
    DirDeletedEvent,  # the folder itself, too
]


class _Handler(FileSystemEventHandler):
    """What is raised in here would end the observer's thread for good, so there is next to nothing in here."""

    def __init__(self, notify: Callable[[], None]) -> None:
        self._notify = notify

    def dispatch(self, event: FileSystemEvent) -> None:  # noqa: ARG002 # which one doesn't matter
        self._notify()


class Events:
    """Calls `notify` when something may have come into `folder`."""

    def __init__(self, folder: Path, *, recursive: bool, notify: Callable[[], None]) -> None:
        # Without a handler of its own a library's warnings would go to stderr.
        logging.getLogger("watchdog").addHandler(logging.NullHandler())
        self._folder = folder
        self._recursive = recursive
        self._handler = _Handler(notify)
        self._observer: BaseObserver | None = None
        self._watched: tuple[int, int] | None = None

    def renew(self) -> None:
        """See to it that events come from the folder that is there now; a new folder needs a new observer.

        Raises:
            OSError: there is no folder, or no events can be had from it.
        """
        status = self._folder.stat()
        if self._watched == (status.st_dev, status.st_ino) and self._is_alive():
            return
        self.close()
        self._observer = Observer()
        self._observer.schedule(self._handler, str(self._folder), recursive=self._recursive, event_filter=_KINDS)
        try:
            self._observer.start()
        except OSError:
            self.close()
            raise
        self._watched = (status.st_dev, status.st_ino)

    def close(self) -> None:
        """End the observer, if there is one."""
        observer, self._observer, self._watched = self._observer, None, None
        if observer is not None:
            observer.stop()
            with suppress(RuntimeError):  # It was never started.
                observer.join()

    def _is_alive(self) -> bool:
        """Say whether all threads are there; the one for a folder that was removed ends."""
        if self._observer is None or not self._observer.is_alive():
            return False
        return all(emitter.is_alive() for emitter in self._observer.emitters)
