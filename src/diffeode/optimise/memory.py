"""Memory: the process keeps what it has freed, and a shortage is explained in one sentence."""

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
"""Numbers of glibc's settings, from its header ``malloc.h``."""
_KEEP_BYTES = 2**31 - 1
"""How much free memory the process keeps: the greatest number that mallopt takes."""
_GROW_BYTES = 256 * 2**20
"""How much more than needed the process takes at a time when it grows."""


@cache
def keep_freed_memory() -> bool:
    """Make glibc keep freed memory for reuse instead of returning it to the system.

    Every iteration frees and takes the same large buffers. Getting their pages from the system anew
    costs several times the arithmetic. The setting holds for the whole process, whose memory then
    stays at its peak.

    Returns:
        whether all settings were accepted.
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
    """Turn a lack of memory inside this context, torch's or a kernel's, into one sentence.

    Args:
        size: the size of the images, voxels, for the message.
        remedy: a clause on what needs less memory.
    Raises:
        RegistrationError: memory ran out; the message says how much was asked for.
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
    """Return what torch or numpy says of the memory asked for; None where memory is not the cause.

    Torch has an exception of its own for a GPU only. On a CPU it raises a RuntimeError, which can
    be recognised by its words alone.
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
