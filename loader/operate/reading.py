"""A database session for commands that only look: they neither set up a database nor migrate it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from loader import migrate
from loader.database import Connection, connected, reported
from loader.errors import DatabaseError
from loader.run import database
from loader.settings import Settings, names_database


def is_there(settings: Settings) -> bool:
    """Say whether there is a database to look at: the embedded one is made by the first load."""
    return names_database(settings) or os.path.lexists(settings.embedded / "postgres")


@contextmanager
def reading(settings: Settings) -> Iterator[Connection]:
    """Yield a session on the database that the settings mean; errors of the driver in there become the loader's.

    Raises:
        DatabaseError: it can't be reached or read, or has no schema of this program's version.
    """
    if not is_there(settings):
        raise DatabaseError(f"there is no database in {settings.embedded}/ yet: `loader run` makes it")
    with database(settings) as conninfo, connected(conninfo) as connection:
        if migrate.pending(connection):
            raise DatabaseError("the database's schema is not up to date: run `loader migrate`, or `loader run`")
        with reported("reading the database"):
            yield connection
