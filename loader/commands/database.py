"""The commands that are about the database itself: `loader migrate`, `loader psql`, `loader postgres`."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from loader.commands.options import add_command, add_config, add_database, announce, settings_of


def add(commands: Any) -> None:
    """Add the commands."""
    migrate = add_command(
        commands,
        "migrate",
        _migrate,
        "bring the database's schema up to date (run does it too)",
        examples=["loader migrate --database-url postgresql://owner@db.example/analytics"],
    )
    add_database(migrate)

    psql = add_command(
        commands,
        "psql",
        _psql,
        "open psql on the database; other options are its own, such as -c 'SELECT 1'",
        examples=["loader psql -c 'SELECT count(*) FROM events'"],
    )
    add_database(psql)
    psql.set_defaults(takes_rest=True)

    serve = add_command(
        commands,
        "postgres",
        _postgres,
        "keep the embedded PostgreSQL up and say how to reach it",
        examples=["loader postgres"],
    )
    add_config(serve)


def _migrate(options: argparse.Namespace) -> int:
    from loader import migrate
    from loader.database import connected
    from loader.run import database

    settings = settings_of(options)
    announce(settings)
    with database(settings) as conninfo, connected(conninfo) as connection:
        applied = migrate.migrate(connection)
    print("\n".join(f"applied {name}" for name in applied) or "up to date", file=sys.stderr)
    return 0


def _psql(options: argparse.Namespace) -> int:
    from loader.psql import open_psql

    return open_psql(settings_of(options), options.rest)


def _postgres(options: argparse.Namespace) -> int:
    from loader import embedded

    embedded.serve(settings_of(options).embedded, announce=lambda line: print(line, file=sys.stderr))
    return 0
