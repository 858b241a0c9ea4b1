"""Columns as decoded -> columns in the contract's dtypes; what has no such value becomes null and a problem. Pure."""

from __future__ import annotations

import polars as pl

from loader import jsonb, timestamps
from loader.contract import Contract, Kind
from loader.model import Problem

Columns = dict[str, pl.Series]


def canonical(
    columns: Columns, contract: Contract, problems: dict[int, list[Problem]], *, are_plain: bool = False
) -> pl.DataFrame:
    """Return a frame with the contract's columns in its dtypes, adding what is wrong with a row to `problems`.

    columns: by name, of equal length: String for uuid, text and timestamptz (the latter may be the final dtype
        already), Binary or String for jsonb, the final dtype for the rest. Null where a value is missing.
    are_plain: no control characters are in the strings.
    """
    done: list[pl.Series] = []
    for field in contract.fields:
        series = columns[field.name]
        found: list[tuple[int, Problem]] = []
        if series.dtype == pl.Binary:
            series, found = _texts(series)
        if field.kind is Kind.TIMESTAMPTZ and series.dtype == pl.String:
            series, more = _instants(series)
        elif field.kind is Kind.JSONB:
            more = list(jsonb.find_problems(series))
        elif series.dtype == pl.String and not are_plain:
            more = _null_characters(series)
        else:
            more = []
        found += more
        for row, problem in found:
            problems.setdefault(row, []).append(problem)
        done.append(series)
    return pl.DataFrame(done)


def utf8(series: pl.Series) -> pl.Series:
    """Return Binary as String, null where a value is not UTF-8."""
    try:
        return series.cast(pl.String)
    except pl.exceptions.ComputeError:  # Some value is not; Polars doesn't say which.
        return pl.Series(series.name, list(map(_decode, series)), pl.String)


def _texts(series: pl.Series) -> tuple[pl.Series, list[tuple[int, Problem]]]:
    texts = utf8(series)
    problem = Problem("invalid_utf8", series.name, "is not UTF-8")
    return texts, [(row, problem) for row in _rows(texts.is_null() & series.is_not_null())]


def _decode(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None


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
