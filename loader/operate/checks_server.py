"""Checks of the server's settings: those that lose data, and those that make bulk loading slow."""

from __future__ import annotations

from typing import NamedTuple

from loader.operate.checks_database import Server, ServerCheck
from loader.operate.findings import Finding, fail, note, ok, warn

_RELOAD = "SELECT pg_reload_conf();"
_MUCH_WAL = 4 << 30
_LITTLE_WAL = 1 << 30
_FEW_LOCKS = 1_500  # a batch of small files takes up to 1,000 advisory locks
_SMALL_BUFFERS = 128 << 20
_FEW_CHECKPOINTS = 10
_SIZES = {"B": 1, "kB": 1 << 10, "8kB": 8 << 10, "16kB": 16 << 10, "32kB": 32 << 10, "MB": 1 << 20}
_VERSION_17 = 170_000


class Setting(NamedTuple):
    """A setting of the server."""

    value: str
    unit: str
    choices: list[str]
    default: str  # what a session has that sets nothing

    def bytes(self) -> int:
        """Return a size in bytes."""
        return int(self.value) * _SIZES[self.unit]


def _as_set(size: int) -> str:
    """Spell a size as PostgreSQL's settings do, where a MB has 1024 times 1024 bytes."""
    return f"{size >> 20:,} MB"


def _settings(server: Server, *names: str) -> dict[str, Setting]:
    return {name: Setting(*rest) for name, *rest in server.rows("doctor_settings", names=list(names))}


def durability(server: Server) -> Finding:
    """What was committed survives a crash of the server's machine."""
    known = _settings(server, "fsync", "full_page_writes", "synchronous_commit", "synchronous_standby_names")
    if known["fsync"].value == "off":
        return fail(
            "fsync is off: a crash of the server's machine may destroy the database, "
            "and the files are in the archive by then",
            f"ALTER SYSTEM SET fsync = on; {_RELOAD}",
        )
    if known["full_page_writes"].value == "off":
        return warn(
            "full_page_writes is off: a crash of the server's machine may tear pages, unless its file system can't",
            f"ALTER SYSTEM SET full_page_writes = on; {_RELOAD}",
        )
    ((standbys,),) = server.rows("doctor_standbys")
    waits = known["synchronous_commit"].value not in ("off", "local")
    if known["synchronous_standby_names"].value and waits and not standbys:
        return fail(
            "commits wait for a synchronous standby, and none is connected: no load ever ends",
            f"bring the standby up, or: ALTER SYSTEM SET synchronous_standby_names = ''; {_RELOAD}",
        )
    if known["synchronous_commit"].default == "off":
        return note("synchronous_commit is off; the loader turns it on for its own sessions")
    return ok("what was committed survives a crash")


def timeouts(server: Server) -> Finding:
    """The session's own settings have reached the server."""
    names = ("idle_in_transaction_session_timeout", "idle_session_timeout", "transaction_timeout")
    still = [name for name, setting in _settings(server, *names).items() if setting.value != "0"]
    if still:
        return warn(
            f"{', '.join(still)}: the loader turns it off for its sessions, and it is on: "
            "does a pooler reset what a session has set?",
            "name the server's own host and port",
        )
    return ok("the loader's sessions have no timeouts but the one for locks")


def wal_size(server: Server) -> Finding:
    """Checkpoints don't come one after the other while rows are loaded."""
    size = _settings(server, "max_wal_size")["max_wal_size"].bytes()
    remedy = f"ALTER SYSTEM SET max_wal_size = '4GB'; {_RELOAD}"
    if size >= _MUCH_WAL:
        return ok(f"max_wal_size is {_as_set(size)}")
    told = f"max_wal_size is {_as_set(size)}: the smaller, the more checkpoints a large load makes, and each costs"
    return (warn if size < _LITTLE_WAL else note)(f"{told} full-page images anew", remedy)


def checkpoints(server: Server) -> Finding:
    """Checkpoints have come by the clock so far."""
    version = 17 if server.connection.info.server_version >= _VERSION_17 else 14
    ((timed, requested, seconds),) = server.rows(f"doctor_checkpoints_{version}")
    total = timed + requested
    if not total or not seconds:
        return ok("no checkpoint yet")
    told = f"{requested:,} of {total:,} checkpoints were asked for, one every {seconds / total / 60:,.1f} minutes"
    if requested >= _FEW_CHECKPOINTS and requested > timed:
        return warn(
            f"{told}: loads outrun max_wal_size, unless commands such as CREATE DATABASE asked for them",
            f"ALTER SYSTEM SET max_wal_size = '16GB'; ALTER SYSTEM SET checkpoint_timeout = '15min'; {_RELOAD}",
        )
    return ok(told)


def wal_compression(server: Server) -> Finding:
    """WAL isn't compressed by the slow method."""
    setting = _settings(server, "wal_compression")["wal_compression"]
    fast = next((method for method in ("lz4", "zstd") if method in setting.choices), None)
    use_fast = f"ALTER SYSTEM SET wal_compression = {fast or 'off'}; {_RELOAD}"
    if setting.value in ("on", "pglz"):
        return warn("wal_compression is pglz, which was seen to make merges by random ids 2.8 times slower", use_fast)
    if setting.value == "off" and fast:
        return note(
            "wal_compression is off: a fast method writes less WAL, if disks and not processors limit", use_fast
        )
    return ok(f"wal_compression is {setting.value}")


def shared_buffers(server: Server) -> Finding:
    """The index on `event_id` has room in memory."""
    size = _settings(server, "shared_buffers")["shared_buffers"].bytes()
    index = sum(row[5] for row in server.rows("doctor_indexes") if row[1])
    remedy = "ALTER SYSTEM SET shared_buffers = '2GB';   -- a quarter of the memory; then restart the server"
    if index > size:
        return note(
            f"shared_buffers is {_as_set(size)} and the index on event_id {_as_set(index)}: "
            "a merge of random ids walks all of it",
            remedy,
        )
    if size <= _SMALL_BUFFERS:
        return note(f"shared_buffers is {_as_set(size)}, little for bulk loading", remedy)
    return ok(f"shared_buffers is {_as_set(size)}, the index on event_id {_as_set(index)}")


def lock_room(server: Server) -> Finding:
    """A batch of many small files finds room for its locks."""
    names = ("max_locks_per_transaction", "max_connections", "max_prepared_transactions")
    known = _settings(server, *names)
    room = int(known[names[0]].value) * (int(known[names[1]].value) + int(known[names[2]].value))
    if room < _FEW_LOCKS:
        return warn(
            f"the server has room for {room:,} locks, and a batch of many small files takes up to 1,000",
            "ALTER SYSTEM SET max_locks_per_transaction = 256;   -- and restart the server",
        )
    return ok(f"room for {room:,} locks")


CHECKS: list[ServerCheck] = [durability, timeouts, wal_size, checkpoints, wal_compression, shared_buffers, lock_room]
