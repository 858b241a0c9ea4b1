"""A new project folder: where files are dropped, the settings, the contract to edit."""

from __future__ import annotations

import os
from pathlib import Path

from loader.errors import UsageError
from loader.resources import bundled
from loader.settings import CONFIG_FILE

_SETTINGS = """\
# Settings of loader. A flag or LOADER_<NAME> in the environment goes before what stands here; what is commented out is
# the default. Paths are relative to the folder that loader is run in: this one.

# Where files are dropped. `archive/` and `quarantine/` are made in it.
landing = "landing"
# The folder of the contract, events.py: what a row must be to become an event.
contracts = "contracts"

# The database; without it the PG* variables of libpq count, and without those the embedded PostgreSQL is used.
# A password is better kept in ~/.pgpass than here.
# database_url = "postgresql://loader@db.example/analytics"
# Where the embedded PostgreSQL lives.
# embedded = ".loader"

# A file is ready when it has been still for so many seconds. Producers that rename finished files into place need 0.
# settle = 2.0
# Look below the landing folder, too.
# recursive = false
# Files (or batches of small ones) that are loaded at the same time, each over a connection of its own.
# jobs = 1

# More rows of a file than this to quarantine: nothing of it is loaded. As a number, and as a share of its rows.
# max_rejects = 1000
# max_reject_ratio = 0.01
# Longer lines are rejected.
# max_line_bytes = 16777216

# `loader watch`: how often to look at the folder, events or not; and whether to look every second instead (NFS).
# scan_seconds = 30.0
# poll = false

# `loader prune`: how long to keep archived files, and what went to quarantine. Without these nothing is pruned.
# archive_days = 90
# quarantine_days = 365

# After each run: metrics for Prometheus's textfile collector.
# metrics_file = "/var/lib/node_exporter/textfile/loader.prom"
# What is said on stderr: text, or one JSON object a line.
# log_format = "text"
# Called when a run fails: a command, which gets the report as JSON on stdin, or a URL, which gets it by POST; also
# where rows went to quarantine, if you like; and how many seconds it may take.
# on_failure = ["mail", "-s", "loader failed", "data@example.com"]
# on_failure_rows = false
# on_failure_seconds = 30.0
"""
_IGNORED = "# Data, and the embedded database.\n/landing/\n/.loader/\n"
_PRIVATE = 0o600  # it may come to hold a password


def make(folder: Path) -> list[Path]:
    """Make a project in `folder`, which may be there but must hold nothing that would be overwritten.

    Returns:
        What was made, in the order in which a reader wants to know of it.

    Raises:
        UsageError: something is there already, or can't be made.
    """
    contents = {
        folder / CONFIG_FILE: _SETTINGS,
        folder / "contracts" / "events.py": (bundled("contracts") / "events.py").read_text(),
        folder / ".gitignore": _IGNORED,
    }
    there = [str(path) for path in contents if os.path.lexists(path)]
    if there:
        raise UsageError(f"there already: {', '.join(there)}; nothing was made")
    try:
        landing = folder / "landing"
        landing.mkdir(parents=True, exist_ok=True)
        for path, text in contents.items():
            path.parent.mkdir(exist_ok=True)
            mode = _PRIVATE if path.name == CONFIG_FILE else 0o666
            path.touch(mode, exist_ok=False)
            path.write_text(text)
    except OSError as error:
        raise UsageError(f"can't make {error.filename or folder}: {error.strerror}") from error
    return [landing, *contents]
