"""The footer of a Parquet file: its row groups and where their columns lie, checked before pyarrow is asked.

Exceptions of pyarrow's C++ end the process where its Python does not expect any: on an encrypted column, or where the
footer's fields contradict each other. What is wanted of a footer is therefore read here.
Source: the Apache Parquet format's `parquet.thrift` (FileMetaData).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, BinaryIO, NamedTuple

from loader.errors import FileRefused
from loader.thrift import ANY_STRUCT, BINARY, I32, I64, CorruptError, Field, list_of, struct, struct_of

_MAGIC, _ENCRYPTED_MAGIC = b"PAR1", b"PARE"
_TAIL_BYTES = 8  # the footer's length and the magic number
# pyarrow makes a footer into objects that take ten times as much memory, and about 1 KB for each column chunk.
_MAX_BYTES = 32 << 20
_MAX_CHUNKS = 250_000
_MAX_NODES = 10_000  # of the schema
_MAX_DEPTH = 100  # of the schema
_TYPES = range(8)  # BOOLEAN .. FIXED_LEN_BYTE_ARRAY
_CODECS = range(8)  # UNCOMPRESSED .. LZ4_RAW

# Ids of the fields, by struct.
_TYPE, _NAME, _CHILDREN = 1, 4, 5
_NODE = struct_of({_TYPE: I32, _NAME: BINARY, _CHILDREN: I32})

_CODEC, _VALUES, _UNCOMPRESSED, _COMPRESSED, _METADATA, _DATA_PAGE, _DICTIONARY_PAGE = 4, 5, 6, 7, 8, 9, 11
_META_DATA, _CRYPTO_METADATA, _ENCRYPTED_METADATA = 3, 8, 9
_COLUMN = struct_of(
    {
        _META_DATA: struct_of(
            {
                _TYPE: I32,
                _CODEC: I32,
                _VALUES: I64,
                _UNCOMPRESSED: I64,
                _COMPRESSED: I64,
                _METADATA: list_of(ANY_STRUCT),
                _DATA_PAGE: I64,
                _DICTIONARY_PAGE: I64,
            }
        ),
        _CRYPTO_METADATA: ANY_STRUCT,
        _ENCRYPTED_METADATA: BINARY,
    }
)

_COLUMNS, _GROUP_ROWS = 1, 3
_ROW_GROUP = {_COLUMNS: list_of(_COLUMN), _GROUP_ROWS: I64}

_SCHEMA, _ROWS, _ROW_GROUPS, _ENCRYPTION_ALGORITHM = 2, 3, 4, 8


class Leaf(NamedTuple):
    """A column, which may lie in structs: `path` names them all."""

    path: str
    type: int


class Chunk(NamedTuple):
    """A column of a row group: where its pages lie, compressed by `codec`, their size decompressed, their values."""

    column: Leaf
    codec: int
    start: int
    end: int
    size: int
    values: int


class RowGroup(NamedTuple):
    """Rows that lie together, column by column."""

    rows: int
    chunks: Sequence[Chunk]


def row_groups(file: BinaryIO) -> list[RowGroup]:
    """Return the row groups of a Parquet file, as its footer describes them.

    Raises:
        FileRefused: the footer can't be read, contradicts itself or the file, is too large, or columns are encrypted.
    """
    place = file.tell()  # which says how far the file was read
    end, data = _footer(file)
    file.seek(place)
    reader = _Reader(end)
    wanted = {
        _SCHEMA: Field(list_of(_NODE).kind, reader.schema),
        _ROWS: I64,
        _ROW_GROUPS: list_of(Field(_NODE.kind, reader.row_group)),
        _ENCRYPTION_ALGORITHM: ANY_STRUCT,
    }
    try:
        found, _ = struct(data, 0, wanted)
        groups: list[RowGroup] = found[_ROW_GROUPS]
        rows: int = found[_ROWS]
    except (IndexError, KeyError) as error:
        raise FileRefused("corrupt", "the footer can't be read: it is not complete") from error
    except CorruptError as error:
        raise FileRefused("corrupt", f"the footer can't be read: {error}") from error
    if _ENCRYPTION_ALGORITHM in found:
        raise FileRefused("corrupt", "columns are encrypted")
    held = sum(group.rows for group in groups)
    if held != rows:
        raise FileRefused("corrupt", f"the file promises {rows} rows and its row groups {held}")
    return groups


def _footer(file: BinaryIO) -> tuple[int, bytes]:
    """Return where the footer begins, and the footer."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read(_TAIL_BYTES)
    if tail.endswith(_ENCRYPTED_MAGIC):
        raise FileRefused("corrupt", "columns are encrypted")
    length = int.from_bytes(tail[:4], "little")
    start = size - _TAIL_BYTES - length
    if not tail.endswith(_MAGIC) or start < len(_MAGIC):
        raise FileRefused("corrupt", "not a readable Parquet file: it has no footer, as when it was cut off")
    if length > _MAX_BYTES:
        raise FileRefused("footer_too_large", f"the footer takes {length} bytes; the limit is {_MAX_BYTES}")
    file.seek(start)
    return start, file.read(length)


class _Reader:
    """Reads what a footer holds; the schema comes first, as the row groups are checked against it."""

    def __init__(self, data_end: int) -> None:
        self._data_end = data_end
        self._leaves: list[Leaf] = []
        self._items = 0

    def schema(self, data: bytes, position: int, depth: int) -> tuple[None, int]:
        nodes, position = list_of(_NODE).read(data, position, depth)
        if len(nodes) > _MAX_NODES:
            raise FileRefused("footer_too_large", f"the schema has {len(nodes)} nodes; the limit is {_MAX_NODES}")
        self._leaves = _leaves(nodes)
        return None, position

    def row_group(self, data: bytes, position: int, depth: int) -> tuple[RowGroup, int]:
        fields, position = struct(data, position, _ROW_GROUP, depth + 1)
        rows, columns = fields[_GROUP_ROWS], fields[_COLUMNS]
        if rows < 0:
            raise CorruptError("a row group has less than no rows")
        if len(columns) != len(self._leaves):
            raise CorruptError(f"a row group has {len(columns)} columns, and the schema {len(self._leaves)}")
        self._count(sum(1 + len(column.get(_META_DATA, {}).get(_METADATA, ())) for column in columns))
        if rows == 0:
            columns = []  # They may have no page at all, and nobody asks for one.
        return RowGroup(rows, tuple(map(self._chunk, columns, self._leaves))), position

    def _chunk(self, fields: dict[int, Any], leaf: Leaf) -> Chunk:
        if _CRYPTO_METADATA in fields or _ENCRYPTED_METADATA in fields:
            raise FileRefused("corrupt", "columns are encrypted")
        found = fields[_META_DATA]
        start, length, size = found[_DATA_PAGE], found[_COMPRESSED], found[_UNCOMPRESSED]
        if 0 < found.get(_DICTIONARY_PAGE, 0) < start:
            start = found[_DICTIONARY_PAGE]
        if found[_TYPE] != leaf.type:
            raise CorruptError(f"column {leaf.path} is of two types")
        if found[_CODEC] not in _CODECS:
            raise CorruptError(f"column {leaf.path} has codec {found[_CODEC]}, which there is not")
        if min(start, length, size, found[_VALUES]) < 0:
            raise CorruptError(f"column {leaf.path} has a negative size")
        if start + length > self._data_end:
            raise CorruptError(f"column {leaf.path} goes on behind the end of the data")
        return Chunk(leaf, found[_CODEC], start, start + length, size, found[_VALUES])

    def _count(self, items: int) -> None:
        self._items += items
        if self._items > _MAX_CHUNKS:
            raise FileRefused(
                "footer_too_large", f"the file has more than {_MAX_CHUNKS} column chunks: row groups are too small"
            )


def _leaves(nodes: list[dict[int, Any]]) -> list[Leaf]:
    """Return the columns of a schema, whose nodes stand in the order of a walk through the tree."""
    leaves: list[Leaf] = []
    path: list[str] = []
    missing = [1]  # nodes of each group on the way down; the first is the root's own
    for node in nodes:
        if not missing:
            raise CorruptError("the schema goes on behind its end")
        missing[-1] -= 1
        try:
            name = node[_NAME].decode()
        except UnicodeDecodeError as error:
            raise CorruptError("a column's name is not UTF-8") from error
        children = node.get(_CHILDREN, 0)
        if children < 0 or len(path) > _MAX_DEPTH:
            raise CorruptError("the schema is no tree, or nested too deep")
        if children == 0 and _TYPE in node:
            if node[_TYPE] not in _TYPES:
                raise CorruptError(f"column {name} has type {node[_TYPE]}, which there is not")
            leaves.append(Leaf(".".join([*path[1:], name]), node[_TYPE]))
        else:
            path.append(name)
            missing.append(children)
        while missing and missing[-1] == 0:
            missing.pop()
            if path:
                path.pop()
    if missing:
        raise CorruptError("the schema is not complete")
    return leaves
