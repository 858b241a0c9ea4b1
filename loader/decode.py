"""Files -> blocks of decoded rows, in order and with bounded memory; small files share a block."""

from __future__ import annotations

import bisect
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import groupby

import numpy as np
import polars as pl

from loader import landing, ndjson, opening, rejected
from loader.compression import Reader, decompressed
from loader.contract import Contract
from loader.errors import FileProblem, FileUnavailable
from loader.landing import Compression, Format, LandingFile
from loader.lines import Chunk, chunks
from loader.model import Block, Problem, Raw

BLOCK_BYTES = 8 << 20
# A file that shares a load with others is held whole before its first row is staged, so that a file found broken at
# its end has left nothing behind. More than this, decompressed, is not held.
SHARED_FILE_BYTES = 16 << 20
# However short its lines are, a block has about as many: a bad row takes far more memory than it has bytes.
_MAX_ROWS = 32_768


class TooLargeToShareError(Exception):
    """Raised when a file that was to share a load turns out too large once decompressed."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file to decode, and the id that its rows carry."""

    file: LandingFile
    file_id: int


Advance = Callable[[int], None]
OnProblem = Callable[[Source, FileProblem | TooLargeToShareError], None]


class BlockReader:
    """Decodes files into blocks."""

    def __init__(self, contract: Contract, *, max_line_bytes: int, advance: Advance = lambda _: None) -> None:
        self._contract = contract
        self._max_line_bytes = max_line_bytes
        self._advance = advance  # told how many bytes of a file were read
        self._ndjson = ndjson.Decoder(contract, max_line_bytes=max_line_bytes)

    def stream(self, source: Source) -> Generator[Block]:
        """Yield one file's rows, of any size.

        Raises:
            FileProblem: the file can't be read, isn't what its name says, or changed meanwhile.
        """
        if source.file.format is Format.PARQUET:
            yield from self._parquet(source)
            return
        line = 1
        for chunk in self._chunks(source.file):
            for piece, newlines in _pieces(chunk):
                rows = ndjson.Rows()
                line = self._add(rows, piece, newlines, source.file_id, line)
                if rows:
                    yield self._ndjson.block(rows)

    def share(self, sources: Sequence[Source], on_problem: OnProblem) -> Generator[Block]:
        """Yield the rows of many small files, pooled; a file with a problem contributes none, and is reported.

        One that is too large to share ends it: those after it are younger.
        """
        rows = ndjson.Rows()
        pool: list[Block] = []
        pooled_bytes = 0
        for source in sources:
            try:
                if source.file.format is Format.PARQUET:
                    pool += self._held_blocks(source)
                    held: list[Chunk] = []
                else:
                    held = self._held_chunks(source.file)
            except FileProblem as problem:
                on_problem(source, problem)
                continue
            except TooLargeToShareError as too_large:
                on_problem(source, too_large)
                break
            line = 1
            for chunk in held:
                for piece, newlines in _pieces(chunk):
                    line = self._add(rows, piece, newlines, source.file_id, line)
                    pooled_bytes += len(piece.data)
                    if pooled_bytes >= BLOCK_BYTES or len(rows) >= _MAX_ROWS:
                        # With what is pooled before it: an older file's rows must not come later.
                        yield from self._pooled(rows, pool)
                        rows, pool, pooled_bytes = ndjson.Rows(), [], 0
            if sum(block.frame.height for block in pool) >= _MAX_ROWS:
                yield from self._pooled(rows, pool)
                rows, pool, pooled_bytes = ndjson.Rows(), [], 0
        yield from self._pooled(rows, pool)

    def _pooled(self, rows: ndjson.Rows, pool: list[Block]) -> Iterator[Block]:
        blocks = [*([self._ndjson.block(rows)] if rows else []), *pool]
        if blocks:
            yield blocks[0] if len(blocks) == 1 else _concatenated(blocks)

    def _add(self, rows: ndjson.Rows, chunk: Chunk, newlines: int, file_id: int, line: int) -> int:
        """Decode a chunk that starts at `line`; return the number of the line after it."""
        if chunk.over_limit:
            self._ndjson.add_over_limit(rows, chunk.data, length=chunk.over_limit, file_id=file_id, line=line)
            return line + 1
        return line + self._ndjson.add(rows, chunk.data, file_id=file_id, first_line=line, newlines=newlines)

    def _chunks(self, file: LandingFile) -> Iterator[Chunk]:
        if file.origin is not None:
            yield from rejected.chunks(
                file, self._contract, size=BLOCK_BYTES, max_line_bytes=self._max_line_bytes, advance=self._advance
            )
            return
        with opening.opened_as_found(file) as handle:
            if file.compression is Compression.NONE and isinstance(handle, BytesIO):
                # Each layer that many small files need not pass through is worth it.
                self._advance(file.size)
                yield from chunks(handle, size=BLOCK_BYTES, max_line_bytes=self._max_line_bytes)
                return
            with decompressed(handle, file.compression) as stream:
                watched = _Watched(stream, handle, self._advance)
                yield from chunks(watched, size=BLOCK_BYTES, max_line_bytes=self._max_line_bytes)

    def _held_chunks(self, file: LandingFile) -> list[Chunk]:
        held: list[Chunk] = []
        size = 0
        for chunk in self._chunks(file):
            held.append(chunk)
            size += len(chunk.data)
            if size > SHARED_FILE_BYTES:
                raise TooLargeToShareError
        return held

    def _parquet(self, source: Source) -> Iterator[Block]:
        from loader import parquet  # takes a tenth of the time that all imports take; most folders have no such file

        with opening.opened_as_found(source.file) as handle:
            blocks = parquet.blocks(
                handle,
                self._contract,
                file_id=source.file_id,
                block_bytes=BLOCK_BYTES,
                max_row_bytes=self._max_line_bytes,
            )
            seen = 0
            for block in blocks:
                position = min(handle.tell(), source.file.size)
                self._advance(max(0, position - seen))
                seen = max(seen, position)
                yield block
            self._advance(source.file.size - seen)

    def _held_blocks(self, source: Source) -> list[Block]:
        held: list[Block] = []
        for block in self._parquet(source):
            held.append(block)
            if len(held) > 1:
                raise TooLargeToShareError
        return held


class _Watched:
    """A stream that tells how far its file was read, be it in the middle of a line of gigabytes."""

    def __init__(self, stream: Reader, file: opening.File, advance: Advance) -> None:
        self._stream = stream
        self._file = file
        self._advance = advance
        self._seen = 0

    def read(self, size: int, /) -> bytes:
        block = self._stream.read(size)
        position = self._file.tell()
        self._advance(position - self._seen)
        self._seen = position
        return block


def _pieces(chunk: Chunk) -> Iterator[tuple[Chunk, int]]:
    """Cut a chunk of very short lines into pieces of a block's rows; count the newlines of each."""
    # bytes.count takes four times as long.
    newlines = int(np.count_nonzero(np.frombuffer(chunk.data, np.uint8) == ord("\n")))
    if chunk.over_limit or newlines <= _MAX_ROWS:
        yield chunk, newlines
        return
    lines = chunk.data.split(b"\n")
    end = lines.pop()
    for start in range(0, len(lines), _MAX_ROWS):
        piece = lines[start : start + _MAX_ROWS]
        yield Chunk(b"\n".join(piece) + b"\n", 0), len(piece)
    if end:
        yield Chunk(end, 0), 0


def paired(blocks: Iterable[Block], *, is_awaited: bool) -> Iterator[Block]:
    """Put two blocks each together, since a Pandera call costs 20 ms; not the first one where Postgres waits for it."""
    held: Block | None = None
    for number, block in enumerate(blocks):
        if number == 0 and is_awaited:
            yield block
        elif held is None:
            held = block
        else:
            yield _concatenated([held, block])
            held = None
    if held is not None:
        yield held


def _concatenated(blocks: Sequence[Block]) -> Block:
    """Return blocks as one."""
    starts: list[int] = []
    problems: dict[int, list[Problem]] = {}
    height = 0
    for block in blocks:
        starts.append(height)
        problems |= {height + row: found for row, found in block.problems.items()}
        height += block.frame.height

    def raws(rows: Sequence[int]) -> list[Raw]:
        found: list[Raw] = []
        for index, some in groupby(rows, key=lambda row: bisect.bisect_right(starts, row) - 1):
            found += blocks[index].raws([row - starts[index] for row in some])
        return found

    return Block(pl.concat([block.frame for block in blocks]), problems, raws)


def find_raw(reader: BlockReader, source: Source, lines: Iterator[int]) -> Generator[tuple[int, Raw]]:
    """Read a file again and yield (line, raw row) for `lines`, which ascend.

    Raises:
        FileUnavailable: the file no longer has such a line, or changed meanwhile.
    """
    wanted = next(lines, None)
    for block in reader.stream(source):
        if wanted is None:
            # It is not read to its end, where the reader would have noticed.
            if not landing.is_same_file(source.file.path, source.file):
                raise FileUnavailable("file_changed", "the file changed while it was being read")
            return
        numbers = block.frame["line"]
        rows = numbers.arg_sort()
        numbers = numbers[rows]
        while wanted is not None and block.frame.height and wanted <= numbers[-1]:
            place = numbers.search_sorted(wanted)
            if numbers[place] != wanted:
                raise FileUnavailable("file_changed", f"line {wanted} is gone")
            row = rows[place]
            (raw,) = block.raws([row])
            yield wanted, raw
            wanted = next(lines, None)
    if wanted is not None:
        raise FileUnavailable("file_changed", f"line {wanted} is gone")
