"""How many threads torch and the compiled kernels of this process run on; sums, so results, depend
on it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import numba
import torch


def use_threads(count: int) -> None:
    """Let torch and the kernels run on ``count`` threads (1 and above), as far as this process has
    processors.

    The kernels go first: the pool that numba starts at its first use gives OpenMP, and so torch,
    every core.
    """
    count = min(count, numba.config.NUMBA_NUM_THREADS)
    numba.set_num_threads(count)
    torch.set_num_threads(count)


@contextmanager
def on_threads(count: int) -> Iterator[None]:
    """Torch and the kernels on ``count`` threads; as many as before when this ends."""
    of_torch = torch.get_num_threads()
    of_kernels = numba.get_num_threads()
    use_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(of_kernels)
        torch.set_num_threads(of_torch)
