"""Runs a contender as a process of its own and measures what it took."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from bench.server import Server

_ROOT = Path(__file__).parent.parent
_SAMPLE_SECONDS = 0.02


class ContenderError(Exception):
    """Raised when a contender fails, or has not loaded what it should have."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What one run of a contender took."""

    wall: float  # seconds
    client_cpu: float  # seconds, of the process and of those that it started
    server_cpu: float | None  # seconds; None where the server runs on another machine
    memory: int  # bytes: the client's peak
    wal: int  # bytes


def measure(server: Server, command: Sequence[str], *, accepted: Sequence[int] = (0,)) -> tuple[Measured, str]:
    """Run `command`; return what it took and what it printed.

    Raises:
        ContenderError: its exit code is not among those accepted.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("LOADER_", "PG"))}
    environment["PYTHONPATH"] = str(_ROOT)
    before = server.usage()
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, cwd=_ROOT, env=environment)
        with _peak_memory(process.pid) as peak:
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        after = server.usage()
        output.seek(0)
        errors.seek(0)
        if process.returncode not in accepted:
            raise ContenderError(
                f"{' '.join(command[:4])}... ended with {process.returncode}: {errors.read()[-4000:]!r}"
            )
        printed = output.read().decode()
    cpu = None if before.cpu is None or after.cpu is None else after.cpu - before.cpu
    client = usage.ru_utime + usage.ru_stime
    return Measured(wall, client, cpu, max(peak), after.wal - before.wal), printed


@contextmanager
def _peak_memory(pid: int) -> Iterator[list[int]]:
    """Yield a list that gets the highest memory of a process, in bytes, for as long as this lasts.

    The kernel's own account, ru_maxrss, begins with what the parent had before exec.
    """
    peaks = [0]
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_SECONDS):
            with suppress(OSError, IndexError):  # no /proc, or ended
                peaks[0] = int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) * 1024

    thread = threading.Thread(target=sample)
    thread.start()
    try:
        yield peaks
    finally:
        done.set()
        thread.join()
