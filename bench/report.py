"""Measurements -> a table of medians and ratios, in Markdown."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from statistics import median

from bench.cases import Case, Entry
from bench.measure import Measured

Runs = Mapping[Entry, Sequence[Measured]]

_HEAD = ("contender", "wall s", "ratio", "target", "client CPU s", "server CPU s", "client peak MB", "WAL bytes/row")


def table(case: Case, runs: Runs) -> str:
    """Return the medians of each entry; `ratio` is the median over rounds of its wall time to the first entry's."""
    base = case.entries[0]
    rows: list[tuple[str, ...]] = [_HEAD]
    for entry in case.entries:
        if not (measured := runs.get(entry)):
            if entry.needs:
                rows.append((entry.label, f"not run: {entry.needs} is not installed", *[""] * 6))
            continue
        rounds = zip(measured, runs[base], strict=True)
        scale = base.data.rows / entry.data.rows if case.per_row else 1
        ratio = median(mine.wall * scale / theirs.wall for mine, theirs in rounds)
        target = case.targets.get(entry.label)
        server_cpu = [each.server_cpu for each in measured if each.server_cpu is not None]
        rows.append(
            (
                entry.label,
                f"{_median(measured, lambda each: each.wall):.2f}",
                f"{ratio:.2f}",
                "" if target is None else f"{target:.2f}",
                f"{_median(measured, lambda each: each.client_cpu):.2f}",
                f"{median(server_cpu):.2f}" if server_cpu else "",
                f"{_median(measured, lambda each: each.memory) / 1e6:.0f}",
                f"{_median(measured, lambda each: each.wal) / entry.data.rows:.0f}",
            )
        )
    lines = [" | ".join(row) for row in rows]
    lines.insert(1, " | ".join(["---"] + ["---:"] * (len(_HEAD) - 1)))
    count = len(runs[base])
    title = f"### {case.name}: {case.title}, {base.data.rows:,} rows, {count} round{'s' if count > 1 else ''}"
    return "\n".join([title, "", *(f"| {line} |" for line in lines), ""])


def machine(settings: Mapping[str, str]) -> str:
    """Describe what the measurements were made on."""
    described = ", ".join(f"{name} {value}" for name, value in settings.items() if name != "server_version")
    return (
        f"{os.cpu_count()} cores, {_memory_gb():.0f} GB, {platform.system()} {platform.machine()}, "
        f"Python {platform.python_version()}, PostgreSQL {settings['server_version']}: {described}.\n"
    )


def _memory_gb() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9


def _median(measured: Sequence[Measured], value: Callable[[Measured], float]) -> float:
    return median(map(value, measured))
