"""Checks of what others do in the database just now, and of what was left behind."""

from __future__ import annotations

from loader.database import LOCK_CLASS, MIGRATION_LOCK
from loader.operate.checks_database import Server, ServerCheck
from loader.operate.findings import Finding, duration, note, ok, warn, worst

_LONG_SECONDS = 3600
_STALE_SECONDS = 600


def events_locked(server: Server) -> Finding:
    """Nobody keeps loads from writing."""
    found = [
        warn(
            f"{application or 'a session'} (pid {pid}) has locked events or loader_files ({mode}) "
            f"for {duration(seconds)}: a load waits up to 5 minutes for it, and fails then",
            _terminate(pid),
        )
        for pid, application, mode, seconds in server.rows("doctor_holders")
    ]
    return worst(found, "nobody keeps loads from writing")


def long_transactions(server: Server) -> Finding:
    """No old transaction keeps what is dead from being cleaned up."""
    ((role, *_, sees_all),) = server.rows("doctor_role")
    found = [
        warn(
            f"{application or 'a session'} ({f'pid {pid}' if pid else 'prepared'}, {state}) has had a transaction open "
            f"for {duration(seconds)}: no dead row is cleaned up meanwhile",
            _terminate(pid) if pid else f"ROLLBACK PREPARED {application};",
        )
        for pid, application, state, seconds in server.rows("doctor_long_transactions", seconds=_LONG_SECONDS)
    ]
    if not found and not sees_all:
        return ok(
            "no transaction of this role is older than an hour; those of others it may not see "
            f"(GRANT pg_read_all_stats TO {role}; changes that)"
        )
    return worst(found, "no transaction is older than an hour")


def claims(server: Server) -> Finding:
    """No loader that hangs keeps files from being loaded by others."""
    found = []
    loading = 0
    for pid, application, state, seconds, is_migration, count in server.rows(
        "doctor_claims", lock_class=LOCK_CLASS, migration_lock=MIGRATION_LOCK
    ):
        what = "a migration" if is_migration else f"{count:,} contents"
        if state is not None and state != "active" and (seconds or 0) > _STALE_SECONDS:
            found.append(
                warn(
                    f"{application} (pid {pid}, {state}) has {what} in hand and has not moved for {duration(seconds)}: "
                    "to others those files are busy",
                    _terminate(pid),
                )
            )
        else:
            loading += 1
    if loading:
        found.append(note(f"{loading} loaders are at work just now"))
    return worst(found, "no loader has a file in hand")


def staging(server: Server) -> Finding:
    """No staging table is left of a session that is gone."""
    names = [name for (name,) in server.rows("doctor_staging")]
    if names:
        return note(
            f"{', '.join(names)} was left by a session that is gone; the server's autovacuum drops it in time",
            "\n".join(f"DROP TABLE {name};   -- as a superuser" for name in names),
        )
    return ok("no staging table is left behind")


def _terminate(pid: int | None) -> str:
    return f"SELECT pg_terminate_backend({pid});   -- once you know what it is"


CHECKS: list[ServerCheck] = [events_locked, long_transactions, claims, staging]
