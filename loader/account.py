"""Where each row of a load went. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from loader.errors import AccountingError
from loader.item import Item
from loader.merge import Merger


def account(merger: Merger, items: Sequence[Item]) -> None:
    """Say of every row read where it went; what Postgres says it inserted must be what is left.

    Raises:
        AccountingError: it isn't.
    """
    for item in items:
        left_over = merger.left_over[item.file_id]
        counts = item.counts
        counts.duplicates, counts.conflicts = left_over.duplicates, left_over.conflicts
        counts.rejected += left_over.rejected
        elsewhere = counts.rejected + counts.duplicates + counts.conflicts
        counts.inserted = merger.inserted if len(items) == 1 else counts.read - elsewhere
        counts.check(item.outcome.name)
        item.outcome.reject_codes = dict(item.rejects.codes) if item.rejects else {}
    accounted = sum(item.counts.inserted for item in items)
    if accounted != merger.inserted:
        raise AccountingError(f"rows do not add up: {merger.inserted} were inserted, {accounted} accounted for")
