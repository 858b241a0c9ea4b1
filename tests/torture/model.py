"""What must come out, worked out slowly: dicts, json and one row after another. Nothing of the loader is used.

Files are loaded in some order. With one loader that order is known; with a crash, or with several loaders, it may be
another one. But it must be *an* order: `order_of` finds the one that explains which file brought each event, and
fails where there is none. From there on everything follows: events, duplicates, conflicts, rejects and counts.
"""

from __future__ import annotations

import gzip
import hashlib
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from graphlib import TopologicalSorter
from typing import Any, NamedTuple

FIELDS = ("event_id", "event_name", "event_time", "user_id", "properties")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Input(NamedTuple):
    """A file: its bytes, and for Parquet also the rows that were put into it, with properties as JSON text."""

    name: str
    content: bytes
    rows: Sequence[Mapping[str, Any]] | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class Content(NamedTuple):
    """What makes two events the same; `properties` is canonical JSON."""

    event_name: str
    event_time: datetime
    user_id: str
    properties: str


class Place(NamedTuple):
    """Where a row stands. An event that came in otherwise has no file, and line 0."""

    file: str
    line: int


class Fact(NamedTuple):
    content: Content
    place: Place


class Counts(NamedTuple):
    read: int
    inserted: int
    duplicates: int
    conflicts: int
    rejected: int


@dataclass(slots=True)
class Outcome:
    events: dict[str, Fact] = field(default_factory=dict)
    quarantined: dict[Place, tuple[frozenset[str], Any]] = field(default_factory=dict)  # codes, the row as it stood
    counts: dict[str, Counts] = field(default_factory=dict)


class Row(NamedTuple):
    line: int
    raw: Any  # text; for Parquet the row as a dict
    codes: frozenset[str]  # why it is rejected
    event_id: str
    content: Content | None


def canonical(value: Any) -> str:
    """Spell a JSON value so that equal values have equal spellings, and none else: 1 is 1.0, and no true."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{canonical(value[key])}" for key in sorted(value)) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(canonical, value)) + "]"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def refused(file: Input) -> str | None:
    """Say with which code the whole file is refused."""
    if file.name.endswith(".gz"):
        try:
            gzip.decompress(file.content)
        except EOFError:
            return "truncated"
    return None


def rows_of(file: Input) -> Iterator[Row]:
    if refused(file):
        return
    if file.rows is not None:
        for line, row in enumerate(file.rows, 1):
            yield _judge(line, row, {**row, "properties": json.loads(row["properties"])})
        return
    text = (gzip.decompress(file.content) if file.name.endswith(".gz") else file.content).decode()
    for line, raw in enumerate(text.split("\n"), 1):
        if raw.strip(" \t\r"):
            try:
                yield _judge(line, raw, json.loads(raw))
            except json.JSONDecodeError:
                yield Row(line, raw, frozenset({"malformed_json"}), "", None)


def _judge(line: int, raw: Any, row: Any) -> Row:
    """Judge a row, of the kinds that the corpus has."""
    if not isinstance(row, dict):
        return Row(line, raw, frozenset({"not_an_object"}), "", None)
    codes = {"unknown_field" for name in row if name not in FIELDS}
    codes |= {"missing_field" for name in FIELDS if name not in row}
    texts = {name: row[name] for name in FIELDS[:-1] if name in row}
    codes |= {"wrong_type" for value in texts.values() if not isinstance(value, str)}
    codes |= {"empty_string" for name in ("event_name", "user_id") if texts.get(name) == ""}
    properties = row.get("properties")
    if "properties" in row and not isinstance(properties, dict):
        codes.add("properties_not_object" if properties is None or isinstance(properties, list | str) else "wrong_type")
    event_id, time = str(texts.get("event_id", "")).lower(), datetime.min.replace(tzinfo=UTC)
    if isinstance(texts.get("event_id"), str) and not _UUID.fullmatch(event_id):
        codes.add("bad_uuid")
    if isinstance(texts.get("event_time"), str):
        time = datetime.fromisoformat(texts["event_time"])
        if time.tzinfo is None:
            codes.add("time_without_offset")
    if codes:
        return Row(line, raw, frozenset(codes), "", None)
    content = Content(texts["event_name"], time.astimezone(UTC), texts["user_id"], canonical(properties))
    return Row(line, raw, frozenset(), event_id, content)


def outcome(files: Sequence[Input], stored: Mapping[str, Content] | None = None) -> Outcome:
    """Load files one after the other, row by row; `stored` are events that came in otherwise before."""
    result = Outcome(events={key: Fact(content, Place("", 0)) for key, content in (stored or {}).items()})
    seen: set[str] = set()
    for file in files:
        if refused(file) or file.sha256 in seen:
            continue
        seen.add(file.sha256)
        number = dict.fromkeys(Counts._fields, 0)
        for row in rows_of(file):
            place = Place(file.name, row.line)
            number["read"] += 1
            if row.content is None:
                number["rejected"] += 1
                result.quarantined[place] = (row.codes, row.raw)
            elif row.event_id not in result.events:
                number["inserted"] += 1
                result.events[row.event_id] = Fact(row.content, place)
            elif result.events[row.event_id].content == row.content:
                number["duplicates"] += 1
            else:
                number["conflicts"] += 1
                result.quarantined[place] = (frozenset({"conflict"}), row.raw)
        result.counts[file.name] = Counts(**number)
    return result


def order_of(files: Sequence[Input], winners: Mapping[str, str], together: Sequence[Sequence[str]] = ()) -> list[Input]:
    """Return files in an order in which each event comes first in the file that brought it.

    Args:
        files: in the order in which a loader finds them; it is kept wherever the winners don't say otherwise.
        winners: by event_id, the name of the file that brought it.
        together: names of files that share a load, in its order: that one must be kept.

    Raises:
        graphlib.CycleError: no order explains the winners.
    """
    position = {file.name: number for number, file in enumerate(files)}
    holders: dict[str, set[str]] = defaultdict(set)
    for file in files:
        for row in rows_of(file):
            holders[row.event_id].add(file.name)
    graph: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(position, ()))
    for event_id, winner in winners.items():
        for other in holders[event_id] - {winner}:
            graph.add(other, winner)
    for names in together:
        present = [name for name in names if name in position]
        for earlier, later in itertools.pairwise(present):
            graph.add(later, earlier)
    graph.prepare()
    ready: list[str] = []
    order = []
    while graph.is_active():
        ready = sorted([*ready, *graph.get_ready()], key=position.__getitem__)
        order.append(files[position[ready[0]]])
        graph.done(ready.pop(0))
    return order
