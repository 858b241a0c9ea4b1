"""Values of a Parquet file as JSON text: structs and maps become objects, lists arrays, null stays null."""

from __future__ import annotations

import math
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import msgspec
import pyarrow as pa

from loader.model import Problem

# Decimals keep all their digits; as floats they would lose some.
_encoder = msgspec.json.Encoder(decimal_format="number")


class _NotJsonError(ValueError):
    """Raised for a value that JSON has no spelling for; the message says which."""


def check_nested(found: pa.DataType) -> str | None:
    """Return what is expected instead where a struct or map holds something that JSON can't, else None."""
    types = pa.types
    if types.is_struct(found):
        inner = [found.field(i).type for i in range(found.num_fields)]
    elif types.is_map(found):
        if not (types.is_string(found.key_type) or types.is_large_string(found.key_type)):
            return "a map with string keys"
        inner = [found.item_type]
    elif (
        types.is_list(found)
        or types.is_large_list(found)
        or types.is_fixed_size_list(found)
        or types.is_dictionary(found)
    ):
        inner = [found.value_type]
    elif _is_plain(found):
        return None
    else:
        return "nothing inside it that JSON can't spell"
    return next((problem for item in inner if (problem := check_nested(item))), None)


def json_text(value: Any, name: str) -> tuple[str | None, Problem | None]:
    """Return an Arrow scalar as JSON text, None for a null; or the problem why that can't be done."""
    try:
        plain = _plain(value.as_py(maps_as_pydicts="strict") if pa.types.is_nested(value.type) else value.as_py())
        return (None if plain is None else _encoder.encode(plain).decode()), None
    except KeyError:
        return None, Problem("duplicate_key", name, "a map holds the same key twice")
    except (_NotJsonError, ValueError, OverflowError) as error:
        return None, Problem("not_json", name, f"JSON has no spelling for a value: {error}")


def _is_plain(found: pa.DataType) -> bool:
    types = pa.types
    tests = (
        types.is_null,
        types.is_boolean,
        types.is_integer,
        types.is_floating,
        types.is_decimal,
        types.is_string,
        types.is_large_string,
        types.is_string_view,
        types.is_timestamp,
        types.is_date,
        types.is_time,
    )
    return any(test(found) for test in tests)


def _plain(value: Any) -> Any:
    """Return `value` with nothing in it that the encoder would spell as something else."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise _NotJsonError(str(value))
    if isinstance(value, Decimal) and not value.is_finite():
        raise _NotJsonError(str(value))
    if value is None or isinstance(value, str | int | float | bool | Decimal | datetime | date | time):
        return value
    raise _NotJsonError(type(value).__name__)
