"""What holds for any input: decode, validate and account, against slow and obvious references."""

from __future__ import annotations

import json
import os
import unicodedata
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import polars as pl
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from loader import contract, jsonb, lines, ndjson, timestamps
from loader.decode import _concatenated
from loader.errors import AccountingError, FileRefused
from loader.model import Counts
from loader.names import printable, stored_name
from loader.validate import validate

TERMS = contract.load()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
events = st.fixed_dictionaries(
    {
        "event_id": st.uuids().map(str) | st.text(max_size=5),
        "event_name": st.text(max_size=8) | json_values,
        "event_time": st.datetimes(timezones=st.just(UTC)).map(datetime.isoformat) | st.text(max_size=5),
        "user_id": st.text(min_size=1, max_size=8),
        "properties": st.dictionaries(st.text(), json_values, max_size=4) | json_values,
    },
    optional={"more": json_values},
)
styles = st.sampled_from([(",", ":"), (", ", ": "), (" ,\t", " : ")])


@st.composite
def spelled(draw: st.DrawFn) -> bytes:
    event = draw(events)
    names = draw(st.permutations(list(event)))
    text = json.dumps(
        {name: event[name] for name in names}, ensure_ascii=draw(st.booleans()), separators=draw(styles)
    ).encode(errors="surrogatepass")
    if draw(st.integers(0, 9)) == 0:
        cut = draw(st.integers(0, len(text)))
        text = text[:cut] + draw(st.binary(max_size=3)) + text[cut + draw(st.integers(0, 2)) :]
    return text.replace(b"\n", b"")


any_line = spelled() | st.binary(max_size=20).map(lambda data: data.replace(b"\n", b"")) | st.just(b"")


def verdicts(content: bytes, first_line: int = 1) -> tuple[dict[int, dict[str, Any]], dict[int, list[str]]]:
    decoder = ndjson.Decoder(TERMS, max_line_bytes=1 << 20)
    rows = ndjson.Rows()
    decoder.add(rows, content, file_id=1, first_line=first_line)
    block = decoder.block(rows)
    assert block.frame.height == sum(1 for line in content.split(b"\n") if line.strip(b" \t\r"))
    checked = validate(block, TERMS)
    valid = {row["line"]: row for row in checked.valid.iter_rows(named=True)}
    rejected = {reject.line: sorted(problem.code for problem in reject.problems) for reject in checked.rejects}
    assert checked.valid.height + len(checked.rejects) == block.frame.height
    assert not valid.keys() & rejected.keys()
    return valid, rejected


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(any_line, max_size=40))
def test_a_verdict_depends_on_the_row_alone(content: list[bytes]) -> None:
    together = verdicts(b"".join(line + b"\n" for line in content))
    alone: tuple[dict[int, Any], dict[int, Any]] = ({}, {})
    for number, line in enumerate(content, 1):
        if line.strip(b" \t\r"):
            valid, rejected = verdicts(line, number)
            alone[0].update(valid)
            alone[1].update(rejected)
    assert together == alone


@settings(max_examples=300, deadline=None)
@given(spelled())
def test_what_is_accepted_means_what_the_line_says(line: bytes) -> None:
    valid, _ = verdicts(line)
    for row in valid.values():
        said = json.loads(line, parse_float=Decimal)
        assert json.loads(row["properties"], parse_float=Decimal) == said["properties"]
        assert row["properties"].encode() in line
        assert (row["event_id"], row["event_name"], row["user_id"]) == tuple(
            said[name] for name in ("event_id", "event_name", "user_id")
        )


digits = st.text(alphabet="0123456789", min_size=1, max_size=12)


@st.composite
def timestamps_text(draw: st.DrawFn) -> str:
    """Anything that RFC 3339's grammar says, and a little more."""
    number = st.integers
    offset = draw(
        st.sampled_from(["Z", "z", ""])
        | st.tuples(st.sampled_from("+-"), number(0, 25), number(0, 61)).map(lambda o: f"{o[0]}{o[1]:02}:{o[2]:02}")
    )
    date = f"{draw(number(0, 9999)):04}-{draw(number(0, 13)):02}-{draw(number(0, 32)):02}"
    time = f"{draw(number(0, 25)):02}:{draw(number(0, 61)):02}:{draw(number(0, 61)):02}"
    return f"{date}{draw(st.sampled_from('Tt '))}{time}{draw(st.just('') | digits.map('.{}'.format))}{offset}"


def reference(text: str) -> int | None:
    """Microseconds since 1970, by the datetime module; None where the text is not in the profile."""
    if text[10] == " " or (len(text) == len(text.rstrip("Zz")) and text[-6] not in "+-"):
        return None
    body, offset = (text[:-1], timedelta()) if text[-1] in "Zz" else (text[:-6], None)
    if offset is None:
        hours, minutes = int(text[-5:-3]), int(text[-2:])
        if hours > 23 or minutes > 59:
            return None
        offset = timedelta(hours=hours, minutes=minutes) * (-1 if text[-6] == "-" else 1)
    whole, _, fraction = body.partition(".")
    year = int(whole[:4])
    try:
        # 400 years have a whole number of days, and year 0 is beyond datetime.
        moment = datetime.fromisoformat(f"{year + 400 if year < 400 else year:04}{whole[4:].upper()}+00:00")
    except (ValueError, OverflowError):
        return None
    shift = (datetime(801, 1, 1, tzinfo=UTC) - datetime(401, 1, 1, tzinfo=UTC)) if year < 400 else timedelta()
    micros = (moment - EPOCH - shift - offset) // timedelta(microseconds=1) + int(fraction[:6].ljust(6, "0"))
    first = (datetime(1, 1, 1, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    last = (datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
    return micros if first <= micros <= last else None


@settings(max_examples=200, deadline=None)
@given(st.lists(timestamps_text(), min_size=1, max_size=40))
def test_timestamps_are_what_the_datetime_module_says(texts: list[str]) -> None:
    parsed = timestamps.parse(pl.Series("t", texts, pl.String)).to_physical().to_list()
    assert dict(zip(texts, parsed, strict=True)) == {text: reference(text) for text in texts}
    for text, value in zip(texts, parsed, strict=True):
        if value is None:
            assert timestamps.explain(text, "t").code in {
                *("time_without_offset", "bad_timestamp", "leap_second", "impossible_time", "time_out_of_range")
            }


def test_the_reference_knows_an_offset() -> None:
    moment = datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert reference("2024-01-01T00:00:00+05:30") == (moment - EPOCH) // timedelta(microseconds=1)


class Stream:
    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, size: int) -> bytes:
        head, self._content = self._content[:size], self._content[size:]
        return head


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.binary(max_size=30).map(lambda data: data.replace(b"\n", b"").replace(b"\0", b"")), max_size=20),
    st.integers(1, 40),
    st.integers(1, 25),
    st.booleans(),
)
def test_chunks_lose_no_byte_and_know_the_long_lines(content: list[bytes], size: int, limit: int, end: bool) -> None:
    text = b"\n".join(content) + (b"\n" if end and content else b"")
    if text.startswith((b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")):
        return
    got: list[bytes] = []
    too_long: list[int] = []
    for chunk in lines.chunks(Stream(text), size=size, max_line_bytes=limit):
        if chunk.over_limit:
            too_long.append(len(got))
            assert chunk.over_limit > limit
            got.append(chunk.data[:limit])
        else:
            found = chunk.data.split(b"\n")
            got += found[:-1] if chunk.data.endswith(b"\n") else found
    expected = text.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert len(got) == len(expected)
    for number, (line, whole) in enumerate(zip(got, expected, strict=True)):
        assert line == (whole[:limit] if number in too_long else whole)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(FileRefused, match="not_utf8"):
        list(lines.chunks(Stream('{"a":1}'.encode(encoding)), size=100, max_line_bytes=100))


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=()), min_size=1, max_size=120))
def test_names_are_printable_and_fit(name: str) -> None:
    assert all(c == " " or unicodedata.category(c)[0] not in "CZ" for c in printable(name))
    try:
        encoded = os.fsencode(name + ".ndjson")
    except UnicodeEncodeError:
        return  # Not a name that a file system could have given.
    if len(encoded) <= 255:
        stored = stored_name(name + ".ndjson", b"\1" * 32, ".rejected.ndjson")
        assert len(os.fsencode(stored)) <= 255
        assert stored.endswith(".01010101.rejected.ndjson")


@given(st.lists(st.integers(0, 10**12), min_size=4, max_size=4), st.integers(-3, 3))
def test_counts_that_do_not_add_up_are_an_error(parts: list[int], off: int) -> None:
    counts = Counts(sum(parts) + off, *parts)
    if off:
        with pytest.raises(AccountingError):
            counts.check("a")
    else:
        counts.check("a")


def test_blocks_as_one_keep_their_rows_and_problems() -> None:
    decoder = ndjson.Decoder(TERMS, max_line_bytes=1 << 20)
    blocks = []
    for first in (1, 3):
        rows = ndjson.Rows()
        decoder.add(rows, b"{}\n[]\n", file_id=first, first_line=first)
        blocks.append(decoder.block(rows))
    checked = validate(_concatenated(blocks), TERMS)
    assert [(reject.file_id, reject.line, reject.raw.content) for reject in checked.rejects] == [
        *((1, 1, b"{}"), (1, 2, b"[]"), (3, 3, b"{}"), (3, 4, b"[]"))
    ]


numbers = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(["", "-"]),
    st.sampled_from(["0", "1", "9" * 40, "1" + "0" * 131_071, "1" + "0" * 131_072]) | st.integers(0, 10**9).map(str),
    st.sampled_from(["", ".0", ".5", "." + "0" * 16_383, "." + "0" * 16_382 + "1", "." + "1" * 16_384]),
    st.sampled_from(["", "e5", "E+131071", "e131072", "e-16383", "e-16384", "e-16300", "e99999", "e-99999", "e+00005"]),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(number=numbers)
def test_what_is_called_unfit_for_jsonb_is_what_postgres_refuses(database_session: Any, number: str) -> None:
    text = f'{{"n":[{number}]}}'
    found = list(jsonb.find_problems(pl.Series("p", [text], pl.String)))
    try:
        database_session.execute("SELECT %s::jsonb", (text,))
    except psycopg.errors.DataError:
        assert found
    else:
        assert not found
