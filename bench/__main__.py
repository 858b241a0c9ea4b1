"""`python -m bench`: run contenders in turn on one server, several rounds interleaved, and print what each took."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import report
from bench.cases import Bench, Case, Entry, cases
from bench.data import Store
from bench.measure import Measured
from bench.server import Server
from loader import embedded

_FOLDER = Path(__file__).parent.parent / ".bench"


def main() -> int:
    """Run the cases asked for."""
    arguments = _parser().parse_args()
    known = {case.name: case for case in cases(arguments.scale)}
    wanted = [known[name] for name in arguments.cases or known]
    folder: Path = arguments.folder
    with _server(arguments.database_url, folder) as conninfo:
        server = Server(conninfo)
        try:
            print(report.machine(server.describe()), flush=True)
            bench = Bench(server, Store(folder / "data"), folder)
            for case in wanted:
                print(report.table(case, _rounds(bench, case, arguments.rounds, arguments.only)), flush=True)
        finally:
            server.close()
            shutil.rmtree(folder / "landing", ignore_errors=True)
    return 0


def _rounds(bench: Bench, case: Case, rounds: int, only: list[str] | None) -> dict[Entry, list[Measured]]:
    """Run every entry of a case once a round, so that what disturbs the machine disturbs them all."""
    runs: dict[Entry, list[Measured]] = defaultdict(list)
    for number in range(1, rounds + 1):
        for entry in case.entries:
            if entry.needs or (only and entry is not case.entries[0] and entry.label not in only):
                continue
            measured = bench.run(entry)
            runs[entry].append(measured)
            print(f"{case.name}, round {number}: {entry.label}: {measured.wall:.2f} s", file=sys.stderr, flush=True)
    return runs


@contextmanager
def _server(database_url: str | None, folder: Path) -> Iterator[str]:
    if database_url:
        yield database_url
        return
    with embedded.running(folder / "server") as conninfo:
        yield conninfo


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("cases", nargs="*", help=f"all by default: {', '.join(case.name for case in cases())}")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--scale", type=float, default=1.0, help="below 1: fewer rows, to try the harness")
    parser.add_argument("--only", action="append", help="run only this contender and the one that it is compared to")
    parser.add_argument("--folder", type=Path, default=_FOLDER, help="for the data and the server (.bench)")
    parser.add_argument("--database-url", help="a server on which databases may be made, instead of the embedded one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
