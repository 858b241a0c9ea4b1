"""Thrift's compact protocol, written byte by byte."""

from __future__ import annotations

from typing import NamedTuple

TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(1, 13)


class Typed(NamedTuple):
    """A field of a struct: its type and the bytes of its value."""

    kind: int
    value: bytes


def varint(value: int) -> bytes:
    head = b""
    while value > 0x7F:
        head += bytes([value & 0x7F | 0x80])
        value >>= 7
    return head + bytes([value])


def zigzag(value: int) -> bytes:
    return varint(value * 2 if value >= 0 else -value * 2 - 1)


def i32(value: int) -> Typed:
    return Typed(I32, zigzag(value))


def binary(content: bytes) -> Typed:
    return Typed(BINARY, varint(len(content)) + content)


def array(kind: int, *values: bytes, held_as: int = LIST) -> Typed:
    head = bytes([len(values) << 4 | kind]) if len(values) < 15 else bytes([0xF0 | kind]) + varint(len(values))
    return Typed(held_as, head + b"".join(values))


def struct(fields: dict[int, Typed], *, far: bool = False) -> Typed:
    """far: spell each field's id in full, as where it is more than 15 after the one before it."""
    content, last = b"", 0
    for number, (kind, value) in fields.items():
        near = 0 < number - last < 16 and not far
        content += bytes([(number - last) << 4 | kind]) if near else bytes([kind]) + zigzag(number)
        content += value
        last = number
    return Typed(STRUCT, content + b"\0")


def i64(value: int) -> Typed:
    return Typed(I64, zigzag(value))
