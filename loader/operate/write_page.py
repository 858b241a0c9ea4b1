"""`loader report`: reads the database and quarantine, and writes the page."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from loader import landing
from loader.database import connected
from loader.errors import UsageError
from loader.operate import page, page_data, page_waiting
from loader.operate.reading import is_there
from loader.run import database
from loader.settings import Settings


def write_page(settings: Settings, output: Path, *, days: int, described: str) -> int:
    """Write the report about the last `days` to `output`; return its size in bytes.

    Raises:
        UsageError: the charting library is not installed, or the page can't be written there.
        DatabaseError: the database can't be read.
    """
    library = page.charting_library()
    waiting = page_waiting.look(settings.landing / landing.QUARANTINE)
    data = None
    if is_there(settings):
        with database(settings) as conninfo, connected(conninfo) as connection:
            data = page_data.read(connection, days=days, quarantined=[file.file_id for file in waiting.files])
    text = page.render(data, waiting, database=described, days=days, library=library).encode()
    try:
        _write(output, text)
    except OSError as error:
        raise UsageError(f"can't write {output}: {error.strerror}") from error
    return len(text)


def _write(output: Path, text: bytes) -> None:
    """Put the page in its place at once. It quotes rows from quarantine, which only their owner may read."""
    descriptor, temporary = tempfile.mkstemp(dir=output.parent, prefix=f".{output.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text)
        Path(temporary).replace(output)
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
