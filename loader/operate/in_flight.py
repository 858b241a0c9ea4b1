"""What loaders have in hand right now."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from loader import resources
from loader.database import Connection
from loader.errors import FileUnavailable
from loader.landing import LandingFile
from loader.names import printable
from loader.opening import fingerprint, opened

# A lock only knows how a content's hash begins. To find its file's name, files are read up to so many bytes together.
_HASHED_BYTES = 1 << 30


@dataclass(slots=True)
class Claimed:
    """A content that a loader has claimed, and who that is, as far as the role may see it."""

    sha256_begins: str  # 16 hex digits
    process: int  # of the server
    address: str | None  # None: over a socket, or not to be seen
    seconds: float | None
    name: str | None = None


def claimed(connection: Connection) -> list[Claimed]:
    """Return the contents that are claimed in this database, longest first."""
    return [Claimed(*row) for row in connection.execute(resources.sql("claimed_contents"))]


def find_names(claims: Iterable[Claimed], files: Iterable[LandingFile]) -> None:
    """Give the claims the names of those files whose content they are; `files` come as loaders take them."""
    nameless = {claim.sha256_begins: claim for claim in claims if claim.name is None}
    for file, digest in _fingerprints(files):
        if not nameless:
            return
        if (claim := nameless.pop(digest.hex()[:16], None)) is not None:
            claim.name = printable(file.path.name)


def _fingerprints(files: Iterable[LandingFile]) -> Iterator[tuple[LandingFile, bytes]]:
    left = _HASHED_BYTES
    for file in files:
        if file.size <= left:
            left -= file.size
            try:
                with opened(file.path) as handle:
                    yield file, fingerprint(handle)
            except FileUnavailable:
                continue
