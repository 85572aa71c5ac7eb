"""The allocator's thresholds are set through the C library, where it offers them."""

import ctypes
import sys
from types import SimpleNamespace

import pytest

from experiments.cli import allocator

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # <malloc.h>


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
    assert dict(calls) == {M_MMAP_MAX: 0, M_TRIM_THRESHOLD: 2**31 - 1}


def test_another_platform_or_c_library_is_left_unchanged(calls, monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace())
    assert not allocator.keep_freed_memory()
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not allocator.keep_freed_memory()
    assert calls == []
