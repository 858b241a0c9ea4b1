"""`loader explain`: where an event came from, or how a file stands."""

from __future__ import annotations

import argparse
import re
import sys
from typing import TYPE_CHECKING, Any

from loader.commands.options import add_command, add_looking, settings_of

if TYPE_CHECKING:
    from loader.settings import Settings

_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_EXIT_CODES = """\
exit codes:
  0  explained
  1  unknown, or the database is down; what the folders tell is shown
  2  wrong usage
"""


def add(commands: Any) -> None:
    """Add the command."""
    parser = add_command(
        commands,
        "explain",
        _explain,
        "say where an event came from, or how a file stands and why",
        exit_codes=_EXIT_CODES,
        examples=[
            "loader explain 018f3c9e-6f5a-7cc0-9d5b-0242ac120002",
            "loader explain landing/events.ndjson",
        ],
    )
    parser.add_argument(
        "target", metavar="EVENT_ID|FILE", help="an event_id; or a file's path, name, or first digits of its SHA-256"
    )
    add_looking(parser)


def _explain(options: argparse.Namespace) -> int:
    settings = settings_of(options)
    if _UUID.fullmatch(options.target):
        return _explain_event(settings, options.target, as_json=options.json)
    return _explain_file(settings, options.target, as_json=options.json)


def _explain_event(settings: Settings, target: str, *, as_json: bool) -> int:
    import json
    from uuid import UUID

    from loader.conninfo import redact
    from loader.errors import DatabaseError
    from loader.operate import explain_event_text
    from loader.operate.explain_event import explain_event

    try:
        found = explain_event(settings, UUID(target), notify=lambda line: print(line, file=sys.stderr))
    except DatabaseError as error:
        if as_json:
            print(json.dumps({"event_id": target.lower(), "status": None, "error": redact(str(error))}))
        raise
    if as_json:
        print(explain_event_text.as_json(found).decode())
    else:
        print("\n".join(explain_event_text.lines(found)))
    return 0 if explain_event_text.status(found) != "unknown" else 1


def _explain_file(settings: Settings, target: str, *, as_json: bool) -> int:
    from loader.names import printable
    from loader.operate import explain_file_text
    from loader.operate.explain_file import explain_file

    found = explain_file(settings, target)
    if as_json:
        import json

        print(json.dumps(explain_file_text.as_json(found)))
    else:
        print("\n".join(explain_file_text.lines(found)))
    if found.error is not None:
        print(printable(f"loader: {found.error}"), file=sys.stderr)
    return 0 if found.is_known and found.error is None else 1
