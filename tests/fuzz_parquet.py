"""Fuzzing of damaged Parquet files: each is read or refused, and nothing else ever happens.

To run, for 300 seconds, from the root of a checkout; a second number is the seed:

    .venv/bin/python -m tests.fuzz_parquet 300

The files are tried in child processes, some hundreds in each. One at which the process ends, hangs, takes too much
memory or raises anything but FileRefused is written to a file `crash-...` in the current folder, and the run goes on;
`python -m tests.fuzz_parquet crash-...` tries it again.
"""

from __future__ import annotations

import base64
import faulthandler
import io
import json
import random
import resource
import subprocess
import sys
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

CASES = 400  # of a child
_SECONDS = 20  # that a file may take
_MEGABYTES = 600  # that a process may take, whichever files it reads
_ADDRESS_SPACE = 6 << 30  # beyond which a child gets no memory, so that the machine survives
_ROWS = 200

# --- Files -----------------------------------------------------------------------------------------------------------


def _properties() -> dict[str, Any]:
    import pyarrow as pa

    numbers = range(_ROWS)
    text = pa.array([json.dumps({"page": f"/{n % 7}", "n": "x" * (n % 50)}) for n in numbers])
    plain = [{"a": n, "b": "x" * (n % 9) if n % 5 else None, "c": {"d": n % 2 == 0, "e": n / 7}} for n in numbers]
    lists = [None if n % 11 == 0 else {"l": [{"m": ["y"] * (n % 3), "o": n}] * (n % 4)} for n in numbers]
    maps = [[(f"k{i}", "v" * n) for i in range(n % 4)] for n in numbers]
    typed = pa.struct(
        [
            ("decimal", pa.decimal128(20, 3)),
            ("large", pa.decimal256(50, 3)),
            ("date", pa.date32()),
            ("time", pa.time64("us")),
            ("instant", pa.timestamp("ms", "UTC")),
            ("half", pa.float16()),
            ("tiny", pa.int8()),
            ("unsigned", pa.uint64()),
            ("fixed", pa.list_(pa.int16(), 2)),
            ("texts", pa.large_list(pa.large_string())),
            ("view", pa.string_view()),
            ("repeated", pa.dictionary(pa.int32(), pa.string())),
            ("nothing", pa.null()),
        ]
    )
    day = datetime(2024, 5, 1, 12, 0, 0, 250_000, UTC)
    values = [
        {
            "decimal": Decimal(n) / 8,
            "large": Decimal(n),
            "date": date(2024, 5, 1 + n % 30),
            "time": day.time(),
            "instant": day,
            "tiny": n % 100,
            "unsigned": n,
            "fixed": [n, 1],
            "texts": ["z"] * (n % 3),
            "view": "v" * n,
            "repeated": f"w{n % 3}",
        }
        for n in numbers
    ]
    return {
        "text": text,
        "struct": pa.array(plain),
        "lists": pa.array(lists),
        "map": pa.array(maps, pa.map_(pa.string(), pa.string())),
        "typed": pa.array(values, typed),
    }


def _events() -> dict[str, dict[str, Any]]:
    import pyarrow as pa

    draw = random.Random(1)
    ids = [uuid.UUID(int=draw.getrandbits(128), version=4) for _ in range(_ROWS)]
    names = [f"name-{n % 5}" for n in range(_ROWS)]
    users = [f"user-{draw.randrange(50)}" for _ in range(_ROWS)]
    micros = [1_714_564_800_000_000 + n * 1_000_003 for n in range(_ROWS)]
    texts = ["2024-05-01T12:00:00Z"] * _ROWS
    return {
        "texts": {"event_id": pa.array(map(str, ids)), "event_name": names, "event_time": texts, "user_id": users},
        "typed": {
            "event_id": pa.array([one.bytes for one in ids], pa.uuid()),
            "event_name": pa.array(names).dictionary_encode(),
            "event_time": pa.array(micros, pa.timestamp("us", "+05:30")),
            "user_id": pa.array(users, pa.large_string()),
        },
        "other": {
            "event_id": pa.array([one.bytes for one in ids], pa.binary(16)),
            "event_name": pa.array(names, pa.string_view()),
            "event_time": pa.array([micro * 1000 for micro in micros], pa.timestamp("ns", "UTC")),
            "user_id": users,
        },
    }


_PLAIN = {"compression": "none", "use_dictionary": False, "write_statistics": False}
_DELTA = {
    "event_id": "DELTA_BYTE_ARRAY",
    "event_name": "DELTA_LENGTH_BYTE_ARRAY",
    "event_time": "DELTA_BINARY_PACKED",
    "user_id": "DELTA_BYTE_ARRAY",
    "properties": "DELTA_BYTE_ARRAY",
}
_MIXED = _DELTA | {"event_id": "PLAIN", "event_name": "PLAIN"}
_SPLIT = _DELTA | {"event_id": "BYTE_STREAM_SPLIT", "event_time": "BYTE_STREAM_SPLIT"}
_KINDS: list[tuple[str, str, dict[str, Any]]] = [
    ("texts", "text", {}),
    ("texts", "text", _PLAIN),
    ("texts", "text", {"compression": "none", "data_page_version": "2.0", "write_page_index": True}),
    ("texts", "text", {"compression": "gzip", "data_page_version": "2.0", "use_dictionary": False}),
    ("texts", "text", {"compression": "zstd", "row_group_size": 9}),
    ("texts", "text", {"compression": "lz4", "write_page_checksum": True}),
    ("texts", "struct", {"compression": "zstd", "write_page_index": True, "write_page_checksum": True}),
    ("texts", "struct", _PLAIN | {"data_page_version": "2.0"}),
    ("typed", "struct", {"compression": "none"}),
    ("other", "lists", _PLAIN),
    ("typed", "lists", {"compression": "none", "data_page_version": "2.0"}),
    ("texts", "lists", {"compression": "snappy", "store_schema": False, "row_group_size": 50}),
    ("texts", "map", {"compression": "brotli"}),
    ("other", "map", {"compression": "none", "write_page_index": True}),
    ("typed", "map", _PLAIN | {"data_page_version": "2.0", "store_schema": False}),
    ("typed", "typed", {"compression": "none"}),
    ("other", "typed", _PLAIN | {"data_page_version": "2.0"}),
    (
        "typed",
        "text",
        {
            "compression": "none",
            "use_dictionary": False,
            "column_encoding": _MIXED,
        },
    ),
    ("other", "text", _PLAIN | {"column_encoding": _SPLIT, "data_page_version": "2.0"}),
]


@cache
def samples() -> list[bytes]:
    """Return files of events in many forms, all of them good."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    events, properties = _events(), _properties()
    found = []
    for columns, held, options in _KINDS:
        file = io.BytesIO()
        pq.write_table(
            pa.table(events[columns] | {"properties": properties[held]}), file, **{"data_page_size": 700} | options
        )
        found.append(file.getvalue())
    return found


# --- Damage ----------------------------------------------------------------------------------------------------------

_ODD_NUMBERS = (0, 1, 2, 3, 100, 1 << 15, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63)
_ODD_BYTES = (0x00, 0x01, 0x7F, 0x80, 0xFF)


def _place(draw: random.Random, content: bytes | bytearray) -> int:
    """Return a position: anywhere, in the footer or near the start of a page."""
    footer = _footer_start(content)
    match draw.randrange(5):
        case 0 | 1:
            return draw.randrange(footer, len(content))
        case 2 | 3:
            # Each page begins with its type, 15 00, 15 04 or 15 06.
            start = content.find(
                draw.choice((b"\x15\x00\x15", b"\x15\x04\x15", b"\x15\x06\x15")), draw.randrange(footer + 1)
            )
            return min(len(content) - 1, max(0, start) + draw.randrange(40))
        case _:
            return draw.randrange(len(content))


def _footer_start(content: bytes | bytearray) -> int:
    return min(len(content) - 1, max(0, len(content) - 8 - int.from_bytes(content[-8:-4], "little")))


def _flip(draw: random.Random, content: bytearray) -> None:
    for _ in range(draw.choice((1, 1, 1, 2, 3, 5, 20))):
        place = _place(draw, content)
        match draw.randrange(3):
            case 0:
                content[place] = draw.randrange(256)
            case 1:
                content[place] ^= 1 << draw.randrange(8)
            case _:
                content[place] = draw.choice(_ODD_BYTES)


def _swap(draw: random.Random, content: bytearray) -> None:
    length = draw.choice((1, 2, 4, 16, 100))
    one, other = _place(draw, content), _place(draw, content)
    held = content[one : one + length]
    content[one : one + length] = content[other : other + length]
    content[other : other + length] = held


def _fill(draw: random.Random, content: bytearray) -> None:
    place, length = _place(draw, content), draw.choice((1, 4, 8, 64, 512))
    content[place : place + length] = bytes([draw.choice(_ODD_BYTES)]) * len(content[place : place + length])


def _cut(draw: random.Random, content: bytearray) -> None:
    if draw.randrange(2):
        del content[_place(draw, content) :]
    else:
        place = _place(draw, content)
        del content[place : place + draw.choice((1, 2, 8, 100))]


def _number(draw: random.Random, content: bytearray) -> None:
    """Put a number of any length into the footer, or a page's header, and make the rest fit."""
    for _ in range(draw.choice((1, 1, 2))):
        footer, length = _footer_start(content), len(content)
        value = draw.choice(
            (0, 1, 2, 3, 100, 1 << 15, 1 << 20, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40, 1 << 63)
        )
        varint = bytearray()
        while value > 0x7F:
            varint.append(value & 0x7F | 0x80)
            value >>= 7
        varint.append(value)
        place = _place(draw, content)
        end = place
        while end < length - 1 and content[end] >= 0x80:
            end += 1
        if place < footer:  # Nothing may move.
            content[place : place + len(varint)] = varint
        else:
            content[place : end + 1] = varint
            size = len(content) - 8 - footer
            content[-8:-4] = max(0, size).to_bytes(4, "little")
        del content[length + 40 :]


def _arrow_schema(draw: random.Random, content: bytearray) -> None:
    """Damage Arrow's own schema, which stands in the footer in base64."""
    start = content.find(b"ARROW:schema")
    if start < 0:
        _flip(draw, content)
        return
    start += len(b"ARROW:schema") + 1
    while content[start - 1] & 0x80 or content[start : start + 4] != b"////":
        start += 1
    end = start
    while chr(content[end]).isalnum() or content[end] in b"+/=":
        end += 1
    schema = bytearray(base64.b64decode(content[start:end]))
    for _ in range(draw.choice((1, 1, 2, 4))):
        schema[draw.randrange(len(schema))] = draw.choice((*_ODD_BYTES, draw.randrange(256), draw.randrange(32)))
    content[start:end] = base64.b64encode(schema)


_DAMAGES: list[Callable[[random.Random, bytearray], None]] = [
    *([_flip] * 6),
    _swap,
    _fill,
    _cut,
    *([_number] * 3),
    *([_arrow_schema] * 2),
]


def damaged(seed: int, number: int) -> bytes:
    """Return a file with damage: always the same for the same numbers."""
    draw = random.Random(f"{seed} {number}")
    content = bytearray(draw.choice(samples()))
    draw.choice(_DAMAGES)(draw, content)
    return bytes(content)


# --- A child: tries files ---------------------------------------------------------------------------------------------


def outcome(content: bytes) -> str:
    """Read a file as the loader does; return what became of it, in a word or two."""
    from loader import contract, parquet
    from loader.errors import FileRefused

    rows = 0
    try:
        for block in parquet.blocks(
            io.BytesIO(content), contract.load(), file_id=1, block_bytes=1 << 20, max_row_bytes=16 << 20
        ):
            rows += block.frame.height
            block.raws([*block.problems, 0][:20])
    except FileRefused as error:
        return f"refused: {error.code}"
    except Exception as error:  # noqa: BLE001 # It is looked for.
        return f"raised {type(error).__name__}: {error}"[:300]
    return "read" if rows <= 10 * _ROWS else f"raised: read {rows} rows"


def _peak() -> int:
    """Return how many megabytes the process has taken at most.

    Not by getrusage: it counts what the parent had taken before exec, which may be more than the limit.
    """
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) >> 10


def _try(contents: Iterator[tuple[str, bytes]]) -> None:
    """Try files; say on stdout which is in hand, and at last what became of how many."""
    resource.setrlimit(resource.RLIMIT_AS, (_ADDRESS_SPACE, _ADDRESS_SPACE))
    found: Counter[str] = Counter()
    for name, content in contents:
        print(name, flush=True)
        faulthandler.dump_traceback_later(_SECONDS, exit=True)
        result = outcome(content)
        faulthandler.cancel_dump_traceback_later()
        if result.startswith("raised"):
            print(f"{name} {result}", file=sys.stderr, flush=True)
        found[result.partition(":")[0]] += 1
        if _peak() > _MEGABYTES:
            raise SystemExit(f"{_peak()} MB of memory")
    print(json.dumps(found))


# --- The parent: starts children --------------------------------------------------------------------------------------


class Found(NamedTuple):
    """What became of the files: how many were read and refused, and what went wrong, by the files' numbers."""

    outcomes: Counter[str]
    wrong: dict[int, str]


def tried(seed: int, first: int, count: int) -> Found:
    """Try the damaged files with these numbers in a child process; after the end of one, the rest in another."""
    outcomes: Counter[str] = Counter()
    wrong: dict[int, str] = {}
    end = first + count
    while first < end:
        command = [sys.executable, "-m", "tests.fuzz_parquet", "child", str(seed), str(first), str(end)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = done.stdout.splitlines()
        for line in done.stderr.splitlines():
            number, _, result = line.partition(" ")
            if number.isdecimal() and result.startswith("raised"):
                wrong[int(number)] = result
        if done.returncode == 0:
            outcomes += Counter(json.loads(lines.pop()))
            break
        if not lines:
            raise RuntimeError(done.stderr)
        wrong[int(lines[-1])] = f"ended with {done.returncode}: {done.stderr[-800:]}"
        outcomes["ended"] += 1
        first = int(lines[-1]) + 1
    return Found(outcomes, wrong)


def main(arguments: list[str]) -> int:
    """Fuzz for as long as the first argument says, in seconds; or try the files that they name."""
    if arguments[0] == "child":
        seed, first, end = map(int, arguments[1:])
        _try((str(number), damaged(seed, number)) for number in range(first, end))
        return 0
    if not arguments[0].isdecimal():
        for name in arguments:
            print(name, outcome(Path(name).read_bytes()), f"{_peak()} MB", flush=True)
        return 0
    seconds, seed = int(arguments[0]), int(arguments[1]) if len(arguments) > 1 else random.randrange(1 << 32)
    outcomes: Counter[str] = Counter()
    failures = number = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        found = tried(seed, number, CASES)
        outcomes += found.outcomes
        failures += len(found.wrong)
        for case, what in found.wrong.items():
            path = Path(f"crash-{seed}-{case}")
            path.write_bytes(damaged(seed, case))
            print(f"{path}: {what}", flush=True)
        number += CASES
    print(f"seed {seed}: {number} files: {dict(outcomes)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
