"""Freed pages stay with the process."""

import subprocess
import sys

import pytest

FAULTS = """
import ctypes, resource, sys
from experiments.cli import allocator as memory

assert sys.argv[1] == "as it is" or memory.keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
size = 2**28
for round in range(11):
    if round == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(size)
    ctypes.memset(block, 1, size)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="of the GNU C library")
def test_pages_that_are_freed_are_not_cleared_again():
    run = lambda how: subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True)
    kept, given_back = (int(run(how).stdout) for how in ("kept", "as it is"))
    assert kept < 100 < given_back
