"""Loads the contract (`contracts/events.py`) and derives from it what every other stage needs to know.

Importing this module imports Pandera and Polars: only do so when there is work.
"""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pandera.polars as pa
import polars as pl

from loader import timestamps
from loader.errors import UsageError
from loader.resources import bundled

KEY = "event_id"
# Columns that the loader itself adds to every row of `events`.
PROVENANCE = ("file_id", "line")
# RFC 9562, section 4, either case. Narrower than Postgres, which also takes braces.
UUID = r"^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$"

# The check of an object's text that looks no further than where it begins.
_OBJECT = r"^[ \t\r\n]*\{"

# Each contract is imported under one name, by which Pandera looks for the types that a model mentions: whoever imports
# another one meanwhile would take it away.
_ONE_CONTRACT = threading.Lock()

# Pandera's own checks and the codes of their failures, where a field's metadata says nothing else.
_DEFAULT_CODES = {
    "not_nullable": "missing_field",
    "str_matches": "pattern_mismatch",
    "str_contains": "pattern_mismatch",
    "str_length": "bad_length",
    "isin": "value_not_allowed",
    "notin": "value_not_allowed",
    "equal_to": "value_not_allowed",
    "not_equal_to": "value_not_allowed",
    "in_range": "value_out_of_range",
    "greater_than": "value_out_of_range",
    "greater_than_or_equal_to": "value_out_of_range",
    "less_than": "value_out_of_range",
    "less_than_or_equal_to": "value_out_of_range",
}


class Kind(Enum):
    """A Postgres type that a field may have, with the dtype that its column has in a frame."""

    UUID = ("uuid", pl.String())
    TEXT = ("text", pl.String())
    TIMESTAMPTZ = ("timestamptz", timestamps.DTYPE)
    JSONB = ("jsonb", pl.String())
    BIGINT = ("bigint", pl.Int64())
    DOUBLE = ("double precision", pl.Float64())
    BOOLEAN = ("boolean", pl.Boolean())

    def __init__(self, postgres: str, dtype: pl.DataType) -> None:
        self.postgres = postgres
        self.dtype = dtype


@dataclass(frozen=True, slots=True)
class Field:
    """One field of the contract."""

    name: str
    kind: Kind
    required: bool
    # The members of its objects may change places: nothing that looks at its text could tell.
    may_be_sorted: bool = False


@dataclass(frozen=True)
class Contract:
    """The contract as the stages use it.

    `schema` has the checks, but takes null in every column. `codes` maps (column, check's number or "not_nullable") to
    reject codes.
    """

    version: str
    fields: tuple[Field, ...]
    ignore_unknown: bool
    schema: pa.DataFrameSchema
    codes: Mapping[tuple[str, int | str], str]
    source: Path

    @property
    def columns(self) -> list[str]:
        """Names of the fields, in the contract's order."""
        return [field.name for field in self.fields]

    def unsorted(self) -> Contract:
        """Return the contract under which the members of objects stay in their places."""
        return replace(self, fields=tuple(replace(field, may_be_sorted=False) for field in self.fields))


def load(folder: Path | None = None) -> Contract:
    """Load `events.py` from `folder` (default: the bundled `contracts/`).

    Raises:
        UsageError: it can't be imported, holds no model, or names a type that the loader does not know.
    """
    folder = (folder or bundled("contracts")).resolve()
    where = f"contract {folder / 'events.py'}"
    with _ONE_CONTRACT:
        model = _model(folder, where)
        with _reported(folder):
            schema = model.to_schema()
    _check_supported(schema, where)
    metadata = (model.get_metadata() or {}).get(None, {}).get("dataframe") or {}
    unknown = metadata.get("unknown_fields", "reject")
    if unknown not in ("reject", "ignore"):
        raise UsageError(f"{where}: unknown_fields is {unknown!r}; it can be 'reject' or 'ignore'")
    fields = tuple(_field(name, column, where) for name, column in schema.columns.items())
    if Field(KEY, Kind.UUID, required=True) not in fields:
        raise UsageError(f"{where}: needs the field {KEY}, of Postgres type uuid and not nullable")
    _check_uuids(schema, fields)
    for column in schema.columns.values():
        column.nullable = True  # What is missing is not looked for by Pandera, but by `validate`.
    return Contract(
        version=str(metadata.get("version", "unversioned")),
        fields=fields,
        ignore_unknown=unknown == "ignore",
        schema=schema,
        codes=_codes(schema),
        source=folder / "events.py",
    )


def _model(folder: Path, where: str) -> type[pa.DataFrameModel]:
    with _reported(folder):
        module = _import(folder)
    models = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, pa.DataFrameModel) and item.__module__ == module.__name__
    ]
    if len(models) != 1:
        raise UsageError(f"{where}: expected one pandera DataFrameModel, found {len(models)}")
    return models[0]


def _import(folder: Path) -> ModuleType:
    """Import `contracts.events` from `folder`, and from nowhere else.

    The package is made here with its `__path__` set, so that a contract can import its neighbours, and so that
    its name is in sys.modules, without which `from __future__ import annotations` breaks in it.
    """
    package = ModuleType("contracts")
    package.__path__ = [str(folder)]
    for name in [name for name in list(sys.modules) if name == "contracts" or name.startswith("contracts.")]:
        del sys.modules[name]
    sys.modules["contracts"] = package
    importlib.invalidate_caches()
    return importlib.import_module("contracts.events")


@contextmanager
def _reported(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # A user's file may raise anything.
        raise UsageError(f"contract {folder / 'events.py'} is broken: {type(error).__name__}: {error}") from error


def _field(name: str, column: Any, where: str) -> Field:
    postgres = (column.metadata or {}).get("postgres")
    kind = next((kind for kind in Kind if kind.postgres == postgres), None)
    if kind is None:
        known = ", ".join(kind.postgres for kind in Kind)
        raise UsageError(f"{where}: field {name}: metadata['postgres'] is {postgres!r}; known types: {known}")
    if name in PROVENANCE:
        raise UsageError(f"{where}: the field name {name} is the loader's own")
    if column.dtype.type != kind.dtype:
        raise UsageError(f"{where}: field {name} is {column.dtype.type}, but a {postgres} is held as {kind.dtype}")
    only_first_byte = all(check.statistics == {"pattern": _OBJECT} for check in column.checks)
    return Field(name, kind, required=not column.nullable, may_be_sorted=kind is Kind.JSONB and only_first_byte)


def _check_supported(schema: pa.DataFrameSchema, where: str) -> None:
    """Refuse what would depend on which rows are looked at together, or write what stands in no file."""
    if schema.checks or schema.unique:
        raise UsageError(f"{where}: it can check fields, but not whole frames")
    for name, column in schema.columns.items():
        if column.unique:
            raise UsageError(f"{where}: field {name}: unique can't be checked here; {KEY} is unique in the table")
        if column.default is not None:
            raise UsageError(f"{where}: field {name}: a default would be no fact; use nullable=True")


def _check_uuids(schema: pa.DataFrameSchema, fields: tuple[Field, ...]) -> None:
    """Let `schema` check that UUIDs are some, where it does not do that by itself."""
    for checks in [schema.columns[field.name].checks for field in fields if field.kind is Kind.UUID]:
        if not any(check.statistics == {"pattern": UUID} for check in checks):
            checks.append(pa.Check.str_matches(UUID, name="bad_uuid", error="a UUID, hyphenated 8-4-4-4-12"))


def _codes(schema: pa.DataFrameSchema) -> dict[tuple[str, int | str], str]:
    codes: dict[tuple[str, int | str], str] = {}
    for name, column in schema.columns.items():
        named = {**_DEFAULT_CODES, **(column.metadata or {}).get("codes", {})}
        codes[name, "not_nullable"] = named["not_nullable"]
        for number, check in enumerate(column.checks):
            codes[name, number] = named.get(check.name, check.name)
    return codes
