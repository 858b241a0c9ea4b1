"""Block + contract -> valid rows and rejects, with every reason of every row. One Pandera call a block. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandera.polars as pa
import polars as pl
from pandera.config import ValidationDepth, config_context

from loader.contract import Contract, Kind
from loader.errors import UsageError
from loader.model import Block, Problem, Reject, Validated


def validate(block: Block, contract: Contract) -> Validated:
    """Check `block` against the contract's Pandera schema.

    Raises:
        UsageError: a check of the contract itself fails to run, so that nothing is known of any row.
    """
    problems = {row: list(found) for row, found in block.problems.items()}
    failures = [*_missing(block.frame, contract, problems), *_failed(block.frame, contract)]
    order = {name: place for place, name in enumerate(contract.columns)}
    for row, problem in sorted(failures, key=lambda failure: order[str(failure[1].column)]):
        problems.setdefault(row, []).append(problem)
    if not problems:
        return Validated(block.frame, [])
    rejected = np.array([*problems])
    file_ids, lines = (block.frame[name].to_numpy()[rejected] for name in ("file_id", "line"))
    by_place = np.lexsort((lines, file_ids))
    places = [column[by_place].tolist() for column in (rejected, file_ids, lines)]
    raws = block.raws(places[0])
    rejects = [
        Reject(file_id, line, tuple(problems[row]), raw) for row, file_id, line, raw in zip(*places, raws, strict=True)
    ]
    are_valid = np.ones(block.frame.height, np.bool_)
    are_valid[rejected] = False
    return Validated(block.frame.filter(are_valid), rejects)


def _missing(
    frame: pl.DataFrame, contract: Contract, known: Mapping[int, Sequence[Problem]]
) -> Iterator[tuple[int, Problem]]:
    """Yield (row, problem) for each value that is null, or NaN, though its field is required, and nobody said why.

    The decoder did, of what it refused. Pandera would ask for the nulls of every column in four queries each.
    """
    explained: dict[str | None, set[int]] = defaultdict(set)
    for row, found in known.items():
        for column in [problem.column for problem in found if problem.code != "unknown_field"]:
            explained[column].add(row)
    for field in contract.fields:
        values = frame[field.name]
        if not field.required or not (values.has_nulls() or field.kind is Kind.DOUBLE):
            continue
        missing = values.is_null() | values.is_nan() if field.kind is Kind.DOUBLE else values.is_null()
        rows = missing.arg_true().to_list()
        problem = Problem(contract.codes[field.name, "not_nullable"], field.name, "the value is missing (null)")
        why = explained[None] | explained[field.name]
        yield from ((row, problem) for row in rows if row not in why)


def _failed(frame: pl.DataFrame, contract: Contract) -> Iterator[tuple[int, Problem]]:
    """Yield (row, problem) for every failure of the contract's checks."""
    # The environment can turn Pandera's validation off or down (PANDERA_VALIDATION_*); here nothing may.
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        try:
            contract.schema.validate(frame.select(contract.columns), lazy=True)
        except pa.errors.SchemaErrors as errors:
            failures = errors.failure_cases
        else:
            return
    for failure in failures.iter_rows(named=True):
        if failure["index"] is None:
            raise UsageError(f"contract {contract.source}: {failure['check']}: {failure['failure_case']}")
        yield failure["index"], _problem(failure, contract)


def _problem(failure: dict[str, object], contract: Contract) -> Problem:
    column = str(failure["column"])
    description = contract.schema.columns[column].description or str(failure["check"])
    value = str(failure["failure_case"])
    shown = value if len(value) <= 80 else f"{value[:77]}..."  # noqa: PLR2004
    code = contract.codes[column, int(str(failure["check_number"]))]
    return Problem(code, column, f"expected {description}, found '{shown}'")
