"""How memory is allocated."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_ARENA_MAX = -8  # mallopt(3)


def share_one_heap() -> None:
    """Let all threads allocate from one heap, where the C library is glibc.

    It gives each thread a heap of its own, and what one has freed there is of no use to the others: blocks are made by
    one thread and freed by another. That took a fifth of the memory of a load.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
