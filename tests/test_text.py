"""Lines looked at in many places at once give what a look at each of them would give."""

from __future__ import annotations

import re

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from loader.text import Text

PARTS = [b'"', b"\\", b"\t", b" ", b"\x1f", b"\x7f", b"\xc3\xa9", b"\xff", b"a", b"{}", b"a mark", b"0123456789" * 2]
LINES = st.lists(st.lists(st.sampled_from(PARTS), max_size=8).map(b"".join), max_size=8)
LONG = 5_000


def text_of(lines: list[bytes]) -> Text:
    return Text([line + b"\n" for line in lines])


def all_of(text: Text) -> np.typing.NDArray[np.int64]:
    return np.arange(len(text))


@given(LINES)
def test_lines_come_out_as_they_went_in(lines: list[bytes]) -> None:
    text = text_of(lines)
    assert text.lines(all_of(text)) == lines
    assert (text.ends - text.starts).tolist() == list(map(len, lines))


@given(LINES)
def test_each_line_is_utf8_or_not(lines: list[bytes]) -> None:
    assert text_of(lines).are_utf8().tolist() == [line.decode(errors="ignore").encode() == line for line in lines]


@given(LINES, st.sampled_from([b"a", b"a mark", b"012345678901234567890123456789", b"\xc3\xa9a mark\t", b"0123456789"]))
def test_a_mark_stands_at_the_start_of_a_line_or_does_not(lines: list[bytes], mark: bytes) -> None:
    text = text_of(lines)
    assert text.has(text.starts, mark).tolist() == [line.startswith(mark) for line in lines]


@given(LINES, st.sampled_from([b"a", b"a mark", b"012345678901234567890123456789", b"\xc3\xa9a mark\t", b"0123456789"]))
def test_a_mark_stands_at_the_end_of_a_line_or_does_not(lines: list[bytes], mark: bytes) -> None:
    text = text_of(lines)
    assert text.has(text.ends - len(mark), mark).tolist() == [line.endswith(mark) for line in lines]


def first_plain(line: bytes) -> bytes:
    return re.split(rb'["\\\x00-\x1f]', line)[0]


def last_plain(line: bytes) -> bytes:
    return re.split(rb'["\\\x00-\x1f]', line)[-1]


@given(LINES)
def test_a_string_ends_at_the_first_character_that_is_not_plain(lines: list[bytes]) -> None:
    text = text_of(lines)
    lengths = text.ends_of_strings(text.starts) - text.starts
    assert lengths.tolist() == [len(first_plain(line)) for line in lines]


@given(LINES)
def test_a_string_starts_behind_the_last_character_that_is_not_plain(lines: list[bytes]) -> None:
    text = text_of(lines)
    lengths = text.ends - text.starts_of_strings(text.ends)
    assert lengths.tolist() == [len(last_plain(line)) for line in lines]


@given(st.lists(st.sampled_from([b'a"', b'b"b', b'\\"', b'"', b"a\x1f", b""]), max_size=3), st.integers(0, 70))
def test_strings_of_one_length_may_have_others_between_them(others: list[bytes], length: int) -> None:
    alike = [bytes([97 + number % 26]) * length + b'"' for number in range(40)]
    for lines in ([*alike, *others], [*others, *alike], [*alike[:20], *others, *alike[20:]]):
        text = text_of(lines)
        lengths = text.ends_of_strings(text.starts) - text.starts
        assert lengths.tolist() == [len(first_plain(line)) for line in lines]


def test_a_string_of_one_length_with_the_others_is_looked_through() -> None:
    for trap in (b'"', b"\\", b"\x00", b"\x1f"):
        lines = [b"0123456789abcdef" + b'"'] * 40
        lines[20] = b"01234567" + trap + b'9abcdef"'
        text = text_of(lines)
        assert (text.ends_of_strings(text.starts) - text.starts).tolist() == [16] * 20 + [8] + [16] * 19


def test_very_long_strings_have_ends_and_starts_too() -> None:
    lines = [b"x" * LONG + b'"' + b"y" * (LONG + 1), b"z" * LONG, b'a"b']
    text = text_of(lines)
    assert (text.ends_of_strings(text.starts) - text.starts).tolist() == [LONG, LONG, 1]
    assert (text.ends - text.starts_of_strings(text.ends)).tolist() == [LONG + 1, LONG, 1]


@given(st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20)), max_size=6))
def test_a_column_is_what_stands_between_places(rows: list[tuple[str, str, str]]) -> None:
    encoded = [[part.replace("\n", "").encode() for part in row] for row in rows]
    text = text_of([b"".join(row) for row in encoded])
    before = np.array([len(row[0]) for row in encoded], np.int64)
    behind = np.array([len(row[2]) for row in encoded], np.int64)
    column = text.column(text.starts + before, text.ends - behind)
    assert column.to_pylist() == [row[1].decode() for row in encoded]
    column.validate(full=True)
