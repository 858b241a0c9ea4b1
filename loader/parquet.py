"""Parquet: row groups to rows, in batches small enough to hold.

pyarrow reads here, not Polars: it streams the pages of a row group of any size, verifies page checksums, and takes
timestamps of any zone; Polars 2.1 panics on fixed offsets and accepts some corrupt pages in silence. Instants are
handled as integers throughout, since neither Python nor Polars can hold all that a file may say.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator
from typing import Any, BinaryIO
from uuid import UUID

import msgspec
import numpy as np
import polars as pl
import pyarrow as pa

from loader import timestamps
from loader.batches import array_weight, batches, checked, weight
from loader.canonical import Columns, absent, as_texts, canonical
from loader.contract import Contract, Field, Kind
from loader.errors import FileRefused, FileUnavailable
from loader.grammar import are_objects
from loader.key_order import in_key_order
from loader.lines import PREFIX_BYTES
from loader.model import Block, Problem, Raw
from loader.nested import check_nested, json_text

_PER_MICROSECOND = {"s": 1_000_000, "ms": 1_000, "us": 1}
_NANOSECONDS = 1_000
_raw_value = msgspec.json.Decoder(msgspec.Raw)


def blocks(
    file: BinaryIO, contract: Contract, *, file_id: int, block_bytes: int, max_row_bytes: int
) -> Iterator[Block]:
    """Yield the rows of an open Parquet file; rows are numbered from 1.

    Raises:
        FileRefused: it is no readable Parquet file, its columns are not the contract's, or it has a footer or a page
            that is too large to hold.
        FileUnavailable: a read fails.
    """
    try:
        with checked(file) as (parquet, row_groups):
            _check_columns(parquet.schema_arrow, contract)
            line = 1
            for batch in batches(file, parquet, row_groups, block_bytes=block_bytes, max_row_bytes=max_row_bytes):
                if batch.num_rows == 1 and weight(batch) > max_row_bytes:
                    yield _over_limit(batch, contract, file_id=file_id, line=line, limit=max_row_bytes)
                else:
                    yield _block(batch, contract, file_id=file_id, first_line=line)
                line += batch.num_rows
            if line - 1 != parquet.metadata.num_rows:
                raise FileRefused("corrupt", f"the file promises {parquet.metadata.num_rows} rows and holds {line - 1}")
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last where a time zone is no text
        # pyarrow's own have no number; a damaged file may lead to a place that no file has.
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise FileUnavailable("file_unreadable", f"reading fails: {error.strerror}") from error
        raise FileRefused("corrupt", f"not a readable Parquet file: {_first_line(error)}") from error


def _check_columns(schema: pa.Schema, contract: Contract) -> None:
    names = schema.names
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise FileRefused("duplicate_column", f"columns stand more than once: {', '.join(repeated)}")
    missing = [field.name for field in contract.fields if field.required and field.name not in names]
    if missing:
        raise FileRefused("missing_column", f"columns are missing: {', '.join(missing)}")
    unknown = [name for name in names if name not in contract.columns]
    if unknown and not contract.ignore_unknown:
        raise FileRefused("unknown_column", f"the contract has no such columns: {', '.join(unknown)}")
    for field in contract.fields:
        if field.name in names:
            found = _storage_type(schema.field(field.name).type)
            expected = _expected(field.kind, found)
            if expected is not None:
                message = f"column {field.name}: expected {expected}, found {schema.field(field.name).type}"
                raise FileRefused("wrong_column_type", message)


def _expected(kind: Kind, found: pa.DataType) -> str | None:
    """Return what a column of `kind` should be in words, or None where `found` will do."""
    types = pa.types
    if kind is Kind.JSONB and (types.is_struct(found) or types.is_map(found)):
        return check_nested(found)
    is_text = _is_text(found)
    is_16_bytes = types.is_fixed_size_binary(found) and found.byte_width == 16  # noqa: PLR2004
    will_do, words = {
        Kind.UUID: (is_text or is_16_bytes or types.is_binary(found), "a string or 16 bytes"),
        Kind.TEXT: (is_text, "a string"),
        Kind.TIMESTAMPTZ: (
            is_text or (types.is_timestamp(found) and found.tz is not None),
            "a timestamp with a time zone, or a string",
        ),
        Kind.JSONB: (is_text, "JSON text, a struct or a map"),
        Kind.BIGINT: (types.is_integer(found), "an integer"),
        Kind.DOUBLE: (types.is_integer(found) or types.is_floating(found), "a number"),
        Kind.BOOLEAN: (types.is_boolean(found), "a boolean"),
    }[kind]
    return None if will_do else words


def _is_text(found: pa.DataType) -> bool:
    if pa.types.is_dictionary(found):
        found = found.value_type
    return bool(pa.types.is_string(found) or pa.types.is_large_string(found) or pa.types.is_string_view(found))


def _storage_type(found: pa.DataType) -> pa.DataType:
    return found.storage_type if isinstance(found, pa.BaseExtensionType) else found


def _block(batch: pa.RecordBatch, contract: Contract, *, file_id: int, first_line: int) -> Block:
    problems: dict[int, list[Problem]] = {}
    columns: Columns = {}
    for field in contract.fields:
        if field.name in batch.schema.names:
            series, found = _column(batch.column(field.name), field)
        else:
            series, found = absent(field, batch.num_rows), []
        columns[field.name] = series
        for row, problem in found:
            problems.setdefault(row, []).append(problem)
    columns, unfit = as_texts(columns, contract)
    frame = canonical(columns, contract, problems, unfit)
    lines = pl.int_range(first_line, first_line + batch.num_rows, dtype=pl.Int64)
    frame = frame.select(pl.lit(file_id, pl.Int64).alias("file_id"), lines.alias("line"), *contract.columns)
    return Block(frame, problems, lambda rows: [_raw(batch, row) for row in rows])


def _over_limit(batch: pa.RecordBatch, contract: Contract, *, file_id: int, line: int, limit: int) -> Block:
    """Return a block of one row that is too long to be looked at."""
    message = f"the row is about {weight(batch)} bytes long; the limit is {limit}"
    dtypes = {"file_id": pl.Int64(), "line": pl.Int64(), **{field.name: field.kind.dtype for field in contract.fields}}
    places = {"file_id": [file_id], "line": [line]}
    frame = pl.DataFrame({name: places.get(name, [None]) for name in dtypes}, schema=dtypes)
    shown = "{" + ",".join(
        f"{_json(name)}:{_spell(column[0]) if array_weight(column) <= PREFIX_BYTES else '...'}"
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    )
    raw = Raw(shown.encode(errors="surrogateescape")[:PREFIX_BYTES], weight(batch))
    return Block(frame, {0: [Problem("line_too_long", None, message)]}, lambda rows: [raw] * len(rows))


def _column(array: pa.Array, field: Field) -> tuple[pl.Series, list[tuple[int, Problem]]]:
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if field.kind is Kind.UUID and not _is_text(array.type):
        return _uuid_texts(array, field.name)
    if field.kind is Kind.TIMESTAMPTZ and pa.types.is_timestamp(array.type):
        return _instants(array, field.name)
    if field.kind is Kind.JSONB:
        if pa.types.is_nested(array.type):
            return _nested_texts(array, field.name)
        return _json_texts(array, field.name, may_be_sorted=field.may_be_sorted)
    held_as = {Kind.BIGINT: pa.int64(), Kind.DOUBLE: pa.float64(), Kind.BOOLEAN: pa.bool_()}
    return _series(field.name, array.cast(held_as.get(field.kind, pa.large_binary()))), []


def _series(name: str, array: pa.Array) -> pl.Series:
    series = pl.from_arrow(array)
    assert isinstance(series, pl.Series)  # noqa: S101 # an array is no table
    return series.alias(name)


def _uuid_texts(array: pa.Array, name: str) -> tuple[pl.Series, list[tuple[int, Problem]]]:
    """Spell 16 bytes as a UUID, so that the contract sees the same text for both formats."""
    series = _series(name, array.cast(pa.large_binary()))
    wrong = (series.bin.size() != 16).fill_null(value=False)  # noqa: PLR2004
    digits = pl.col(name).bin.encode("hex")
    parts = [digits.str.slice(start, length) for start, length in ((0, 8), (8, 4), (12, 4), (16, 4), (20, 12))]
    frame = pl.DataFrame([series, wrong.alias("wrong")])
    texts = frame.select(pl.when(~pl.col("wrong")).then(pl.concat_str(parts, separator="-")).alias(name))
    problem = Problem("bad_uuid", name, "a UUID has 16 bytes")
    return texts.to_series(), [(row, problem) for row in wrong.arg_true().to_list()]


def _instants(array: pa.Array, name: str) -> tuple[pl.Series, list[tuple[int, Problem]]]:
    """Turn timestamps of any unit into microseconds; finer digits are cut off, towards the past as in text."""
    unit = array.type.unit
    ticks = pl.col("t")
    if unit == "ns":
        micros = ticks.floordiv(_NANOSECONDS)
    else:
        scale = _PER_MICROSECOND[unit]
        fits = ticks.is_between(timestamps.FIRST // scale, timestamps.LAST // scale)
        micros = pl.when(fits).then(ticks * scale)
    frame = _series("t", array.cast(pa.int64())).to_frame()
    series = timestamps.in_range(frame.select(micros.cast(timestamps.DTYPE).alias(name)).to_series())
    missing = series.is_null() & frame["t"].is_not_null()
    problem = Problem("time_out_of_range", name, "lies outside the years 0001 to 9999 in UTC")
    return series, [(row, problem) for row in missing.arg_true().to_list()]


def _nested_texts(array: pa.Array, name: str) -> tuple[pl.Series, list[tuple[int, Problem]]]:
    texts: list[str | None] = []
    problems = []
    for row, value in enumerate(array):
        text, problem = json_text(value, name)
        texts.append(text)
        if problem is not None:
            problems.append((row, problem))
    return pl.Series(name, texts, pl.String), problems


def _json_texts(array: pa.Array, name: str, *, may_be_sorted: bool) -> tuple[pl.Series, list[tuple[int, Problem]]]:
    """Check JSON text against JSON's grammar; most often all of it are objects, which one look tells."""
    binary = array.cast(pa.large_binary())
    texts = _as_utf8(binary) if may_be_sorted else None
    texts, are_good = (binary, are_objects(binary)) if texts is None else in_key_order(texts)
    series = _series(name, texts)
    others = np.flatnonzero(~are_good)
    values = series[others]
    problems = [
        (row, problem)
        for row, value in zip(others.tolist(), values, strict=True)
        if (problem := _grammar_problem(value, name))
    ]
    return series.scatter([row for row, _ in problems], None) if problems else series, problems


def _as_utf8(binary: pa.LargeBinaryArray) -> pa.LargeStringArray | None:
    try:
        return binary.cast(pa.large_string())
    except pa.ArrowInvalid:  # Some of them are not.
        return None


def _grammar_problem(value: bytes | None, name: str) -> Problem | None:
    if value is None:
        return None
    try:
        _raw_value.decode(value)
    except msgspec.DecodeError as error:
        return Problem("malformed_json", name, str(error))
    except RecursionError:
        return Problem("too_deep", name, "is nested too deep")
    return None


def _raw(batch: pa.RecordBatch, row: int) -> Raw:
    """Spell a row as one JSON object, since a Parquet row has no text of its own."""
    members = (
        f"{_json(name)}:{_spell(column[row])}" for name, column in zip(batch.schema.names, batch.columns, strict=True)
    )
    spelled = ("{" + ",".join(members) + "}").encode(errors="surrogateescape")
    return Raw(spelled, len(spelled))


def _spell(value: Any) -> str:
    if not value.is_valid:
        return "null"  # an extension's scalar has no inner one then
    if isinstance(value, pa.ExtensionScalar | pa.DictionaryScalar):
        value = value.value
    if pa.types.is_binary(value.type) or pa.types.is_fixed_size_binary(value.type):
        content = value.as_py()
        is_uuid = content is not None and len(content) == 16  # noqa: PLR2004
        return _json(str(UUID(bytes=content)) if is_uuid else content)
    if pa.types.is_timestamp(value.type) and value.is_valid:
        ticks, unit = value.value, value.type.unit
        return _json(timestamps.spell(ticks, unit) or f"{ticks} {unit} since 1970")
    text, problem = json_text(value, "")
    if problem is None:
        return text or "null"
    if _is_text(value.type):  # Not UTF-8, and so is the row then: a replay must not take it for another text.
        return json.dumps(value.as_buffer().to_pybytes().decode(errors="surrogateescape"), ensure_ascii=False)
    return _json(pa.repeat(value, 1).to_string())  # Arrow's own spelling, of what Python can't hold too


def _json(value: object) -> str:
    """Return `value` as JSON; bytes as base64."""
    return msgspec.json.encode(value).decode()


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
