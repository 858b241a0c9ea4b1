"""What the README promises of a row, written a second time: slow, obvious, and sharing no code with the loader.

`read` says of each line of a file whether it is accepted, and as which event, or what is wrong with it where.
`loaded` says what a sequence of files leaves in an empty database. Both are pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple
from uuid import UUID

FIELDS = ("event_id", "event_name", "event_time", "user_id", "properties")
# Where a reason belongs that is about no field of the contract: the line as a whole, and all of its unknown fields.
LINE, UNKNOWN = "line", "unknown fields"
_MAX_DEPTH = 500
# What the stdlib's recursive parser is spared. So deep a line is rejected in any case, with whatever reason.
_PARSED_DEPTH = 600

Reasons = Mapping[str, frozenset[str]]


class Number(NamedTuple):
    """A JSON number by its value. In a type of its own, since to Python `True == 1`."""

    value: Decimal


class _Object(dict[str, Any]):
    """A JSON object: of a key that stands twice the last value, but Postgres has to read the others too."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


class _Unfit:
    """A JSON number that Postgres's numeric can't hold."""


@dataclass(frozen=True)
class Event:
    """An accepted row, by value."""

    event_id: UUID
    event_name: str
    event_time: int  # microseconds since 1970 in UTC
    user_id: str
    properties: Any  # JSON, with each number a Number


@dataclass(frozen=True)
class Rejected:
    """A rejected row: by place (a field, LINE, UNKNOWN) the codes that are true of it."""

    reasons: Reasons

    def agrees_with(self, given: Reasons) -> bool:
        """Say whether reasons that a loader gave are all true, and leave no place out.

        Of a line that can't be taken apart, any true reason is enough; where none is known, any at all.
        """
        if LINE in self.reasons:
            true = frozenset().union(*self.reasons.values())
            return bool(given) and (not true or frozenset().union(*given.values()) <= true)
        return given.keys() == self.reasons.keys() and all(given[place] <= self.reasons[place] for place in given)


def read(content: bytes, *, max_line_bytes: int = 1 << 24) -> dict[int, Event | Rejected] | None:
    """Return the verdict on each line that is not blank, by number; None where the file is refused as UTF-16."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff") or (b"\0" in content[:4] and content.strip(b"\0")):
        return None
    lines = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return {
        number: verdict(line) if len(line) <= max_line_bytes else _rejected("line_too_long")
        for number, line in enumerate(lines, 1)
        if line.strip(b" \t\r")
    }


def verdict(line: bytes) -> Event | Rejected:
    """Return the verdict on one line, without its newline."""
    # U+FFFD in place of bad bytes changes nothing about whatever else is wrong with the line.
    text = line.decode(errors="replace")
    whole = set() if text.encode() == line else {"invalid_utf8"}
    if depth(text) > _PARSED_DEPTH:
        return _rejected()
    if _has_lone_surrogate(text):
        whole.add("lone_surrogate")
    try:
        event, keys = parse_json(text)
    except ValueError:
        return _rejected("malformed_json", *whole)
    if not isinstance(event, dict):
        return _rejected("not_an_object", *whole)
    reasons = {place: codes for place in (*FIELDS, UNKNOWN) if (codes := frozenset(_wrong(place, event, keys)))}
    if whole:
        return Rejected({**reasons, LINE: frozenset(whole)})
    if reasons:
        return Rejected(reasons)
    _, name, time, user, properties = (event[name] for name in FIELDS)
    return Event(UUID(event["event_id"]), name, microseconds(time), user, properties)


def parse_json(text: str) -> tuple[Any, list[str]]:
    """Return a JSON value, each number a Number; and the keys of an object, repeated ones as often as they stand.

    Raises:
        ValueError: it is no JSON.
    """
    keys: list[str] = []

    def members(pairs: list[tuple[str, Any]]) -> _Object:
        keys[:] = [key for key, _ in pairs]  # The outermost object is closed last.
        return _Object(pairs)

    def number(spelling: str) -> Number | _Unfit:
        return Number(Decimal(spelling)) if _fits_numeric(spelling) else _Unfit()

    def constant(spelling: str) -> None:
        raise ValueError(spelling)  # NaN and Infinity, which the stdlib takes

    value = json.loads(text, object_pairs_hook=members, parse_int=number, parse_float=number, parse_constant=constant)
    return value, keys


def _fits_numeric(spelling: str) -> bool:
    """Say whether numeric holds a number: 131072 digits before the decimal point, 16383 after it (manual, 8.1.2)."""
    mantissa, _, exponent = spelling.lower().partition("e")
    if abs(Decimal(exponent or 0)) >= 2**30:  # numeric_in() refuses these even in a spelling of zero.
        return False
    whole, _, fraction = mantissa.lstrip("-").partition(".")
    digits = whole + fraction
    point = len(whole) + int(exponent or 0)  # where in the row of digits the decimal point ends up
    first = len(digits) - len(digits.lstrip("0"))
    return len(digits) - point <= 16_383 and (first == len(digits) or point - first <= 131_072)


def _wrong(place: str, event: dict[str, Any], keys: list[str]) -> Iterator[str]:
    """Yield what is wrong with a field, or with the unknown fields, of a JSON object with `keys`."""
    if place == UNKNOWN:
        yield from ["unknown_field"] * bool(event.keys() - set(FIELDS))
        return
    if keys.count(place) > 1:
        yield "duplicate_key"
    if place not in event:
        yield "missing_field"
    elif place == "properties":
        yield from _wrong_with_properties(event[place])
    elif not isinstance(event[place], str):
        yield "wrong_type"
    elif place == "event_time":
        yield from _wrong_with_time(event[place])
    else:
        yield from _wrong_with_text(place, event[place])


def _wrong_with_text(name: str, text: str) -> Iterator[str]:
    if "\0" in text:
        yield "null_character"
    if name != "event_id" and not text:
        yield "empty_string"
    if name == "event_id" and not re.fullmatch("-".join(f"[0-9A-Fa-f]{{{n}}}" for n in (8, 4, 4, 4, 12)), text):
        yield "bad_uuid"


def _wrong_with_properties(value: Any) -> Iterator[str]:
    if not isinstance(value, dict):
        yield "properties_not_object"
    todo = [(value, 1)]  # parts, and how many brackets there are around what is in them
    while todo:
        part, level = todo.pop()
        if isinstance(part, _Object | list):
            inner = [item for pair in part.pairs for item in pair] if isinstance(part, _Object) else part
            todo += [(item, level + 1) for item in inner]
            yield from ["too_deep"] * (level > _MAX_DEPTH)
        elif isinstance(part, _Unfit):
            yield "number_out_of_range"
        elif isinstance(part, str) and "\0" in part:
            yield "null_character"


_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?([Zz]|[+-][0-9]{2}:[0-9]{2})?"
)


def _wrong_with_time(text: str) -> Iterator[str]:
    match = _TIME.fullmatch(text)
    if match is None or (" " in text and match[8]):
        yield "bad_timestamp"
    elif match[8] is None:
        yield "time_without_offset"
    else:
        if match[6] == "60":
            yield "leap_second"
        try:
            micros = microseconds(text)
        except ValueError:
            yield "impossible_time"
        else:  # 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999Z
            if match[6] != "60" and not -62_135_596_800_000_000 <= micros <= 253_402_300_799_999_999:
                yield "time_out_of_range"


def microseconds(text: str) -> int:
    """Return the instant of a timestamp; digits below the microsecond are cut off, towards the past.

    Raises:
        ValueError: there is no such day, time of day or offset.
    """
    match = _TIME.fullmatch(text)
    year, month, day, hour, minute, second = (int(match[part]) if match else 0 for part in range(1, 7))
    fraction, offset = (match[7] or "", match[8]) if match else ("", "Z")
    sign, hours, minutes = (0, 0, 0) if offset in "Zz" else (int(offset[0] + "1"), int(offset[1:3]), int(offset[4:]))
    if hour > 23 or minute > 59 or second > 60 or hours > 23 or minutes > 59:
        raise ValueError(text)
    # To the calendar, year 0 is like 400, and that is 146097 days later.
    days = date(year, month, day).toordinal() if year else date(400, month, day).toordinal() - 146_097
    seconds = 86_400 * (days - date(1970, 1, 1).toordinal()) + 3_600 * hour + 60 * minute + second
    exact = seconds - sign * (3_600 * hours + 60 * minutes) + Fraction(f"0{fraction}")
    return exact.numerator * 1_000_000 // exact.denominator


def depth(text: str) -> int:
    """Return how deep brackets outside of strings are nested, in text that need not be JSON."""
    level = deepest = 0
    for mark in re.findall(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text, re.DOTALL):
        level += (mark in "[{") - (mark in "]}")
        deepest = max(deepest, level)
    return deepest


def _has_lone_surrogate(text: str) -> bool:
    r"""Say whether an escape such as \ud800 stands without its other half, in text that need not be JSON."""
    escapes = re.sub(r"\\[^u]", "-", text, flags=re.DOTALL)
    rest = re.sub(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}", "-", escapes)
    return re.search(r"\\u[dD][89a-fA-F][0-9a-fA-F]{2}", rest) is not None


def _rejected(*codes: str) -> Rejected:
    return Rejected({LINE: frozenset(codes)})


class Row(NamedTuple):
    """An event in the database, and the file (counted from 0) and line that brought it."""

    event: Event
    file: int
    line: int


@dataclass
class Outcome:
    """Where the lines of a file went, by number."""

    inserted: list[int] = field(default_factory=list)
    duplicates: list[int] = field(default_factory=list)
    conflicts: dict[int, list[str]] = field(default_factory=dict)  # with the fields that differ
    rejected: dict[int, Rejected] = field(default_factory=dict)


def loaded(files: Sequence[bytes]) -> tuple[dict[UUID, Row], list[Outcome | None]]:
    """Load files one after the other into an empty database; None stands for a file whose content was there before."""
    rows: dict[UUID, Row] = {}
    outcomes: list[Outcome | None] = []
    for number, content in enumerate(files):
        outcome = Outcome()
        for line, said in (read(content) or {}).items():
            if isinstance(said, Rejected):
                outcome.rejected[line] = said
            elif said.event_id not in rows:
                rows[said.event_id] = Row(said, number, line)
                outcome.inserted.append(line)
            elif other := [name for name in FIELDS if getattr(rows[said.event_id].event, name) != getattr(said, name)]:
                outcome.conflicts[line] = other
            else:
                outcome.duplicates.append(line)
        outcomes.append(None if content in files[:number] else outcome)
    return rows, outcomes
