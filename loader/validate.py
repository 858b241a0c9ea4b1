"""Block + contract -> valid rows and rejects, with every reason of every row. One Pandera call a block. Pure."""

from __future__ import annotations

import pandera.polars as pa
import polars as pl
from pandera.config import ValidationDepth, config_context

from loader.contract import Contract
from loader.errors import UsageError
from loader.model import Block, Problem, Reject, Validated


def validate(block: Block, contract: Contract) -> Validated:
    """Check `block` against the contract's Pandera schema.

    Raises:
        UsageError: a check of the contract itself fails to run, so that nothing is known of any row.
    """
    problems = {row: list(found) for row, found in block.problems.items()}
    _check(block.frame, contract, problems)
    if not problems:
        return Validated(block.frame, [])
    is_bad = pl.repeat(False, block.frame.height, eager=True).scatter([*problems], True)  # values of the mask
    bad = block.frame.select("file_id", "line", row=pl.int_range(pl.len())).filter(is_bad)
    places = bad.sort("file_id", "line").rows()
    raws = block.raws([row for _, _, row in places])
    rejects = [
        Reject(file_id, line, tuple(problems[row]), raw) for (file_id, line, row), raw in zip(places, raws, strict=True)
    ]
    return Validated(block.frame.filter(~is_bad), rejects)


def _check(frame: pl.DataFrame, contract: Contract, problems: dict[int, list[Problem]]) -> None:
    """Add every failure of the contract's checks to `problems`."""
    # The environment can turn Pandera's validation off or down (PANDERA_VALIDATION_*); here nothing may.
    with config_context(validation_enabled=True, validation_depth=ValidationDepth.SCHEMA_AND_DATA):
        try:
            contract.schema.validate(frame.select(contract.columns), lazy=True)
        except pa.errors.SchemaErrors as errors:
            failures = errors.failure_cases
        else:
            return
    for failure in failures.iter_rows(named=True):
        row, column = failure["index"], failure["column"]
        if row is None:
            raise UsageError(f"contract {contract.source}: {failure['check']}: {failure['failure_case']}")
        already = problems.setdefault(row, [])
        explained = any(problem.column in (column, None) for problem in already if problem.code != "unknown_field")
        if explained and failure["check"] == "not_nullable":
            continue  # The value is null because the decoder refused it; it has said why.
        already.append(_problem(failure, contract))


def _problem(failure: dict[str, object], contract: Contract) -> Problem:
    column = str(failure["column"])
    number = failure["check_number"]
    if number is None:
        return Problem(contract.codes[column, "not_nullable"], column, "the value is missing (null)")
    description = contract.schema.columns[column].description or str(failure["check"])
    value = str(failure["failure_case"])
    shown = value if len(value) <= 80 else f"{value[:77]}..."  # noqa: PLR2004
    return Problem(contract.codes[column, int(str(number))], column, f"expected {description}, found '{shown}'")
