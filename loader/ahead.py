"""Loads decoded, checked and cut into units ahead, the first unit while Postgres is busy with the load before."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import NamedTuple

import polars as pl

from loader.contract import Contract
from loader.decode import BlockReader, Source, TooLargeToShareError, paired
from loader.errors import Abandoned, FileProblem
from loader.identify import Identified
from loader.item import Item, begin
from loader.model import Reject
from loader.prefetch import prefetched
from loader.units import Units
from loader.validate import validate


class Validated(NamedTuple):
    """Rows of some items. They carry no file_id yet: in its place stands that of their item in the list."""

    read: list[tuple[int, int]]  # item, rows
    valid: pl.DataFrame
    rejects: list[Reject]


class Checked(NamedTuple):
    """Rows that have been read, those of them that are rejected, and maybe a unit of others: all as in Validated."""

    read: list[tuple[int, int]]
    rejects: list[Reject]
    unit: pl.DataFrame | None


class Trouble(NamedTuple):
    """Why an item's rows do not come with those of the others."""

    item: int
    problem: FileProblem | TooLargeToShareError


Part = Checked | Trouble
_Message = tuple["Load", Part | BaseException | None]  # the last of a load is no part: None, or what ended it


class Load:
    """Files that are to be loaded in one transaction, and their rows."""

    def __init__(self, files: Sequence[Identified]) -> None:
        self.items = [begin(*identified) for identified in files]
        # Those that have rows at all.
        self.readable = [item for item in self.items if item.problem is None]
        self.is_given_up = False
        self._messages: Iterator[Part | BaseException | None] = iter(())
        self._is_over = False

    def parts(self) -> Generator[Part]:
        """Yield the rows of `readable`, once.

        Raises:
            Whatever ended the reading of them.
        """
        for message in self._messages:
            if isinstance(message, Checked | Trouble):
                yield message
                continue
            self._is_over = True
            if message is not None:
                raise message
            return

    def begin(self, messages: Iterator[Part | BaseException | None]) -> None:
        """Take the rows from here."""
        self._messages = messages

    def end(self) -> None:
        """Pass over the parts that nobody has asked for."""
        self.is_given_up = True
        while not self._is_over:
            self._is_over = not isinstance(next(self._messages), Checked | Trouble)


@contextmanager
def loads(
    batches: Iterable[Sequence[Identified]], parts: Callable[[Sequence[Item]], Generator[Part]], *, depth: int
) -> Iterator[Iterator[Load]]:
    """Yield an iterator over loads, one for each of `batches`.

    parts: gives the parts of a load's readable items.
    depth: so many parts a thread is ahead of whoever takes them.
    """
    with prefetched(_messages(batches, parts), depth=depth) as messages:
        yield _handed_out(messages)


def _handed_out(messages: Iterator[_Message]) -> Iterator[Load]:
    for load, first in messages:
        load.begin(_beginning_with([first], messages))
        del first  # It is as large as what a load has in hand otherwise, and would live as long as its load.
        yield load
        load.end()


def _beginning_with(
    first: list[Part | BaseException | None], rest: Iterator[_Message]
) -> Iterator[Part | BaseException | None]:
    yield first.pop()
    for _, message in rest:
        yield message


def _messages(
    batches: Iterable[Sequence[Identified]], parts: Callable[[Sequence[Item]], Generator[Part]]
) -> Generator[_Message]:
    for files in batches:
        load = Load(files)
        part: Part | BaseException | None
        with closing(parts(load.readable)) as coming:
            while True:
                try:
                    part = None if load.is_given_up else next(coming, None)
                except Abandoned:
                    raise
                except BaseException as error:  # noqa: BLE001 # raised again by the load; a Polars panic is no Exception
                    part = error
                yield load, part
                if not isinstance(part, Checked | Trouble):
                    break


def united(parts: Iterator[Validated | Trouble], units: Units) -> Generator[Part]:
    """Put rows together to units."""
    for part in parts:
        if isinstance(part, Trouble):
            yield part
            continue
        read, valid, rejects = part
        units.take(valid)
        del part, valid  # A unit may be of other rows, and these are as large.
        for unit in units.due():
            yield Checked(read, rejects, unit)
            read, rejects = [], []
        if read:
            yield Checked(read, rejects, None)
    for unit in units.due(is_end=True):
        yield Checked([], [], unit)


def validated(
    reader: BlockReader,
    contract: Contract,
    progress: Callable[[int, int, int], None],
    items: Sequence[Item],
    *,
    is_awaited: bool,
) -> Generator[Validated | Trouble]:
    """Decode and validate the rows of `items`; the first of them in a smaller part where they are awaited.

    Raises:
        FileProblem: the only item can't be read.
        Abandoned: says `progress`.
    """
    sources = [Source(item.file, place) for place, item in enumerate(items)]
    troubles: list[Trouble] = []

    def on_problem(source: Source, problem: FileProblem | TooLargeToShareError) -> None:
        troubles.append(Trouble(source.file_id, problem))

    blocks = reader.stream(sources[0]) if len(sources) == 1 else reader.share(sources, on_problem)
    for block in paired(blocks, is_awaited=is_awaited):
        checked = validate(block, contract)
        progress(0, block.frame.height, len(checked.rejects))
        yield Validated(block.frame.group_by("file_id").len().rows(), checked.valid, checked.rejects)
    yield from troubles
