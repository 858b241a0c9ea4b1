"""What `run` says on stderr: words for people, or one JSON object a line. Light: an idle run says something, too."""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, NamedTuple

INFO, WARNING, ERROR = "info", "warning", "error"
INTERRUPTED = "loader: interrupted; what was not committed is rolled back, its files stay"
_LOCK = threading.Lock()  # a line is written whole, whichever thread it comes from


class Log(NamedTuple):
    """Where a run's words go. Where `quiet`, what is below a warning is left out."""

    as_json: bool = False
    quiet: bool = False

    def write(self, level: str, event: str, text: str = "", **fields: Any) -> None:
        """Say that `event` happened: as `text`, if there is any, or as an object with `fields`."""
        if self.quiet and level == INFO:
            return
        if self.as_json:
            _put(_json_line(level, event, fields))
        elif text:
            _put(text)

    def trouble(self, level: str, event: str, message: str, **fields: Any) -> None:
        """Say what is wrong, printable and without a password."""
        message = safe(message)
        self.write(level, event, f"loader: {message}", message=message, **fields)


def safe(text: str) -> str:
    """Return `text` as it may leave the loader: printable, and with passwords struck out."""
    from loader.conninfo import redact
    from loader.names import printable

    return printable(redact(text))


def utc(seconds: float) -> str:
    """Return a time as RFC 3339 in UTC, with milliseconds."""
    milliseconds = int(seconds * 1000)
    moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(milliseconds // 1000))
    return f"{moment}.{milliseconds % 1000:03d}Z"


def _json_line(level: str, event: str, fields: dict[str, Any]) -> str:
    import json  # words need none of it

    head = {"time": utc(time.time()), "level": level, "event": event}
    return json.dumps(head | {name: value for name, value in fields.items() if value is not None})


def _put(line: str) -> None:
    with _LOCK:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()
