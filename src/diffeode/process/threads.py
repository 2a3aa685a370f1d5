"""The number of threads that torch and the compiled kernels of this process use.

The order of summation depends on it, and so the last digits of results do.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import numba
import torch


@cache
def keep_to_the_limit() -> None:
    """Let kernels use no more threads than ``OMP_NUM_THREADS`` says, as torch does; numba alone
    would use all processors.

    This is done once in a process, before any number that is asked for, which then holds. It starts
    numba's pool of threads, after which the process cannot be forked.
    """
    limit = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if limit.isdecimal() and int(limit) > 0:
        numba.set_num_threads(min(int(limit), numba.get_num_threads()))


def use_threads(count: int) -> None:
    """Let torch and the kernels use ``count`` threads (at least 1), but no more than there are
    processors.

    The number of the kernels is set first: numba starts its pool of threads at its first use, which
    gives OpenMP, and so torch, all cores.
    """
    keep_to_the_limit()
    count = min(count, numba.config.NUMBA_NUM_THREADS)
    numba.set_num_threads(count)
    torch.set_num_threads(count)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Let torch and the kernels use ``count`` threads in the block, and afterwards as many as
    before.
    """
    keep_to_the_limit()
    of_torch = torch.get_num_threads()
    of_kernels = numba.get_num_threads()
    use_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(of_kernels)
        torch.set_num_threads(of_torch)
