"""The number of threads that torch and the compiled kernels of this process use.

The order of summation depends on it, and so the last digits of results do.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch


def use_threads(count: int) -> None:
    """Let torch and the kernels use ``count`` threads (at least 1), but no more than there are
    processors.

    The number of the kernels is set first: numba starts its pool of threads at its first use, which
    gives OpenMP, and so torch, all cores.
    """
    count = min(count, numba.config.NUMBA_NUM_THREADS)
    numba.set_num_threads(count)
    torch.set_num_threads(count)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Let torch and the kernels use ``count`` threads in the block, and afterwards as many as
    before.
    """
    of_torch = torch.get_num_threads()
    of_kernels = numba.get_num_threads()
    use_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(of_kernels)
        torch.set_num_threads(of_torch)
