"""What the loader asks of the C library and of the kernel."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from loader.database import connected

HEAPS = """
import ctypes, sys, threading
from loader import memory
if sys.argv[1] == "one":
    memory.share_one_heap()
threads = [threading.Thread(target=lambda: bytearray(100_000)) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(libc.fopen(sys.argv[2].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have one heap anyway")
def test_threads_share_one_heap(tmp_path: Path) -> None:
    def heaps(how: str) -> int:
        told = tmp_path / how
        subprocess.run([sys.executable, "-c", HEAPS, how, str(told)], check=True)
        return told.read_text().count("<heap nr=")

    assert heaps("many") > 1
    assert heaps("one") == 1


FAULTS = """
import resource, sys
from loader import memory
if sys.argv[1] == "kept":
    memory.keep_what_is_freed()
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [b"x" * (8 << 20) for _ in range(3)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have ways of their own")
def test_pages_of_blocks_that_are_gone_serve_the_next_ones() -> None:
    def faults(how: str) -> int:
        told = subprocess.run([sys.executable, "-c", FAULTS, how], check=True, capture_output=True)
        return int(told.stdout)

    assert faults("kept") < faults("given back") / 10


def test_much_of_a_copy_can_be_on_its_way_to_a_local_server(database: str) -> None:
    with connected(database) as connection, socket.socket(fileno=connection.fileno()) as own:
        try:
            if own.family != socket.AF_UNIX:
                pytest.skip("the server is not reached through a Unix socket")
            granted = own.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        finally:
            own.detach()
    most = Path("/proc/sys/net/core/wmem_max")
    assert granted >= min(2 << 20, int(most.read_text()) if most.exists() else 0)
