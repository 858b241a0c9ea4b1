"""Runs a stage's iterator ahead in a thread of its own, so that stages overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

T = TypeVar("T")


class _End:
    """Stands at the end of the queue: `error` is what ended the producer, None where it was done."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Producer(Generic[T]):
    def __init__(self, items: Generator[T], depth: int) -> None:
        self._items = items
        self._ahead: queue.SimpleQueue[T | _End] = queue.SimpleQueue()
        self._room = threading.Semaphore(depth)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._produce, name="loader-prefetch", daemon=True)
        self._thread.start()

    def consume(self) -> Iterator[T]:
        while not isinstance(item := self._ahead.get(), _End):
            self._room.release()
            yield item
        if item.error is not None:
            raise item.error

    def stop(self) -> None:
        self._stopped.set()
        self._room.release()
        self._thread.join()

    def _produce(self) -> None:
        error: BaseException | None = None
        try:
            while self._has_room():
                self._ahead.put(next(self._items))
            self._items.close()
        except StopIteration:
            pass
        except BaseException as raised:  # noqa: BLE001 # raised again where it is consumed; a Polars panic is no Exception
            error = raised
        self._ahead.put(_End(error))

    def _has_room(self) -> bool:
        self._room.acquire()
        return not self._stopped.is_set()


@contextmanager
def prefetched(items: Generator[T], *, depth: int) -> Iterator[Iterator[T]]:
    """Yield an iterator over `items`; a thread has up to `depth` of them ready, or in the making.

    What `items` raises is raised to the consumer. Leaving the context stops the producer, closes `items` in its
    thread, and waits for that.
    """
    producer = _Producer(items, depth)
    try:
        yield producer.consume()
    finally:
        producer.stop()
