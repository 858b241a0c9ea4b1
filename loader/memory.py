"""How memory is allocated."""

from __future__ import annotations

import ctypes
from contextlib import suppress

# Numbers of mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8
_LARGE_BYTES = 32 << 20  # the most that glibc takes for the second threshold


def share_one_heap() -> None:
    """Let all threads allocate from one heap, where the C library is glibc.

    It gives each thread a heap of its own, and what one has freed there is of no use to the others: blocks are made by
    one thread and freed by another. That took a fifth of the memory of a load.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def keep_what_is_freed() -> None:
    """Let blocks come from the heap and what is freed stay there, where the C library is glibc.

    It would give each block of some megabytes back to the kernel, which clears every page of the next one.
    """
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        libc.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGE_BYTES)
