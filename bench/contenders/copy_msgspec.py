"""As copy_rows, with msgspec in the place of the json module: how far a Python loop over rows can be driven.

The decoder makes no objects of ``properties`` but skips over them; their text goes to COPY as it was read. That takes
a quarter of the client's time with json.loads and json.dumps.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.contenders.common import Event, Row, arguments, write_rows


def main() -> None:
    """Stage and merge."""
    conninfo, files = arguments()
    write_rows(conninfo, _rows(files))


def _rows(files: list[Path]) -> Iterator[Row]:
    decode = msgspec.json.Decoder(Event).decode
    for path in files:
        with path.open("rb") as lines:
            for line in lines:
                event = decode(line)
                properties = bytes(event.properties).decode()
                yield event.event_id, event.event_time, event.event_name, event.user_id, properties


if __name__ == "__main__":
    main()
