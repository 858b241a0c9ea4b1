"""Columns as decoded -> columns in the contract's dtypes; what has no such value becomes null and a problem. Pure."""

from __future__ import annotations

import polars as pl

from loader import jsonb, timestamps
from loader.characters import utf8
from loader.contract import Contract, Field, Kind
from loader.model import Problem

Columns = dict[str, pl.Series]
Unfit = dict[str, list[tuple[int, Problem]]]  # by column: rows whose text can't be stored, and why


def absent(field: Field, height: int) -> pl.Series:
    """Return the column, for `canonical`, of a field that no row has."""
    dtype = pl.String() if field.kind is Kind.TIMESTAMPTZ else field.kind.dtype
    return pl.Series(field.name, [None], dtype).new_from_index(0, height)


def as_texts(columns: Columns, contract: Contract) -> tuple[Columns, Unfit]:
    """Return columns with Binary as String, null where it is not UTF-8, and what is wrong with the texts."""
    texts: Columns = {}
    unfit: Unfit = {}
    for field in contract.fields:
        series = columns[field.name]
        found: list[tuple[int, Problem]] = []
        if series.dtype == pl.Binary:
            series, found = _texts(series)
        if series.dtype == pl.String and field.kind not in (Kind.TIMESTAMPTZ, Kind.JSONB):
            found += _null_characters(series)
        texts[field.name], unfit[field.name] = series, found
    return texts, unfit


def canonical(columns: Columns, contract: Contract, problems: dict[int, list[Problem]], unfit: Unfit) -> pl.DataFrame:
    """Return a frame with the contract's columns in its dtypes, adding what is wrong with a row to `problems`.

    columns: by name, of equal length: String for uuid, text, timestamptz (which may be the final dtype already) and
        jsonb, the final dtype for the rest. Null where a value is missing.
    unfit: what `as_texts` found wrong.
    """
    done: list[pl.Series] = []
    for field in contract.fields:
        series = columns[field.name]
        found = [*unfit.get(field.name, [])]
        if field.kind is Kind.TIMESTAMPTZ and series.dtype == pl.String:
            series, more = _instants(series)
            found += more
        elif field.kind is Kind.JSONB:
            found += jsonb.find_problems(series)
        for row, problem in found:
            problems.setdefault(row, []).append(problem)
        done.append(series)
    return pl.DataFrame(done)


def _texts(series: pl.Series) -> tuple[pl.Series, list[tuple[int, Problem]]]:
    texts = utf8(series)
    problem = Problem("invalid_utf8", series.name, "is not UTF-8")
    return texts, [(row, problem) for row in _rows(texts.is_null() & series.is_not_null())]


def _instants(texts: pl.Series) -> tuple[pl.Series, list[tuple[int, Problem]]]:
    instants = timestamps.parse(texts)
    refused = _rows(instants.is_null() & texts.is_not_null())
    return instants, [(row, timestamps.explain(texts[row], texts.name)) for row in refused]


def _null_characters(texts: pl.Series) -> list[tuple[int, Problem]]:
    problem = Problem("null_character", texts.name, r"holds \u0000, which Postgres can't store")
    return [(row, problem) for row in _rows(texts.str.contains("\0", literal=True))]


def _rows(mask: pl.Series) -> list[int]:
    # Most often there is none; to ask first takes a hundredth of the time.
    return mask.fill_null(value=False).arg_true().to_list() if mask.any() else []
