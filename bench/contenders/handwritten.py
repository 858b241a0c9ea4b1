"""Hand-written SQL: psql copies raw lines into an unlogged text column, one INSERT ... SELECT casts and merges.

See handwritten.sql for the choices made there. Each line is cast to jsonb once, which made the merge three times as
fast as casting it anew for each field; jsonb_to_record, JSON_TABLE and a staging column of type jsonb took about the
same time. One transaction; the lines go from the files into psql's standard input as they are.
"""

from __future__ import annotations

import shutil
import subprocess
import sys

from bench.contenders.common import HERE, arguments
from loader.embedded_home import EmbeddedUnavailable, binaries


def main() -> None:
    """Run psql and feed it the files."""
    conninfo, files = arguments()
    command = [_psql(), conninfo, "-X", "-q", "-f", str(HERE / "handwritten.sql")]
    if len(files) == 1:
        with files[0].open("rb") as file:
            sys.exit(subprocess.run(command, stdin=file, check=False).returncode)
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for path in files:
            with path.open("rb") as file:
                shutil.copyfileobj(file, process.stdin, 1 << 20)
        process.stdin.close()
    sys.exit(process.returncode)


def _psql() -> str:
    """Return the psql of the embedded server, or the one that is installed."""
    try:
        return str(binaries() / "psql")
    except EmbeddedUnavailable:
        return shutil.which("psql") or sys.exit("there is no psql: install postgresql-client or loader[embedded]")


if __name__ == "__main__":
    main()
