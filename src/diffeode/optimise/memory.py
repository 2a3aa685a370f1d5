"""Memory: kept in the process once it was fetched, and said in one sentence where there is too
little.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import torch

from diffeode.errors import RegistrationError

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
_KEEP_BYTES = 2**31 - 1
_GROW_BYTES = 256 * 2**20


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to reuse freed blocks instead of giving them back to the system; True where that
    worked.

    Every iteration frees and takes the same large buffers; fetching their pages anew costs several
    times the arithmetic.
    It holds for the whole process and costs nothing but memory that stays at its peak.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return all(
        (
            mallopt(_M_MMAP_MAX, 0),
            mallopt(_M_TRIM_THRESHOLD, _KEEP_BYTES),
            mallopt(_M_TOP_PAD, _GROW_BYTES),
        )
    )


@contextmanager
def shortage_explained(size: tuple[int, ...], remedy: str) -> Iterator[None]:
    """Turn torch's or a kernel's failure to get memory for work on images of ``size`` voxels into
    one sentence.

    Raises:
        RegistrationError: memory ran out; how much was asked for, of what, and the ``remedy``.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        wanted = _wanted(error)
        if wanted is None:
            raise
        voxels = " x ".join(str(n) for n in size)
        raise RegistrationError(f"Out of memory on {voxels} voxels: {wanted}; {remedy}.") from error


def _wanted(error: RuntimeError | MemoryError) -> str | None:
    """What was asked for and what there was, in torch's or numpy's words; None where ``error`` is
    of something else.

    The CPU's allocator has no exception of its own.
    """
    text = str(error)
    if isinstance(error, MemoryError):
        return text or "nobody said how much was wanted"
    asked = re.search(r"tried to allocate [\d.]+ \w+", text, re.IGNORECASE)
    if not isinstance(error, torch.OutOfMemoryError) and not (
        asked and "alloc" in text.partition("tried")[0]
    ):
        return None
    there = re.search(r"GPU \d+ has a total capacity of .*? is free", text)
    facts = [fact.group().replace("Tried", "tried") for fact in (asked, there) if fact]
    return "; ".join(facts) or "nobody said how much was wanted"
