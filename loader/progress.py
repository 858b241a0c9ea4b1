"""What a run shows while it goes on: a bar on a terminal, plain lines elsewhere, always on stderr."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO

from loader.model import FileOutcome
from loader.operate.logs import ERROR, INFO, WARNING, Log, safe
from loader.report import explain, file_as_json, is_trouble
from loader.run import Watcher

_MEGABYTE = 1_000_000


class PlainView:
    """One line for each file; nothing where `quiet`, but trouble."""

    def __init__(self, stream: TextIO, *, quiet: bool) -> None:
        self._stream = stream
        self._quiet = quiet
        self._lock = threading.Lock()

    def say(self, line: str) -> None:
        """Write a line, even when quiet."""
        with self._lock:
            self._stream.write(f"{line}\n")
            self._stream.flush()

    def notify(self, line: str) -> None:
        """Write a line worth reading."""
        if not self._quiet:
            self.say(line)

    def start(self, files: int, size: int) -> None:
        """Say what there is to do."""
        self.notify(f"{files} file{'s' * (files != 1)}, {size / _MEGABYTE:,.1f} MB")

    def progress(self, size: int, rows: int, rejected: int) -> None:
        """Plain output has no moving parts."""

    def finished(self, outcomes: Sequence[FileOutcome]) -> None:
        """Say what became of files; of many by one system call, since threads take turns at each."""
        worth_saying = [outcome for outcome in outcomes if not self._quiet or is_trouble(outcome)]
        lines = [line for outcome in worth_saying if (line := explain(outcome)) is not None]
        if lines:
            self.say("\n".join(lines))

    def failed(self, message: str) -> None:
        """Say why the run ends early."""
        self.say(f"loader: {message}")

    def watcher(self) -> Watcher:
        """Return this view as a run's watcher."""
        return Watcher(self.notify, self.start, self.progress, self.finished)


class JsonView(PlainView):
    """One JSON object for each event."""

    def __init__(self, stream: TextIO, log: Log) -> None:
        super().__init__(stream, quiet=log.quiet)
        self._log = log

    def say(self, line: str) -> None:
        """Write a line that has no event of its own."""
        self._log.write(WARNING, "warning", message=safe(line))

    def notify(self, line: str) -> None:
        """Write a line worth reading."""
        self._log.write(INFO, "notice", message=safe(line))

    def start(self, files: int, size: int) -> None:
        """Say what there is to do."""
        self._log.write(INFO, "files_found", files=files, bytes=size)

    def finished(self, outcomes: Sequence[FileOutcome]) -> None:
        """Say what became of files."""
        for outcome in outcomes:
            level = ERROR if outcome.error_code else WARNING if is_trouble(outcome) else INFO
            fields = {"file" if name == "name" else name: value for name, value in file_as_json(outcome).items()}
            fields |= {"error": outcome.error, "error_code": outcome.error_code}
            self._log.write(level, "file_finished", **fields)

    def failed(self, message: str) -> None:
        """Say why the run ends early."""
        self._log.trouble(ERROR, "run_failed", message)


class BarView(PlainView):
    """A progress bar: bytes, rows a second, rejected so far."""

    def __init__(self, stream: TextIO) -> None:
        from rich.console import Console  # only a terminal needs it
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

        super().__init__(stream, quiet=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[rate]} rows/s"),
            TextColumn("{task.fields[rejected]} rejected"),
            TimeRemainingColumn(),
            console=Console(file=stream, stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("loading", total=None, rate="0", rejected="0")
        self._rows = self._rejected = 0
        self._started = time.monotonic()

    def say(self, line: str) -> None:
        """Write a line above the bar."""
        self._bar.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def start(self, files: int, size: int) -> None:
        """Show the bar."""
        super().start(files, size)
        self._bar.update(self._task, total=size)
        self._started = time.monotonic()
        self._bar.start()

    def progress(self, size: int, rows: int, rejected: int) -> None:
        """Move the bar."""
        with self._lock:
            self._rows += rows
            self._rejected += rejected
            rate = self._rows / max(0.001, time.monotonic() - self._started)
        self._bar.update(self._task, advance=size, rate=f"{rate:,.0f}", rejected=f"{self._rejected:,}")

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


@contextmanager
def view(*, quiet: bool, log: Log | None = None) -> Iterator[PlainView]:
    """Yield the view that suits stderr, or that writes JSON where `log` does."""
    if log is not None and log.as_json:
        yield JsonView(sys.stderr, log)
        return
    if quiet or not sys.stderr.isatty():
        yield PlainView(sys.stderr, quiet=quiet)
        return
    bar = BarView(sys.stderr)
    try:
        yield bar
    finally:
        bar.close()
