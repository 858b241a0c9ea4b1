"""Checks of the embedded PostgreSQL, without starting it."""

from __future__ import annotations

import fcntl
import os
import shutil
from contextlib import ExitStack
from pathlib import Path

from loader.operate.checks_program import Check, Host
from loader.operate.findings import Finding, fail, megabytes, note, ok, warn
from loader.settings import names_database

_LITTLE_ROOM = 5_000_000_000  # max_wal_size, and something to store
_NO_ROOM = 200_000_000


def place_of(host: Host) -> Path:
    """Return where the embedded PostgreSQL lives, or would."""
    return host.settings.embedded / "postgres"


def embedded(host: Host) -> Finding:
    """The embedded PostgreSQL can be used, where no database is named."""
    place = place_of(host)
    is_there = os.path.lexists(place)
    if names_database(host.settings):
        if is_there:
            return note(f"a database is named, so the embedded PostgreSQL in {host.settings.embedded} is not used")
        return ok("not used: a database is named")
    from loader.embedded_home import MAJOR, binaries, settle

    binaries()
    if not is_there:
        return note(f"no database is named: the first run makes an embedded PostgreSQL in {host.settings.embedded}")
    home = settle(host.settings.embedded)
    version = home.data / "PG_VERSION"
    if not version.exists():
        return note(f"{home.data} is not made yet: the next run makes it")
    if (found := version.read_text().strip()) != MAJOR:
        return fail(
            f"{home.data} was made by PostgreSQL {found}, the embedded one is {MAJOR}",
            f"dump it with PostgreSQL {found}, move {home.data} away and load the dump",
        )
    return ok(f"PostgreSQL {MAJOR} in {home.place}")


def embedded_server(host: Host) -> Finding:
    """No server is left of a loader that was killed, and none has crashed."""
    if names_database(host.settings) or not place_of(host).exists():
        return ok("no embedded PostgreSQL in use")
    from loader.embedded_home import settle

    home = settle(host.settings.embedded)
    with ExitStack() as stack:

        def is_free(name: str) -> bool:
            lock = home.open(name)
            stack.callback(os.close, lock)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True

        # Without control.lock, a look at the other two would get in the way of whoever starts or stops the server.
        if not is_free("control.lock"):
            return ok("somebody is starting or stopping the server just now")
        runs = not is_free("server.lock")
        if runs and not is_free("users.lock"):
            return ok("the server is up, and in use")
        if runs:
            return note(
                "the server is up and nobody uses it: its last user was killed. The next command stops it when it ends",
                "loader psql -c 'SELECT 1'",
            )
        if home.pid_file.exists():
            return note(f"the server did not end in order: the next start recovers it; see {home.log}")
    return ok("the server is down, and ended in order")


def embedded_space(host: Host) -> Finding:
    """There is room on the disk of the embedded PostgreSQL."""
    place = host.settings.embedded
    if names_database(host.settings) or not place_of(host).exists():
        return ok("no embedded PostgreSQL in use")
    free = shutil.disk_usage(place_of(host)).free
    room = f"{place}: {megabytes(free)} free"
    if free < _NO_ROOM:
        return fail(f"{room}: the server will stop for want of room", f"make room: df -h {place_of(host).resolve()}")
    if free < _LITTLE_ROOM:
        return warn(f"{room}: its log of changes alone may take 4 GB", f"make room: df -h {place_of(host).resolve()}")
    return ok(room)


CHECKS: list[Check] = [embedded, embedded_server, embedded_space]
