"""Keeping freed memory in the process."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEEP_BYTES = 2**31 - 1
_GROW_BYTES = 256 * 2**20


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed blocks instead of giving them back to the system; True where that worked.

    Every iteration frees and takes the same large buffers; fetching their pages anew costs several times the
    arithmetic.
    It holds for the whole process and costs nothing but memory that stays at its peak.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all((mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES), mallopt(_M_TOP_PAD, _GROW_BYTES)))
