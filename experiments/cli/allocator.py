"""The memory of a process: pages that XLA gives back are kept for the next step."""

import ctypes
import sys

_MMAP_MAX, _TRIM_THRESHOLD = -4, -1  # of <malloc.h>
_KEPT = 2**31 - 1  # bytes, the most that it takes


def keep_freed_pages() -> bool:
    """Tells malloc of the GNU C library to keep what is freed; whether it could be told.

    On CPU XLA allocates what a step needs and frees it at its end. By default large blocks go back to the system then,
    and the next step waits for as many pages to be cleared: that took a quarter of the time of a U-Net of 2 million
    parameters on two cores.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # another C library
        return False
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _KEPT)])
