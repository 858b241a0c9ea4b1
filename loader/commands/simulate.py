"""`loader simulate`: synthetic events to try things with."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from loader.commands.options import add_command, add_landing
from loader.settings import Settings


def add(commands: Any) -> None:
    """Add the command."""
    simulate = add_command(
        commands,
        "simulate",
        _simulate,
        "write synthetic events into the landing folder",
        examples=[
            "loader simulate --events 1000000 --bad-rate 0.01 --dup-rate 0.01",
            "loader simulate --format parquet --files 10 --seed 7",
        ],
    )
    add_landing(simulate)
    simulate.add_argument("--events", type=int, default=10_000, metavar="N", help="rows to write (10000)")
    simulate.add_argument("--seed", type=int, default=0, metavar="S", help="same seed, same bytes (0)")
    simulate.add_argument("--bad-rate", type=float, default=0.0, metavar="R", help="share of malformed rows (0)")
    simulate.add_argument("--dup-rate", type=float, default=0.0, metavar="R", help="share of repeated events (0)")
    simulate.add_argument(
        "--format", default="ndjson", choices=["ndjson", "ndjson.gz", "ndjson.zst", "parquet"], help="(ndjson)"
    )
    simulate.add_argument("--files", type=int, default=1, metavar="K", help="files to spread them over (1)")


def _simulate(options: argparse.Namespace) -> int:
    from loader.simulate import simulate

    landing_folder = options.landing or Settings().landing
    done = simulate(
        landing_folder,
        events=options.events,
        seed=options.seed,
        bad_rate=options.bad_rate,
        dup_rate=options.dup_rate,
        file_format=options.format,
        files=options.files,
    )
    for path in done.paths:
        print(f"{path}", file=sys.stderr)
    print(f"{done.events:,} rows: {done.bad:,} malformed, {done.repeated:,} repeated", file=sys.stderr)
    return 0
