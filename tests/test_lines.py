"""A stream of bytes cut into chunks of whole lines."""

from __future__ import annotations

import io

import pytest

from loader.errors import FileRefused
from loader.lines import Chunk, chunks

BOM = b"\xef\xbb\xbf"


def cut(content: bytes, *, size: int = 10, limit: int = 100) -> list[Chunk]:
    return list(chunks(io.BytesIO(content), size=size, max_line_bytes=limit))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a\n"]),
        (b"\n\n", [b"\n\n"]),
        (b"aaa\nbbb\ncccc\nd", [b"aaa\nbbb\n", b"cccc\nd"[:5], b"d"]),
        (b"a" * 25 + b"\nb", [b"a" * 25 + b"\n", b"b"]),
        (b"a\r\nb\x0b\x0c\x85c\n", [b"a\r\nb\x0b\x0c\x85c\n"]),
        (BOM + b"a\n", [b"a\n"]),
        (BOM, []),
        (BOM + BOM + b"a", [BOM + b"a"]),
        (b"a\n" + BOM, [b"a\n", BOM]),
    ],
)
def test_chunks_end_with_lines(content: bytes, expected: list[bytes]) -> None:
    assert cut(content) == [Chunk(data, 0) for data in expected]


@pytest.mark.parametrize("end", [b"", b"\n", b"\nnext\n", b"\n\n"])
@pytest.mark.parametrize("size", [1, 10, 5000])
@pytest.mark.parametrize("limit", [20, 6000])
def test_of_a_line_over_the_limit_the_start_and_the_length_are_kept(limit: int, size: int, end: bytes) -> None:
    line = bytes(range(65, 91)) * 400
    found = cut(b"first\n" + line + end, size=size, limit=limit)
    (long,) = [chunk for chunk in found if chunk.over_limit]
    assert long == Chunk(line[:4096], len(line))
    place = found.index(long)
    assert b"".join(chunk.data for chunk in found[:place]) == b"first\n"
    assert b"".join(chunk.data for chunk in found[place + 1 :]) == end[1:]


@pytest.mark.parametrize("size", [1, 3, 7])
def test_a_line_may_be_as_long_as_the_limit(size: int) -> None:
    fits, too_long = b"x" * 20, b"y" * 22
    found = cut(b"\n".join([fits, too_long, fits]), size=size, limit=20)
    assert [chunk.over_limit for chunk in found if chunk.over_limit] == [22]
    assert b"".join(chunk.data for chunk in found if not chunk.over_limit) == b"x" * 20 + b"\n" + b"x" * 20


def test_two_lines_over_the_limit_may_follow_each_other() -> None:
    found = cut(b"x" * 50 + b"\n" + b"y" * 60 + b"\n" + b"z\n", limit=20)
    assert [(chunk.data[:1], chunk.over_limit) for chunk in found] == [(b"x", 50), (b"y", 60), (b"z", 0)]


@pytest.mark.parametrize(
    "content",
    [
        *(b"\xff\xfe{\0", b"\xfe\xff\0{", b"{\0}\0", b"\0{\0}", b"{\0\0\0", b"\0\0\0{", b"\xff\xfe\0\0{\0\0\0"),
        *(b"{}a\0", b"\0{"),
    ],
)
def test_text_of_wider_characters_is_refused(content: bytes) -> None:
    with pytest.raises(FileRefused, match="the text is UTF-16 or UTF-32, not UTF-8") as refused:
        cut(content)
    assert refused.value.code == "not_utf8"


@pytest.mark.parametrize("content", [b"\0" * 10, b"{}ab\0", b'{"a":"\0"}', b"\xff{}", b"\xfe\xfe"])
def test_other_bytes_are_for_others_to_judge(content: bytes) -> None:
    assert cut(content) == [Chunk(content, 0)]
