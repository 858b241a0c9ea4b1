"""The rows of a run's loads, read by threads ahead of whoever loads them.

That takes no database: the first rows are read while it is being looked at, and while what talks to it is imported.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import chain, repeat

from loader import ahead
from loader.ahead import Load, Part
from loader.contract import Contract
from loader.decode import BlockReader
from loader.errors import Abandoned
from loader.identify import Identification
from loader.item import Item
from loader.prefetch import prefetched
from loader.seen import SeenKeys
from loader.spill import Spill
from loader.units import Units

Progress = Callable[[int, int, int], None]  # bytes read, rows read, rows rejected since the last call


class Reading:
    """Reads what is identified, for each of its takers in a thread of its own."""

    def __init__(
        self, contract: Contract, identification: Identification, progress: Progress, *, max_line_bytes: int
    ) -> None:
        """`progress` is called from any thread."""
        self.seen = SeenKeys()  # in all loads
        self.contract = contract
        # Several takers wait for this one process more than for Postgres, which has a session for each to sort in.
        self._decoding_contract = contract if identification.takers == 1 else contract.unsorted()
        self._identification = identification
        self._tell = progress
        self._max_line_bytes = max_line_bytes
        self._index_bytes = 0
        self._knows_index = threading.Event()
        self.given_up = threading.Event()  # and the loads in hand with it

    @contextmanager
    def loads(self, *, parts_ahead: int) -> Iterator[list[Iterator[Load]]]:
        """Yield for each taker the loads that it takes, whose rows are read from now on, for as long as this lasts.

        parts_ahead: how many parts of them are read before one is taken.
        """
        with ExitStack() as context:
            loads = [context.enter_context(self._loads(parts_ahead)) for _ in range(self._identification.takers)]
            context.callback(self.give_up)
            yield loads

    def _loads(self, parts_ahead: int) -> AbstractContextManager[Iterator[Load]]:
        are_awaited = chain([True], repeat(False))  # The rows of each later load are read beside the one before.
        return ahead.loads(
            self._identification.batches(),
            lambda items: self.parts(items, self.seen, is_awaited=next(are_awaited)),
            depth=parts_ahead,
        )

    def parts(self, items: Sequence[Item], seen: SeenKeys, *, is_awaited: bool) -> Generator[Part]:
        """Yield the rows of a load's items.

        Raises:
            FileProblem: the only item can't be read.
            Abandoned: it was given up.
        """
        # A reader for each time: one load may be read again while the next is begun.
        reader = self.reader(self._advance)
        validated = ahead.validated(reader, self.contract, self._progress, items, is_awaited=is_awaited)
        with prefetched(validated, depth=1) as parts, Spill() as spill:
            yield from ahead.united(parts, Units(self.contract, seen, spill, index_bytes=self._known_index_bytes()))

    def reader(self, advance: Callable[[int], None]) -> BlockReader:
        """Return a reader of files; `advance` is told how many bytes it has read."""
        return BlockReader(self._decoding_contract, max_line_bytes=self._max_line_bytes, advance=advance)

    def know_index(self, size: int) -> None:
        """Take note of how large, in bytes, the index on event_id is; no unit is cut before that is known."""
        self._index_bytes = size
        self._knows_index.set()

    def give_up(self) -> None:
        """Let whoever reads, or waits for what is read, get Abandoned soon."""
        self.given_up.set()
        self._identification.give_up()
        self._knows_index.set()

    def check(self) -> None:
        """Raise Abandoned if it was given up."""
        if self.given_up.is_set():
            raise Abandoned("the run is given up")

    def _known_index_bytes(self) -> int:
        self._knows_index.wait()
        self.check()
        return self._index_bytes

    def _progress(self, size: int, rows: int, rejected: int) -> None:
        self.check()
        self._tell(size, rows, rejected)

    def _advance(self, size: int) -> None:
        self._progress(size, 0, 0)
