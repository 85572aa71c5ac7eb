"""malloc's limits: memory that XLA frees stays with the process for the next step."""

import ctypes
import sys

_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD = -8, -4, -1  # parameters of mallopt, from <malloc.h>
_LIMIT = 2**31 - 1  # bytes, the largest value that mallopt takes


def keep_freed_memory() -> bool:
    """Raises malloc's trim threshold (GNU C library) so that freed memory is reused; whether that was possible.

    On CPU XLA allocates the buffers of a step and frees them at its end. By default large blocks then go back to the
    system, and the next step waits until as many pages are cleared: a quarter of the time of a step of a U-Net with
    2 million parameters on two cores. The arenas that other threads have of their own give back whole heaps of 64 MB
    whatever the threshold, another quarter of a step of a transformer of sequences: all threads share the first one.
    That holds for arenas of the future alone, so that it is called before a library starts threads.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return all([mallopt(_ARENA_MAX, 1), mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _LIMIT)])
