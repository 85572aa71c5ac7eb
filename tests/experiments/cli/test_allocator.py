"""The allocator's thresholds are set through the C library, where it offers them."""

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest
from programs import ROOT

from experiments.cli import allocator

M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8  # <malloc.h>


@pytest.fixture
def calls(monkeypatch):
    """The calls of ``mallopt`` on Linux, recorded in place of being made."""
    found = []
    library = SimpleNamespace(mallopt=lambda *arguments: found.append(arguments) or 1)
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    monkeypatch.setattr(sys, "platform", "linux")
    return found


def test_freed_memory_is_neither_trimmed_nor_mapped(calls):
    assert allocator.keep_freed_memory()
    assert dict(calls) == {M_ARENA_MAX: 1, M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1}


_AGAIN = """
{first}
import ctypes, resource, threading
import jax
jax.numpy.zeros(3).block_until_ready()  # which starts threads
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
def use():
    blocks = [library.malloc(40_000_000) for _ in range(4)]
    for block in blocks:
        ctypes.memset(block, 1, 40_000_000)
    for block in blocks:
        library.free(block)
def twice():
    use()
    before = faults()
    use()
    found.append(faults() - before)
found = []
thread = threading.Thread(target=twice)
thread.start()
thread.join()
print(found[0])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the GNU C library")
def test_a_thread_that_allocates_again_waits_for_no_pages():
    def faults(first):
        code = [sys.executable, "-c", _AGAIN.format(first=first)]
        return int(subprocess.run(code, capture_output=True, text=True, check=True, cwd=ROOT).stdout)

    program = "import sys; sys.argv = ['-m']; import experiments"  # as python -m experiments.train begins
    assert faults(program) < 1000 < 5000 < faults("import experiments")


def test_another_platform_or_c_library_is_left_unchanged(calls, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not allocator.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
    assert calls == []
