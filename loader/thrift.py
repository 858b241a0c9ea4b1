"""Thrift's compact protocol, as Parquet writes it: the fields of a struct that are wanted; others are passed over.

Pure. However much a list or a text says it holds, nothing is kept before its bytes were seen.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

_MAX_DEPTH = 16  # a page header has three levels, a footer some more
_MAX_ITEMS = 1_000_000  # of a list; pyarrow takes no more either
_STOP, _TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _DOUBLE, _BINARY, _LIST, _SET, _STRUCT = (*range(11), 12)
_LONG_LIST = 15  # lists of so many items or more have their length behind
_MORE = 0x80  # the bit of a varint's byte that says that another follows


class CorruptError(ValueError):
    """Raised where bytes are not what they are to be."""


# data, position, depth -> the value there, and the position behind it
Read = Callable[[bytes, int, int], tuple[Any, int]]


class Field(NamedTuple):
    """A field of a struct that is wanted: the type that it must have, and how its value is read."""

    kind: int
    read: Read


Wanted = Mapping[int, Field]


def struct(data: bytes, position: int, wanted: Wanted, depth: int = 0) -> tuple[dict[int, Any], int]:
    """Read a struct; return those of its fields that are wanted by their ids, and the position behind it.

    Raises:
        IndexError: it goes on behind the end of `data`.
        CorruptError: it is none, or a field is of another type than wanted.
    """
    if depth > _MAX_DEPTH:
        raise CorruptError("nested too deep")
    fields: dict[int, Any] = {}
    number = 0
    while head := data[position]:
        position += 1
        kind = head & 0x0F
        if head >> 4:
            number += head >> 4
        else:
            number, position = _integer(data, position, 15)
        field = wanted.get(number)
        if field is None:
            position = _skip(data, position, kind, depth)
        elif field.kind == kind:
            fields[number], position = field.read(data, position, depth)
        else:
            raise CorruptError(f"field {number} is of type {kind}")
    return fields, position + 1


def struct_of(wanted: Wanted) -> Field:
    """Return a field that is a struct."""
    return Field(_STRUCT, lambda data, position, depth: struct(data, position, wanted, depth + 1))


def list_of(item: Field) -> Field:
    """Return a field that is a list."""

    def read(data: bytes, position: int, depth: int) -> tuple[list[Any], int]:
        length, kind, position = _list_head(data, position, depth)
        if length and kind != item.kind:
            raise CorruptError(f"a list is of type {kind}")
        items = []
        for _ in range(length):
            value, position = item.read(data, position, depth + 1)
            items.append(value)
        return items, position

    return Field(_LIST, read)


def _list_head(data: bytes, position: int, depth: int) -> tuple[int, int, int]:
    """Return a list's length, the type of its items and the position of the first."""
    if depth > _MAX_DEPTH:
        raise CorruptError("nested too deep")
    length, kind = data[position] >> 4, data[position] & 0x0F
    position += 1
    if length == _LONG_LIST:
        length, position = _varint(data, position)
        if length > _MAX_ITEMS:
            raise CorruptError(f"a list of {length} items")
    return length, kind, position


def _skip(data: bytes, position: int, kind: int, depth: int) -> int:
    """Return the position behind a value."""
    if kind in (_TRUE, _FALSE):
        return position
    if kind in (_I16, _I32, _I64):
        return _varint(data, position)[1]
    if kind == _BINARY:
        length, position = _varint(data, position)
        return _behind(data, position, length)
    if kind in (_LIST, _SET):
        return _skip_list(data, position, depth)
    if kind == _STRUCT:
        return struct(data, position, {}, depth + 1)[1]
    if kind in (_BYTE, _DOUBLE):
        return _behind(data, position, 1 if kind == _BYTE else 8)
    raise CorruptError(f"a value of type {kind}")  # Parquet knows no other.


def _skip_list(data: bytes, position: int, depth: int) -> int:
    length, kind, position = _list_head(data, position, depth)
    if kind in (_TRUE, _FALSE, _BYTE):  # In a list a boolean takes a byte, as in a field it does not.
        return _behind(data, position, length)
    for _ in range(length):
        position = _skip(data, position, kind, depth + 1)
    return position


def _behind(data: bytes, position: int, length: int) -> int:
    if length:
        data[position + length - 1]  # IndexError where it is cut off
    return position + length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    byte = data[position]
    if byte < _MORE:
        return byte, position + 1
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < _MORE:
            return value, position
        shift += 7
        if shift > 63:  # noqa: PLR2004 # longer than any integer of Thrift
            raise CorruptError("a number without end")


def _integer(data: bytes, position: int, bits: int) -> tuple[int, int]:
    value, position = _varint(data, position)
    if value >> bits > 1:  # Others would cut it to its lower bits, and see another number.
        raise CorruptError("a number that is too large")
    return (value >> 1) ^ -(value & 1), position


def _binary(data: bytes, position: int, _depth: int) -> tuple[bytes, int]:
    length, position = _varint(data, position)
    end = _behind(data, position, length)
    return data[position:end], end


I32 = Field(_I32, lambda data, position, _: _integer(data, position, 31))
I64 = Field(_I64, lambda data, position, _: _integer(data, position, 63))
BINARY = Field(_BINARY, _binary)
ANY_STRUCT = struct_of({})
