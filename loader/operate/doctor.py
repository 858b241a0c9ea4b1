"""Checks what goes wrong in practice, and says how to mend it. It changes nothing: files of its own go again.

Each check is a small function that returns a `Finding`; its name is the check's. One that fails ends no other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from loader.errors import LoaderError
from loader.operate import checks_embedded, checks_folder, checks_host, checks_program
from loader.operate.checks_program import Host
from loader.operate.findings import Finding, Level, fail
from loader.settings import Settings, names_database

T = TypeVar("T")

# A check of the catalogs that takes longer waits for something.
_STATEMENT_TIMEOUT = "SET statement_timeout = '15s'"


class Checked(NamedTuple):
    """A check that was made."""

    name: str
    finding: Finding

    def as_json(self) -> dict[str, Any]:
        """Return what `--json` prints of it."""
        return {"check": self.name, **self.finding._asdict()}


def diagnose(settings: Settings, config: Path | None = None) -> Iterator[Checked]:
    """Make all checks, one after the other."""
    host = Host(settings, config)
    for check in checks_program.CHECKS:
        yield _checked(check, host)
    # Without a landing folder there is nothing else to say of it.
    in_landing = [*checks_folder.CHECKS, *checks_host.CHECKS] if settings.landing.is_dir() else checks_folder.CHECKS[:1]
    for check in (*in_landing, *checks_embedded.CHECKS):
        yield _checked(check, host)
    if names_database(settings) or os.path.lexists(checks_embedded.place_of(host)):
        yield from _diagnose_database(settings)


def _diagnose_database(settings: Settings) -> Iterator[Checked]:
    try:
        from loader.database import connected
        from loader.run import database

        with database(settings) as conninfo, connected(conninfo) as connection:
            connection.execute(_STATEMENT_TIMEOUT)
            yield from _diagnose_server(settings, conninfo, connection)
    except LoaderError as error:
        remedy = "loader psql -c 'SELECT 1'   # says what psql says; --database-url or DATABASE_URL names another"
        yield Checked("database", fail(str(error), remedy))
    except Exception as error:  # noqa: BLE001 # whatever it is, the other checks have been made
        yield Checked("database", _unchecked(error))


def _diagnose_server(settings: Settings, conninfo: str, connection: Any) -> Iterator[Checked]:
    from loader.operate import checks_activity, checks_database, checks_events, checks_server

    try:
        from loader import contract

        terms = contract.load(settings.contracts)
    except Exception:  # noqa: BLE001 # the check of the contract has said why
        terms = None
    server = checks_database.Server(settings, conninfo, connection, terms)
    for check in checks_database.CHECKS:
        yield _checked(check, server)
    ((has_tables,),) = connection.execute("SELECT to_regclass('loader_migrations') IS NOT NULL AS known").fetchall()
    about_events = checks_events.CHECKS if has_tables else ()
    for check in (*about_events, *checks_server.CHECKS, *checks_activity.CHECKS):
        yield _checked(check, server)


def _checked(check: Callable[[T], Finding], subject: T) -> Checked:
    try:
        finding = check(subject)
    except Exception as error:  # noqa: BLE001 # one failing check must not end the others
        finding = _unchecked(error)
    return Checked(check.__name__, finding)


def _unchecked(error: Exception) -> Finding:
    from loader.conninfo import redact

    if isinstance(error, LoaderError):
        return fail(redact(str(error)))
    words = " ".join(str(error).split())
    return fail(f"can't be checked: {type(error).__name__}: {redact(words)}")


def is_healthy(checked: list[Checked]) -> bool:
    """Say whether nothing is wrong; notes and warnings are allowed."""
    return all(one.finding.level is not Level.FAIL for one in checked)
