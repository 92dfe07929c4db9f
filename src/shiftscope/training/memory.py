"""Keeping freed memory in the process.

glibc gives large blocks back to the system when they are freed, and the next step pays for them again with a page
fault every 4 KiB: measured here, that doubles the time of a convolutional training step.
"""

import ctypes
import functools
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3
_LARGEST_THRESHOLD = 32 * 2**20  # glibc refuses more on 64-bit systems
_KEEP = 2**30


@functools.cache
def keep_memory() -> bool:
    """Ask the C library to keep freed memory for reuse; once a process.

    Returns:
        Whether it was possible (glibc on Linux); elsewhere nothing happens.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # musl has no mallopt
        return False
    wanted = ((_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD), (_M_TRIM_THRESHOLD, _KEEP), (_M_TOP_PAD, 64 * 2**20))
    return [mallopt(key, value) for key, value in wanted] == [1, 1, 1]
