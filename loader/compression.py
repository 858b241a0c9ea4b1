"""Plain, gzip and zstd files as one stream of bytes; a file that is not what its name says is refused."""

from __future__ import annotations

import gzip
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, Protocol, cast

from loader.errors import FileRefused, FileUnavailable
from loader.landing import Compression, Format, LandingFile
from loader.opening import File, reading

_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"PAR1": "Parquet",
}
_SKIPPABLE = b"\x2a\x4d\x18"
_EXPECTED = {Compression.GZIP: "gzip", Compression.ZSTD: "zstd"}
# What the decompressors are asked for at a time; they may return less.
_READ_BYTES = 1 << 20


class Reader(Protocol):
    """Anything with a `read` that returns at most `size` bytes, and none only at the end."""

    def read(self, size: int, /) -> bytes:
        """Read at most `size` bytes."""


def check_name(file: File, landing_file: LandingFile) -> None:
    """Raise FileRefused where the first bytes of `file` belie its name, FileUnavailable where they can't be read."""
    with reading():
        head = file.read(4) or b""
        file.seek(0)
    found = next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)
    if head[1:] == _SKIPPABLE and head[0] >> 4 == 5:  # noqa: PLR2004
        found = "zstd"  # RFC 8878, section 3.1.2: 0x184D2A50 to 0x184D2A5F; pzstd begins with one.
    is_parquet = landing_file.format is Format.PARQUET
    expected = "Parquet" if is_parquet else _EXPECTED.get(landing_file.compression)
    if expected is not None and not head:
        raise FileRefused("truncated", f"the file is empty, which no {expected} file is")
    if found != expected:
        raise FileRefused(
            "wrong_extension", f"the name says {expected or 'NDJSON'}, the content is {found or 'something else'}"
        )


@contextmanager
def decompressed(file: File, compression: Compression) -> Iterator[Reader]:
    """Yield a reader of the decompressed bytes.

    Raises, from its `read` too:
        FileRefused: the compressed stream is truncated or corrupt.
        FileUnavailable: a read fails.
    """
    try:
        if compression is Compression.GZIP:
            with gzip.GzipFile(fileobj=cast("BinaryIO", file), mode="rb") as stream:
                yield _FullReader(cast("Reader", stream))
        elif compression is Compression.ZSTD:
            with _zstd_file(file) as stream:
                yield _FullReader(stream)
        else:
            yield _FullReader(file)
    except EOFError as error:
        raise FileRefused("truncated", f"the {compression} stream ends too early") from error
    except (gzip.BadGzipFile, zlib.error, _zstd_error()) as error:
        raise FileRefused("corrupt", f"the {compression} stream is corrupt: {error}") from error
    except OSError as error:
        raise FileUnavailable("file_unreadable", f"reading fails: {error.strerror or error}") from error


class _FullReader:
    """Returns as much as was asked for, until the end; decompressors return what they have at hand."""

    def __init__(self, source: Reader) -> None:
        self._source = source

    def read(self, size: int, /) -> bytes:
        first = self._source.read(min(size, _READ_BYTES)) or b""
        if len(first) == size or not first:
            return first
        parts, have = [first], len(first)
        while have < size and (part := self._source.read(min(size - have, _READ_BYTES))):
            parts.append(part)
            have += len(part)
        return b"".join(parts)


if sys.version_info >= (3, 14):

    def _zstd_file(file: File) -> BinaryIO:
        from compression.zstd import ZstdFile

        return ZstdFile(file)

    def _zstd_error() -> type[Exception]:
        from compression.zstd import ZstdError

        return ZstdError

else:

    def _zstd_file(file: File) -> BinaryIO:
        from backports.zstd import ZstdFile  # only zstd files need it

        return cast("BinaryIO", ZstdFile(file))

    def _zstd_error() -> type[Exception]:
        if "backports.zstd" not in sys.modules:
            return EOFError  # No zstd file was opened, so that none can be corrupt.
        from backports.zstd import ZstdError

        return ZstdError
