"""A stream of bytes -> chunks of whole lines, with bounded memory however long a line is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from loader.compression import Reader
from loader.errors import FileRefused

# What is kept of a line over the limit, to show in quarantine what it was.
PREFIX_BYTES = 4096
_UTF8_BOM = b"\xef\xbb\xbf"
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")


class Chunk(NamedTuple):
    """Whole lines; or, where `over_limit` is not 0, the first bytes of one line of `over_limit` bytes."""

    data: bytes
    over_limit: int


def chunks(stream: Reader, *, size: int, max_line_bytes: int) -> Iterator[Chunk]:
    """Cut `stream` into chunks of about `size` bytes, at newlines (0x0A) only. A BOM at the start is dropped.

    Raises:
        FileRefused: the stream is UTF-16 or UTF-32.
    """
    first = stream.read(size)
    block, rest = _start(first) or (first and stream.read(size)), b""
    while block:
        end = block.rfind(b"\n") + 1
        if end:
            is_whole = not rest and end == len(block)  # as a small file is, which need not be copied
            chunk, rest = Chunk(block if is_whole else b"".join((rest, memoryview(block)[:end])), 0), block[end:]
            block = b""  # It is as large as the chunk, and would wait with it until the next one is asked for.
            yield chunk
            del chunk
        else:
            rest += block
        if len(rest) > max_line_bytes:
            prefix, length, rest = _skip_line(stream, rest, size)
            yield Chunk(prefix, length)
            block, rest = rest or stream.read(size), b""  # What follows the long line may hold whole lines.
            continue
        block = stream.read(size)
    if rest:
        yield Chunk(rest, 0)


def _start(block: bytes) -> bytes:
    # A NUL in the first four bytes: JSON in UTF-16 or UTF-32 without a BOM (RFC 4627, section 3).
    if block.startswith(_UTF16_BOMS) or (b"\0" in block[:4] and block.strip(b"\0")):
        raise FileRefused("not_utf8", "the text is UTF-16 or UTF-32, not UTF-8")
    return block.removeprefix(_UTF8_BOM)


def _skip_line(stream: Reader, start: bytes, size: int) -> tuple[bytes, int, bytes]:
    """Read on to the end of a line that begins with `start`; return its first bytes, its length and what follows it."""
    prefix, length = start[:PREFIX_BYTES], len(start)
    while block := stream.read(size):
        end = block.find(b"\n")
        more = len(block) if end < 0 else end
        prefix += block[: min(more, PREFIX_BYTES - len(prefix))]
        length += more
        if end >= 0:
            return prefix, length, block[end + 1 :]
    return prefix, length, b""
