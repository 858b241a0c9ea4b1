"""psql on whatever database the loader would use."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from loader.errors import UsageError
from loader.run import database
from loader.settings import Settings, names_database


def open_psql(settings: Settings, arguments: Sequence[str]) -> int:
    """Run psql with `arguments`; the embedded PostgreSQL is up for as long. Return psql's exit code.

    Raises:
        UsageError: there is no psql.
        DatabaseError: the embedded PostgreSQL can't be had.
    """
    with database(settings) as conninfo:
        if names_database(settings):
            program = shutil.which("psql")
            if program is None:
                raise UsageError("psql is not installed (on Debian: the package postgresql-client)")
        else:
            from loader.embedded_home import binaries

            program = str(binaries() / "psql")
        given = conninfo_to_dict(conninfo)
        # Everybody on the machine can read a process's arguments.
        password = given.pop("password", None)
        environment = os.environ | ({"PGPASSWORD": str(password)} if password else {})
        command = [program, make_conninfo("", **given), *arguments]
        return subprocess.run(command, env=environment, check=False).returncode  # noqa: S603 # the user's own command
