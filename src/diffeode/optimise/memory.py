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
        RegistrationError: memory ran out; the message says how much was asked for, where torch or
            numpy tells.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        wanted = _wanted(error)
        if wanted is None:
            raise
        voxels = " x ".join(str(n) for n in size)
        raise RegistrationError(
            f"The memory does not suffice for images of {voxels} voxels{wanted}; {remedy}."
        ) from error


def _wanted(error: RuntimeError | MemoryError) -> str | None:
    """Return in parentheses how much memory was asked for and how much there is, as far as torch or
    numpy says so; None where a lack of memory is not the cause.

    Torch has an exception of its own for a GPU only. On a CPU it raises a RuntimeError, which can
    be recognised by its words alone.
    """
    text = str(error)
    asked = re.search(r"(?:tried|unable) to allocate ([\d.]+ \w+)", text, re.IGNORECASE)
    if not isinstance(error, MemoryError | torch.OutOfMemoryError) and not (
        asked and "alloc" in text.partition("tried")[0]
    ):
        return None
    there = re.search(r"(GPU \d+) has a total capacity of (.*?) of which (.*?) is free", text)
    facts = [f"{_readable(asked.group(1))} more were asked for"] if asked else []
    facts += [f"{there[1]} has {there[2]}, of which {there[3]} are free"] if there else []
    return f" ({'; '.join(facts)})" if facts else ""


def _readable(amount: str) -> str:
    """Return an ``amount`` of bytes in GiB; another unit stays as it is."""
    number, unit = amount.split()
    return f"{float(number) / 2**30:.2f} GiB" if unit == "bytes" else amount
