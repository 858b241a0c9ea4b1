"""Poison: files that would break a careless loader, each with the exact outcome that it must have.

A case is a name, a function that writes its file into a folder, and what is expected. All of them lie in one folder
when they are loaded, so each has a content and a name of its own.
"""

from __future__ import annotations

import base64
import gzip
import json
import os
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support import event

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Rejects = tuple[tuple[int, str], ...]

ESCAPES = "\x1b[31m\x07\x9b\u202e\u2028\x7f\n\r\t"


@dataclass(frozen=True, slots=True)
class Case:
    """One poison file.

    rejects: line and codes (joined by +) of each row that goes to quarantine.
    """

    name: str
    file: str
    content: Callable[[], bytes]
    status: str = "loaded"
    read: int = 0
    inserted: int = 0
    code: str | None = None
    rejects: Rejects = ()

    def write(self, folder: Path) -> Path:
        """Write the file; return its path."""
        path = folder / self.file
        path.write_bytes(self.content())
        return path

    def __str__(self) -> str:
        return self.name


def is_safe(text: str) -> bool:
    """Say whether `text` can neither steer a terminal nor break a log line."""
    return all(character == " " or unicodedata.category(character)[0] not in "CZ" for character in text)


def refused(name: str, file: str, content: Callable[[], bytes], code: str) -> Case:
    return Case(name, file, content, "refused", code=code)


def loaded(name: str, file: str, content: Callable[[], bytes], rows: int) -> Case:
    return Case(name, file, content, read=rows, inserted=rows)


def one_bad_row(name: str, file: str, content: Callable[[], bytes], codes: str) -> Case:
    return Case(name, file, content, read=1, rejects=((1, codes),))


def lines(*rows: dict[str, Any] | bytes) -> bytes:
    return b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)


def many(count: int) -> bytes:
    return lines(*(event() for _ in range(count)))


def zstd_compressed(content: bytes) -> bytes:
    return zstd.compress(content, options={zstd.CompressionParameter.checksum_flag: 1})


def flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :]


# --- Names -----------------------------------------------------------------------------------------------------------

ODD_NAMES = {
    "a name of 255 bytes": "n" * 248 + ".ndjson",
    "a name of 255 bytes in two-byte characters": "é" * 124 + ".ndjson",
    "a name of 255 bytes in four-byte characters": "🐘" * 62 + ".ndjson",
    "a newline": "two\nlines.ndjson",
    "a carriage return": "over\rwrite.ndjson",
    "a tab": "t\tab.ndjson",
    "an ANSI colour": "\x1b[31mred\x1b[0m.ndjson",
    "a terminal title": "\x1b]0;owned\x07.ndjson",
    "an eight-bit escape": "\x9b31mred.ndjson",
    "a backspace": "a\b\b\bb.ndjson",
    "a bidirectional override": "\u202enosjdn.exe\u2066.ndjson",
    "a line separator": "a\u2028b\u2029c.ndjson",
    "a zero-width space and a BOM": "a\u200bb\ufeff.ndjson",
    "combining characters": "e\u0301\u0301\u0301.ndjson",
    "quotes": "'it''s' \"so\" `so`.ndjson",
    "SQL": "x'); DROP TABLE events; --.ndjson",
    "shell": "$(touch owned); `id` | cat & #.ndjson",
    "percent signs": "%s %(name)s %n %% %.ndjson",
    "braces": "{} {0} {0.__class__} {{.ndjson",
    "glob characters": "a[1-9]*?{b,c}.ndjson",
    "a leading dash": "-rf --jobs=0.ndjson",
    "a leading tilde": "~root.ndjson",
    "dots": "a...ndjson",
    "backslashes": "a\\..\\x00\\n\\.ndjson",
    "spaces at both ends": "  a  .ndjson",
    "an ending of quarantine": "a.rejected.ndjson",
    "a temporary ending inside": "a.tmp.ndjson",
    "the archive's name": "archive.ndjson",
    "rich markup": "[red]a[link=file:a]b.ndjson",
}
if sys.platform == "linux":  # macOS takes no such names.
    ODD_NAMES |= {
        "a name that is not UTF-8": os.fsdecode(b"\xff\xfe\x80.ndjson"),
        "255 bytes that are not UTF-8": os.fsdecode(b"\xff" * 248 + b".ndjson"),
        "a surrogate in UTF-8": os.fsdecode(b"\xed\xa0\x80.ndjson"),
    }

NAMES = [
    Case(name, file, lambda: lines(event(), b"{"), read=2, inserted=1, rejects=((2, "malformed_json"),))
    for name, file in ODD_NAMES.items()
]

# --- Lines -----------------------------------------------------------------------------------------------------------


def raw_json(**changes: Any) -> bytes:
    """An event as JSON whose strings hold their characters as they are, where JSON lets them."""
    return json.dumps(event(**changes), ensure_ascii=False).encode()


MIXED: list[tuple[bytes, str | None]] = [
    (b"", None),
    (raw_json(), ""),
    (b"null", "not_an_object"),
    (b'"' + b"x" * 99 + b'"', "not_an_object"),
    (b"[" + raw_json() + b"]", "not_an_object"),
    (b"{}", "missing_field+missing_field+missing_field+missing_field+missing_field"),
    (raw_json() + raw_json(), "malformed_json"),
    (raw_json() + b",", "malformed_json"),
    (raw_json()[:-1], "malformed_json"),
    (b"// a comment", "malformed_json"),
    (raw_json(user_id="\x00"), "null_character"),
    (raw_json(user_id=7, event_name=""), "wrong_type+empty_string"),
    (raw_json().replace(b"user-1", b"\xff"), "invalid_utf8"),
    (raw_json().replace(b"user-1", b"\x1b[31m"), "malformed_json"),
    (raw_json().replace(b"user-1", rb"\ud800"), "lone_surrogate"),
    (raw_json(properties={"a": float("nan")}), "malformed_json"),
    (raw_json()[:-1] + b',"user_id":"again"}', "duplicate_key"),
    (raw_json(**{ESCAPES: 1}), "unknown_field"),
    (raw_json(event_id=ESCAPES), "bad_uuid"),
    (raw_json(event_time=ESCAPES), "bad_timestamp"),
    (raw_json(properties=ESCAPES), "properties_not_object"),
    (raw_json(user_id=ESCAPES, event_name=ESCAPES, properties={ESCAPES: ESCAPES}), ""),
    (b"\xef\xbb\xbf" + raw_json(), "malformed_json"),
    (b"\x0c" + raw_json(), "malformed_json"),
    (b"\x1b]0;owned\x07", "malformed_json"),
    (b"\0" * 100, "malformed_json"),
    (raw_json(), ""),
]


def deep(levels: int) -> bytes:
    """An event without a user_id, its properties so many levels deep."""
    rest = json.dumps({key: value for key, value in event(properties=0).items() if key != "user_id"})
    return rest.replace('"properties": 0', '"properties": ' + '{"a":' * levels + "1" + "}" * levels).encode()


DEPTHS = range(300, 1200, 2)

TEXT = [
    Case(
        "every kind of bad line",
        "mixed.ndjson",
        lambda: b"\n".join(line for line, _ in MIXED) + b"\n",
        read=sum(codes is not None for _, codes in MIXED),
        inserted=sum(codes == "" for _, codes in MIXED),
        rejects=tuple((number, codes) for number, (_, codes) in enumerate(MIXED, 1) if codes),
    ),
    Case("a BOM and nothing else", "bom.ndjson", lambda: b"\xef\xbb\xbf"),
    one_bad_row("two BOMs", "two-boms.ndjson", lambda: b"\xef\xbb\xbf" * 2 + many(1), "malformed_json"),
    one_bad_row("lines that end in CR only", "cr.ndjson", lambda: many(500).replace(b"\n", b"\r"), "malformed_json"),
    loaded("CRLF and no newline at the end", "crlf.ndjson", lambda: many(3).replace(b"\n", b"\r\n").rstrip(), 3),
    loaded("five million blank lines", "blank.ndjson", lambda: b"\n" * 5_000_000 + many(1), 1),
    Case(
        "very many tiny bad rows",
        "tiny.ndjson",
        lambda: b"{\n" * 20_000,
        read=20_000,
        rejects=tuple((line, "malformed_json") for line in range(1, 20_001)),
    ),
    Case(
        "NULs at the tail of a gzip",
        "nul-tail.ndjson.gz",
        lambda: gzip.compress(many(2) + b"\0" * 9000),
        read=3,
        inserted=2,
        rejects=((3, "malformed_json"),),
    ),
    refused(
        "UTF-16 with a BOM in gzip",
        "u16.ndjson.gz",
        lambda: gzip.compress(many(2).decode().encode("utf-16")),
        "not_utf8",
    ),
    refused(
        "UTF-16 without a BOM in gzip",
        "u16le.ndjson.gz",
        lambda: gzip.compress(many(2).decode().encode("utf-16-le")),
        "not_utf8",
    ),
    refused(
        "UTF-16 in zstd", "u16.ndjson.zst", lambda: zstd.compress(many(2).decode().encode("utf-16-be")), "not_utf8"
    ),
    Case(
        "rows of every depth around Python's recursion limit",
        "deep.ndjson",
        lambda: lines(*map(deep, DEPTHS)),
        read=len(DEPTHS),
        rejects=tuple((line, "*") for line in range(1, len(DEPTHS) + 1)),
    ),
]

# --- Compression -----------------------------------------------------------------------------------------------------

# Decoders skip such a frame (RFC 8878, section 3.1.2); pzstd begins its files with one.
SKIPPABLE = (0x184D2A50).to_bytes(4, "little") + (7).to_bytes(4, "little") + b"ignored"
# A frame that asks for a window of 2 GiB, and holds one raw block with a newline in it.
HUGE_WINDOW = zstd.compress(b"")[:4] + bytes([0, 21 << 3]) + (1 << 3 | 1).to_bytes(3, "little") + b"\n"
GZIP_WITH_HEADER = b"\x1f\x8b\x08\x1c" + bytes(6) + b"\x03\x00\x1b[3" + b"../../etc/passwd\x1b[31m\0" + b"comment\x07\0"


def split_in_a_line() -> bytes:
    row = many(1)
    return gzip.compress(row[:50]) + gzip.compress(row[50:])


COMPRESSED = [
    loaded(
        "a gzip of a thousand members",
        "members.ndjson.gz",
        lambda: b"".join(gzip.compress(many(1)) for _ in range(1000)),
        1000,
    ),
    loaded("a line over two gzip members", "split.ndjson.gz", split_in_a_line, 1),
    loaded("a gzip padded with NULs", "padded.ndjson.gz", lambda: gzip.compress(many(2)) + b"\0" * 1024, 2),
    loaded(
        "a gzip with a name and a comment inside",
        "header.ndjson.gz",
        lambda: GZIP_WITH_HEADER + gzip.compress(many(2))[10:],
        2,
    ),
    refused("a gzip with garbage behind", "garbage.ndjson.gz", lambda: gzip.compress(many(2)) + b"garbage", "corrupt"),
    refused(
        "a gzip with half a member behind",
        "half.ndjson.gz",
        lambda: gzip.compress(many(2)) + gzip.compress(many(9))[:40],
        "truncated",
    ),
    refused("a gzip of two bytes", "two.ndjson.gz", lambda: b"\x1f\x8b", "truncated"),
    refused("a gzip of another method", "method.ndjson.gz", lambda: b"\x1f\x8b\x07" + bytes(40), "corrupt"),
    refused("a gzip of nonsense", "nonsense.ndjson.gz", lambda: b"\x1f\x8b\x08" + b"\0" * 7 + b"\xff" * 99, "corrupt"),
    refused("a gzip with a wrong length", "length.ndjson.gz", lambda: flip(gzip.compress(many(2)), -1), "corrupt"),
    loaded(
        "a zstd of many frames", "frames.ndjson.zst", lambda: b"".join(zstd.compress(many(1)) for _ in range(200)), 200
    ),
    loaded(
        "a zstd with skippable frames between and behind",
        "skip.ndjson.zst",
        lambda: zstd.compress(many(1)) + SKIPPABLE + zstd.compress(many(1)) + SKIPPABLE,
        2,
    ),
    Case(
        "a zstd that begins with a skippable frame",
        "pzstd.ndjson.zst",
        lambda: SKIPPABLE + zstd.compress(many(2)),
        read=2,
        inserted=2,
    ),
    refused(
        "a zstd cut in its second frame",
        "cut.ndjson.zst",
        lambda: zstd.compress(many(2)) + zstd.compress(many(9))[:-20],
        "truncated",
    ),
    refused("a zstd of its magic number", "magic.ndjson.zst", lambda: zstd.compress(b"")[:4], "truncated"),
    refused("a zstd with garbage behind", "garbage.ndjson.zst", lambda: zstd.compress(many(2)) + b"garbage", "corrupt"),
    refused("a zstd with a flipped byte", "flipped.ndjson.zst", lambda: flip(zstd_compressed(many(2)), -1), "corrupt"),
    refused("a zstd with a window of 2 GiB", "window.ndjson.zst", lambda: HUGE_WINDOW, "corrupt"),
]

# --- Parquet ---------------------------------------------------------------------------------------------------------


def table(rows: int = 1, **changes: Any) -> pa.Table:
    """A table of good rows; `changes` replace columns, None removes one."""
    events = [event() for _ in range(rows)]
    columns: dict[str, Any] = {name: [one[name] for one in events] for name in events[0]}
    columns["properties"] = ["{}"] * rows
    return pa.table({name: column for name, column in (columns | changes).items() if column is not None})


def written(content: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(content, sink, **options)
    return bytes(sink.getvalue())


def parquet(**changes: Any) -> bytes:
    return written(table(**changes))


def struct(**columns: pa.Array) -> pa.StructArray:
    return pa.StructArray.from_arrays(list(columns.values()), list(columns))


def ticks(value: int, kind: pa.DataType) -> pa.Array:
    """One value of a temporal type, given as the integer that it is."""
    return pa.array([value], pa.int32() if kind.bit_width == 32 else pa.int64()).view(kind)


def not_utf8(content: bytes = b"\xff\x1b[31m") -> pa.Array:
    """One string that says to be UTF-8 and isn't."""
    offsets = pa.py_buffer(b"\0\0\0\0" + len(content).to_bytes(4, "little"))
    return pa.Array.from_buffers(pa.string(), 1, [None, offsets, pa.py_buffer(content)])


def with_zone(zone: str) -> bytes:
    return parquet(event_time=ticks(0, pa.timestamp("us", zone)))


def nested(levels: int) -> pa.Array:
    array = pa.array([1])
    for _ in range(levels):
        array = struct(a=array)
    return array


def without_row_groups() -> bytes:
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table().schema):
        pass
    return bytes(sink.getvalue())


def with_wrong_statistics() -> bytes:
    """Two rows whose footer says that every user_id is `nobody` in its least and its greatest value."""
    content = written(table(2, user_id=["somebody"] * 2), use_dictionary=False, store_schema=False)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    return content[:footer] + content[footer:].replace(b"somebody", b"nobody!!")


def with_flipped_page() -> bytes:
    content = written(
        table(200, user_id=["SOMEBODY"] * 200),
        use_dictionary=False,
        compression="none",
        write_page_checksum=True,
        write_statistics=False,
    )
    return flip(content, content.index(b"SOMEBODY") + 3)


def with_wrong_row_count() -> bytes:
    """One row too many in the footer; thrift's compact protocol spells i64 66 as the two bytes 84 01."""
    content = written(table(65), store_schema=False, write_statistics=False)
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    return content[:footer] + content[footer:].replace(b"\x16\x82\x01", b"\x16\x84\x01")


def encrypted(*, plain_footer: bool) -> bytes:
    from pyarrow.parquet import encryption

    class Keys(encryption.KmsClient):  # type: ignore[misc] # pyarrow has no types
        def __init__(self, _: Any) -> None:
            super().__init__()

        def wrap_key(self, key: bytes, _: str) -> bytes:
            return base64.b64encode(key)

        def unwrap_key(self, key: str, _: str) -> bytes:
            return base64.b64decode(key)

    settings = encryption.EncryptionConfiguration(
        footer_key="footer", column_keys={"column": ["user_id"]}, plaintext_footer=plain_footer
    )
    properties = encryption.CryptoFactory(Keys).file_encryption_properties(encryption.KmsConnectionConfig(), settings)
    sink = pa.BufferOutputStream()
    rows = table(3)
    with pq.ParquetWriter(sink, rows.schema, encryption_properties=properties) as writer:
        writer.write_table(rows)
    return bytes(sink.getvalue())


ODD_NAME = "a" + ESCAPES

PARQUET = [
    refused(
        "Parquet with an encrypted footer", "footer.parquet", lambda: encrypted(plain_footer=False), "wrong_extension"
    ),
    loaded("Parquet without a row group", "no-groups.parquet", without_row_groups, 0),
    Case(
        "Parquet without a row",
        "no-rows.parquet",
        lambda: written(table().slice(0, 0)),
    ),
    loaded("Parquet with row groups of one row", "groups.parquet", lambda: written(table(200), row_group_size=1), 200),
    loaded(
        "Parquet with pages of one row",
        "pages.parquet",
        lambda: written(table(500), data_page_size=1, write_batch_size=1),
        500,
    ),
    loaded("Parquet with wrong statistics", "statistics.parquet", with_wrong_statistics, 2),
    refused("Parquet with a flipped byte under a checksum", "flipped.parquet", with_flipped_page, "corrupt"),
    refused("Parquet with a wrong row count", "count.parquet", with_wrong_row_count, "corrupt"),
    refused("Parquet cut before its footer", "cut.parquet", lambda: written(table(100))[:-200], "corrupt"),
    refused("Parquet cut in its magic number", "magic.parquet", lambda: b"PAR", "wrong_extension"),
    refused("Parquet of its first magic number", "head.parquet", lambda: b"PAR1", "corrupt"),
    refused(
        "Parquet with junk between its magic numbers",
        "junk.parquet",
        lambda: b"PAR1" + bytes(range(256)) * 8 + b"\xff\0\0\0PAR1",
        "corrupt",
    ),
    refused(
        "Parquet with a footer longer than the file",
        "longer.parquet",
        lambda: b"PAR1" + bytes(99) + b"\xff\xff\xff\x7fPAR1",
        "corrupt",
    ),
    refused("Parquet without any column", "no-columns.parquet", lambda: written(pa.table({})), "missing_column"),
    refused(
        "Parquet with a column twice",
        "twice.parquet",
        lambda: written(pa.Table.from_arrays([*table().columns, pa.array(["x"])], [*table().column_names, "user_id"])),
        "duplicate_column",
    ),
    refused(
        "Parquet with a re-cased column",
        "recased.parquet",
        lambda: parquet(user_id=None, User_Id=["x"]),
        "missing_column",
    ),
    refused("Parquet with a column more", "more.parquet", lambda: parquet(more=["x"]), "unknown_column"),
    refused(
        "Parquet with columns of odd names",
        "odd-columns.parquet",
        lambda: parquet(**{ODD_NAME: ["x"]}),
        "unknown_column",
    ),
    refused(
        "Parquet with U+0000 in a column's name",
        "nul-column.parquet",
        lambda: parquet(**{"a\0b": ["x"]}),
        "unknown_column",
    ),
    refused(
        "Parquet with U+0000 in a type's name",
        "nul-type.parquet",
        lambda: parquet(user_id=struct(**{"a\0b": pa.array([1])})),
        "wrong_column_type",
    ),
    refused(
        "Parquet with INT96 times",
        "int96.parquet",
        lambda: written(
            table(event_time=ticks(0, pa.timestamp("ns", "UTC"))),
            use_deprecated_int96_timestamps=True,
            store_schema=False,
        ),
        "wrong_column_type",
    ),
    refused("Parquet with dates", "dates.parquet", lambda: parquet(event_time=[date(2024, 5, 1)]), "wrong_column_type"),
    refused(
        "Parquet with naive times",
        "naive.parquet",
        lambda: parquet(event_time=ticks(0, pa.timestamp("ms"))),
        "wrong_column_type",
    ),
    refused("Parquet with times as numbers", "epoch.parquet", lambda: parquet(event_time=[0]), "wrong_column_type"),
    refused(
        "Parquet with decimals for text",
        "decimals.parquet",
        lambda: parquet(user_id=[Decimal("1.5")]),
        "wrong_column_type",
    ),
    refused("Parquet with a list for text", "list.parquet", lambda: parquet(user_id=[["x"]]), "wrong_column_type"),
    refused(
        "Parquet with a list for properties",
        "list-properties.parquet",
        lambda: parquet(properties=[["x"]]),
        "wrong_column_type",
    ),
    refused("Parquet with binary for text", "binary.parquet", lambda: parquet(user_id=[b"\xff"]), "wrong_column_type"),
    refused(
        "Parquet with nothing but nulls of no type",
        "nulls.parquet",
        lambda: parquet(user_id=pa.nulls(1)),
        "wrong_column_type",
    ),
    refused(
        "Parquet with a map by numbers",
        "map.parquet",
        lambda: parquet(properties=pa.array([[(1, "x")]], pa.map_(pa.int64(), pa.string()))),
        "wrong_column_type",
    ),
    refused(
        "Parquet with bytes in a struct",
        "bytes.parquet",
        lambda: parquet(properties=struct(a=pa.array([b"x"]))),
        "wrong_column_type",
    ),
    refused("Parquet nested 200 levels deep", "deep.parquet", lambda: parquet(properties=nested(200)), "corrupt"),
    *(
        loaded(
            f"Parquet with times {zone or 'UTC'}",
            f"zone{number}.parquet",
            partial(with_zone, zone),
            1,
        )
        for number, zone in enumerate(("+05:30", "-12:00", "Mars/Olympus", "'; DROP TABLE events; --", "\x1b[31m"))
    ),
    loaded(
        "Parquet with nested lists",
        "nested.parquet",
        lambda: parquet(properties=struct(a=pa.array([[[], [[1, None]], None]]))),
        1,
    ),
    loaded(
        "Parquet with decimals in a struct",
        "decimal.parquet",
        lambda: parquet(properties=struct(a=pa.array([Decimal("12345678901234567890.0000000001")]))),
        1,
    ),
    Case(
        "Parquet with nulls in every column",
        "null-columns.parquet",
        lambda: parquet(**{name: pa.nulls(1, pa.string()) for name in event()}),
        read=1,
        rejects=((1, "+".join(["missing_field"] * 5)),),
    ),
    one_bad_row(
        "Parquet with NaN in a struct",
        "nan.parquet",
        lambda: parquet(properties=struct(a=pa.array([float("nan")]))),
        "not_json",
    ),
    one_bad_row(
        "Parquet with a key twice in a map",
        "map-twice.parquet",
        lambda: parquet(properties=pa.array([[("a", 1), ("a", 2)]], pa.map_(pa.string(), pa.int64()))),
        "duplicate_key",
    ),
    one_bad_row(
        "Parquet with a name twice in a struct",
        "struct-twice.parquet",
        lambda: parquet(properties=pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["a", "a"])),
        "not_json",
    ),
    one_bad_row(
        "Parquet with U+0000 in a struct's name",
        "nul-struct.parquet",
        lambda: parquet(properties=struct(**{"a\0b": pa.array([1])})),
        "null_character",
    ),
    one_bad_row("Parquet with an id of 15 bytes", "id15.parquet", lambda: parquet(event_id=[b"x" * 15]), "bad_uuid"),
    one_bad_row(
        "Parquet with a text that is not UTF-8",
        "utf8-text.parquet",
        lambda: parquet(user_id=not_utf8()),
        "invalid_utf8",
    ),
    one_bad_row(
        "Parquet with an id that is not UTF-8",
        "utf8-id.parquet",
        lambda: parquet(event_id=not_utf8()),
        "invalid_utf8",
    ),
    one_bad_row(
        "Parquet with a time that is not UTF-8",
        "utf8-time.parquet",
        lambda: parquet(event_time=not_utf8()),
        "invalid_utf8",
    ),
    one_bad_row(
        "Parquet with a dictionary that is not UTF-8",
        "utf8-dictionary.parquet",
        lambda: parquet(user_id=not_utf8(b"\xfe").dictionary_encode()),
        "invalid_utf8",
    ),
    one_bad_row(
        "Parquet with JSON text that is not UTF-8",
        "utf8-json.parquet",
        lambda: parquet(properties=not_utf8(b'{"a":"\xff"}')),
        "invalid_utf8",
    ),
    one_bad_row(
        "Parquet with a struct that is not UTF-8",
        "utf8-struct.parquet",
        lambda: parquet(properties=struct(a=not_utf8())),
        "not_json",
    ),
    one_bad_row(
        "Parquet with a date in the far future in a struct",
        "date-struct.parquet",
        lambda: parquet(properties=struct(a=ticks(2**31 - 1, pa.date32()))),
        "not_json",
    ),
    one_bad_row(
        "Parquet with a time in the far future in a struct",
        "time-struct.parquet",
        lambda: parquet(properties=struct(a=ticks(2**62, pa.timestamp("ms")))),
        "not_json",
    ),
    one_bad_row(
        "Parquet with nanoseconds in a struct",
        "ns-struct.parquet",
        lambda: parquet(properties=struct(a=ticks(1, pa.timestamp("ns")))),
        "not_json",
    ),
    one_bad_row(
        "Parquet with an unknown zone in a struct",
        "zone-struct.parquet",
        lambda: parquet(properties=struct(a=ticks(1, pa.timestamp("us", "Mars/Olympus")))),
        "not_json",
    ),
]

CASES = [*NAMES, *TEXT, *COMPRESSED, *PARQUET]
