"""Synthetic events for the landing folder: three kinds of client, their retries and their mistakes.

The same arguments give the same rows on every machine, however many files they are split into. Plain NDJSON is the
same to the byte; the bytes of gzip, zstd and Parquet also depend on the version of the library that packs them.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from random import Random
from typing import BinaryIO, NamedTuple, TypeVar, cast

from loader.errors import UsageError

FORMATS: tuple[str, ...] = ("ndjson", "ndjson.gz", "ndjson.zst", "parquet")

_COLUMNS = ("event_id", "event_name", "event_time", "user_id", "properties")
_Event = tuple[str | None, ...]  # The texts of the columns.
_Row = TypeVar("_Row")

_LINES_PER_WRITE = 2_000
_ROW_GROUP = 50_000
_REMEMBERED = 4_096  # Events that may be retried; all that is kept of what was written.


@dataclass(frozen=True, slots=True)
class Simulated:
    """What was written: the files, their rows in all, and how many of those are malformed or exact retries."""

    paths: list[Path]
    events: int
    bad: int
    repeated: int


def simulate(
    landing: Path,
    *,
    events: int,
    seed: int = 0,
    bad_rate: float = 0.0,
    dup_rate: float = 0.0,
    file_format: str = "ndjson",
    files: int = 1,
) -> Simulated:
    """Write `events` rows into `files` new files in `landing`; each appears there only when it is complete."""
    if file_format not in FORMATS:
        raise UsageError(f"unknown format {file_format!r}: choose one of {', '.join(FORMATS)}")
    if events < 0 or files < 1:
        raise UsageError("events must be 0 or more, files 1 or more")
    # Said positively, so that NaN, which compares false with everything, is refused too.
    if not (0 <= bad_rate <= 1 and 0 <= dup_rate <= 1 and bad_rate + dup_rate <= 1):
        raise UsageError("bad rate and dup rate must lie between 0 and 1, and so must their sum")
    bad, repeated = round(events * bad_rate), round(events * dup_rate)
    if repeated and bad + repeated >= events:
        raise UsageError("these rates leave no valid event that a retry could repeat")
    paths = [landing / f"events-seed{seed}-{number:04d}.{file_format}" for number in range(1, files + 1)]
    landing.mkdir(parents=True, exist_ok=True)
    # Replacing a file would take its rows away from a loader that has yet to load them.
    if present := next(filter(os.path.lexists, paths), None):
        raise UsageError(f"{present} exists: load or remove it first, or choose another seed")

    plan = Simulated(paths, events, bad, repeated)
    write: Callable[[BinaryIO, int], None]
    if file_format == "parquet":
        source = _Source(seed, [*_TYPED_FAULTS])
        write = partial(_write_parquet, source.mix(source.event, source.bad_event, plan))
    else:
        source = _Source(seed, [*_FIELD_FAULTS, *_LINE_FAULTS])
        write = partial(_write_ndjson, source.mix(source.line, source.bad_line, plan), file_format)
    for number, path in enumerate(paths):
        with _published(path) as handle:
            write(handle, events // files + (number < events % files))
    return plan


def _literals(*values: object, ascii_only: bool = False) -> list[str]:
    return [json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")) for value in values]


# What may stand for each <name> of a template below: JSON literals, or numbers.
# fmt: off
_POOLS: dict[str, Sequence[object]] = {
    "count": range(1, 12), "size": range(5_000), "number": range(1_000_000), "token": range(2**31 - 1),
    "price": [f"{cents / 100:.2f}" for cents in range(199, 49_999, 137)], "flag": ("true", "false"),
    "currency": ('"EUR"', '"USD"', '"JPY"'), "method": ('"card"', '"sepa"', '"paypal"'),
    "agent": _literals("Mozilla/5.0 (X11; Linux x86_64) Firefox/133.0", "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5)"),
    "campaign": _literals(None, {}, {"source": "newsletter", "medium": "email"}, {"source": "ads", "term": "schuhe"}),
    "company": _literals("Müller & Söhne GmbH", "Crédit Mutuel", "株式会社サンプル", 'O\'Neil "Bob"', ascii_only=True),
    "device": _literals({"os": "iOS", "version": "17.5", "model": "iPhone15,3", "tags": ["pro", "5g"]},
                        {"os": "Android", "version": "14", "model": "小米 12", "battery": 0.42, "rooted": False}),
    "error": _literals(None, {"code": "E_TIMEOUT", "retries": 3}, {"code": "E_PARSE", "trace": ["a.py:7", "b.py:12"]}),
    "path": _literals("/", "/pricing", "/blog/2025/ça-marche", "/produkte/überblick", "/search?q=a%20b&p=2", None),
    "product": _literals("Café crème 250 g", 'Monitor 27"', "Fahrradhelm Größe M", "Ноутбук", "👟 Runner", "A\\B"),
    "query": _literals("running shoes", 'tv 55"', "naïve café", "кроссовки", "靴", "🎧 noise", "50% \\o/", ""),
    "screen": _literals("home", "product/详情", "réglages"), "push": _literals("On its way 🚚", "-20 % !", "Скидка"),
    "title": _literals("Home", 'The "best" of 2025', "Über uns & Zoë & Søren", "価格", "Prix\tet\nconditions", "C:\\x"),
}
_USERS = ("zoë.müller", "søren@example.dk", "用户_8841", "иван.петров", "أحمد", "o'brien", "josé+1", "🦊")


class _Client(NamedTuple):
    """One kind of program that sends events, and its habits."""

    line: str
    spellings: tuple[tuple[str, int, str], ...]  # Of event_time: its precision, minutes from UTC, suffix.
    kinds: tuple[tuple[int, str, str], ...]  # Weight, event_name, template of the properties.
    phone: bool = False  # Then half of the UUIDs are in upper case, as iOS writes them, and some events come late.


_WEB = _Client('{{"event_id":"{0}","event_name":"{1}","event_time":"{2}","user_id":"{3}","properties":{4}}}\n',
    (("milliseconds", 0, "Z"),), (
    (8, "page_view", '{"page":{"path":<path>,"title":<title>},"session":"<token>","agent":<agent>,"utm":<campaign>}'),
    (5, "click", '{"target":{"id":"btn-<count>","text":<title>},"at":{"x":<size>,"y":<size>},"path":<path>}'),
    (3, "search", '{"query":<query>,"results":<size>,"filters":{"in_stock":<flag>,"price":[0,<price>]},"ms":<size>}'),
    (2, "add_to_cart", '{"product":{"sku":"SKU-<number>","name":<product>,"price":<price>},"quantity":<count>}'),
    (1, "checkout", '{"cart":{"items":[{"name":<product>},{"name":<product>}],"total":<price>},"coupon":<query>}'),
))
_MOBILE = _Client('{{"event_name":"{1}","properties":{4},"user_id":"{3}","event_time":"{2}","event_id":"{0}"}}\n',
    (("milliseconds", 120, "+02:00"), ("seconds", -300, "-05:00"), ("milliseconds", 330, "+05:30")), (
    (3, "app_open", '{"app":{"version":"8.<count>.0","build":<number>},"device":<device>,"cold_start":<flag>}'),
    (6, "screen_view", '{"screen":<screen>,"previous":<screen>,"device":<device>,"dwell":{"ms":<size>},"dark":<flag>}'),
    (2, "push_received", '{"push":{"id":"<token>","title":<push>},"device":<device>,"opened":<flag>,"utm":<campaign>}'),
), phone=True)
_BACKEND = _Client(
    '{{"event_id": "{0}", "event_time": "{2}", "event_name": "{1}", "user_id": "{3}", "properties": {4}}}\n',
    (("microseconds", 0, "+00:00"), ("microseconds", 0, "Z"), ("seconds", 0, "Z")), (
    (2, "order_created", '{"order": {"id": "o-<number>", "total": <price>, "currency": <currency>}, "to": <company>}'),
    (2, "payment_captured", '{"payment": {"method": <method>, "amount": <price>}, "attempts": <count>, "3ds": <flag>}'),
    (1, "invoice_sent", '{"invoice": {"no": "2025-<number>", "to": <company>}, "lines": [<price>, <price>]}'),
    (2, "job_finished", '{"job": {"id": "<token>", "queue": "mail"}, "took_s": <price>, "error": <error>}'),
))
# fmt: on
_SLOT = "<([a-z]+)>"
_KINDS = [
    (client, name, re.sub(_SLOT, "%s", template), [_POOLS[pool] for pool in re.findall(_SLOT, template)])
    for client in (_WEB, _MOBILE, _BACKEND)
    for weight, name, template in client.kinds
    for _ in range(weight)
]


class _Source:
    """Makes events, one after the other, from one seeded generator."""

    def __init__(self, seed: int, faults: Sequence[str]) -> None:
        # A text, because Random takes a negative integer for its absolute value. Only `random` and `getrandbits` are
        # used: how `choice`, `shuffle` and their like draw may change between versions of Python.
        generator = Random(f"loader simulate {seed}")  # noqa: S311 - test data, no secrets
        self._random, self._bits = generator.random, generator.getrandbits
        self._clock = datetime(2025, 1, 1) + timedelta(days=int(self._random() * 365))  # noqa: DTZ001 - wall time, UTC
        self._faults = islice(cycle(faults), int(self._random() * len(faults)), None)

    def mix(self, fresh: Callable[[], _Row], broken: Callable[[], _Row], plan: Simulated) -> Iterator[_Row]:
        """Yield the planned rows, broken ones and retries evenly spread among fresh ones.

        Selection sampling (Knuth, TAOCP 3.4.2, algorithm S): exact counts in one pass, without a list of all rows.
        """
        random, bad, repeated = self._random, plan.bad, plan.repeated
        remembered: deque[_Row] = deque(maxlen=_REMEMBERED)
        for left in range(plan.events, 0, -1):
            draw = random() * (left if remembered else left - repeated)  # At first there is nothing to retry.
            if draw < bad:
                bad -= 1
                yield broken()
            elif remembered and draw < bad + repeated:
                repeated -= 1
                # The power keeps most retries near: clients try again within seconds, few come back online much later.
                yield remembered[-1 - int(random() ** 5 * len(remembered))]
            else:
                remembered.append(fresh())
                yield remembered[-1]

    def event(self) -> tuple[str, ...]:
        return self._next()[1]

    def line(self) -> str:
        client, event = self._next()
        return client.line.format(*event)

    def bad_event(self) -> _Event:
        *texts, properties = self._spoil(next(self._faults)).values()
        return (*(text and json.loads(text) for text in texts), properties)

    def bad_line(self) -> str:
        fault = next(self._faults)
        fields = ",".join(f'"{name}":{value}' for name, value in self._spoil(fault).items() if value is not None)
        line = f"{{{fields}}}"
        return (_LINE_FAULTS[fault](line, self._random()) if fault in _LINE_FAULTS else line) + "\n"

    def _spoil(self, fault: str) -> dict[str, str | None]:
        event = self.event()
        literals = zip(_COLUMNS, [*(f'"{text}"' for text in event[:4]), event[4]], strict=True)
        return dict(literals) | (_FIELD_FAULTS[fault](event, self._pick) if fault in _FIELD_FAULTS else {})

    def _pick(self, *options: str) -> str:
        return options[int(self._random() * len(options))]

    def _next(self) -> tuple[_Client, tuple[str, ...]]:
        random = self._random
        client, name, template, pools = _KINDS[int(random() * len(_KINDS))]
        self._clock += timedelta(0, 0, int(random() * 172_000))
        precision, offset, suffix = client.spellings[int(random() * len(client.spellings))]
        late = int(random() * 21_600) if client.phone and random() < 0.05 else 0  # noqa: PLR2004
        time = (self._clock + timedelta(0, offset * 60 - late)).isoformat("T", precision) + suffix
        bits = f"{self._bits(128):032x}"
        event_id = f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-{'89ab'[int(bits[16], 16) & 3]}{bits[17:20]}-{bits[20:]}"
        if client.phone and random() < 0.5:  # noqa: PLR2004
            event_id = event_id.upper()
        user = f"u_{int(random() * random() * 50_000):06d}" if random() < 0.97 else self._pick(*_USERS)  # noqa: PLR2004
        properties = template % tuple([pool[int(random() * len(pool))] for pool in pools])
        return client, (event_id, name, time, user, properties)


# Ways to spoil an event: the JSON literals that take the place of its own (None: the field is missing). First those
# that a file of typed columns can carry too, then those of JSON alone, then those that spoil the finished line.
_Fault = Callable[[tuple[str, ...], Callable[..., str]], dict[str, str | None]]
_TYPED_FAULTS: dict[str, _Fault] = {
    "missing_field": lambda _, pick: {pick(*_COLUMNS): None},
    "empty_string": lambda _, pick: {pick("event_name", "user_id"): '""'},
    "bad_uuid": lambda event, pick: {"event_id": f'"{pick(event[0][1:], event[0].replace("-", ""), "none")}"'},
    "time_without_offset": lambda event, _: {"event_time": f'"{event[2][:19]}"'},
    "impossible_date": lambda event, pick: {"event_time": f'"2025-{pick("02-29", "04-31", "13-01")}{event[2][10:]}"'},
    "leap_second": lambda _, pick: {"event_time": f'"2016-12-31T23:59:60{pick("Z", ".5Z", "+00:00")}"'},
    "malformed_properties": lambda event, _: {"properties": event[4][:-1]},
    "properties_not_object": lambda _, pick: {"properties": pick("[]", "null", '"{}"', "7", "true")},
    "null_character": lambda event, _: {"properties": r'{"note":"cut\u0000here",' + event[4][1:]},
}
_FIELD_FAULTS: dict[str, _Fault] = _TYPED_FAULTS | {
    "unknown_field": lambda _, pick: {pick("debug", "Event_id", "properties "): "1"},
    "wrong_type": lambda _, pick: {pick(*_COLUMNS[:4]): pick("7", "true", "null", '["a"]', "{}")},
    "lone_surrogate": lambda event, _: {"properties": r'{"note":"\ud83d",' + event[4][1:]},
    "huge_number": lambda event, _: {"properties": '{"total":1e400000,' + event[4][1:]},
    # Surrogate escapes stand for the bytes of Latin-1, of an overlong slash, and of half a UTF-16 pair.
    "invalid_utf8": lambda _, pick: {"user_id": pick('"caf\udce9"', '"\udcc0\udcaf"', '"\udced\udca0\udc80"')},
}
_LINE_FAULTS: dict[str, Callable[[str, float], str]] = {
    "truncated_line": lambda line, share: line[: 1 + int(share * (len(line) - 1))],
    "not_an_object": lambda line, share: f"[{line}]" if share < 0.5 else '"event"',  # noqa: PLR2004
    "duplicated_key": lambda line, _: line[:-1] + ',"user_id":"someone else"}',
}


@contextmanager
def _published(path: Path) -> Iterator[BinaryIO]:
    """Open a file, hidden from loaders by its dot, that appears as `path` when all of it is on disk, or not at all."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with unfinished.open("wb") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())
        unfinished.rename(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _write_ndjson(lines: Iterator[str], file_format: str, handle: BinaryIO, count: int) -> None:
    left = islice(lines, count)
    with _packed(handle, file_format) as packed:
        while block := "".join(islice(left, _LINES_PER_WRITE)):
            packed.write(block.encode("utf-8", "surrogateescape"))


def _packed(handle: BinaryIO, file_format: str) -> AbstractContextManager[BinaryIO]:
    if file_format == "ndjson":
        return nullcontext(handle)
    if file_format == "ndjson.gz":
        import gzip

        return cast("BinaryIO", gzip.GzipFile("", "wb", compresslevel=6, fileobj=handle, mtime=0))
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    return cast("BinaryIO", zstd.ZstdFile(handle, "wb"))


def _write_parquet(events: Iterator[_Event], handle: BinaryIO, count: int) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = islice(events, count)
    schema = pa.schema([(name, pa.string()) for name in _COLUMNS])
    with parquet.ParquetWriter(handle, schema, compression="zstd") as writer:
        while group := list(islice(rows, _ROW_GROUP)):
            columns = zip(_COLUMNS, map(list, zip(*group, strict=True)), strict=True)
            writer.write_table(pa.table(dict(columns), schema=schema))
