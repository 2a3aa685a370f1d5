"""Compile every kernel now, so that no registration waits for it: ``python -m diffeode.fused``."""

import fcntl
import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

import numba
import torch
from torch import Tensor

from diffeode.fused.compiler import compiled_mark
from diffeode.fused.correlation import FusedCorrelation
from diffeode.fused.folding import folds_fused
from diffeode.fused.gradient_fields import FusedGradientFields
from diffeode.fused.mind import mind_ssc_descriptor, mind_ssc_difference
from diffeode.fused.mutual_information import FusedInformation
from diffeode.fused.regularisers import gradient_magnitude_fused, jacobian_barrier_fused
from diffeode.fused.sampling import pull_back_fused, pull_back_resized_fused
from diffeode.fused.smoothing import average_fused
from diffeode.process.watch import die_with_parent

_SIZE = (8, 8, 8)
_IMAGE, _DISPLACEMENT = (torch.rand(1, channels, *_SIZE, requires_grad=True) for channels in (1, 3))
_FIXED = torch.rand(1, 1, *_SIZE)


def _mind() -> Tensor:
    return mind_ssc_difference(_IMAGE, mind_ssc_descriptor(_FIXED, 1, 2), 1, 2)


def _correlation() -> Tensor:
    return FusedCorrelation(_FIXED, 3, True, 1e-10, None)(_IMAGE)


def _gradient_fields() -> Tensor:
    fields = torch.rand(1, 3, *_SIZE)
    return FusedGradientFields(fields, 1.0, (1.0, 1.0, 1.0), None)(_IMAGE)


def _mutual_information() -> Tensor:
    def shares(values: Tensor) -> Tensor:
        return torch.stack((values, 1 - values))

    return FusedInformation(_FIXED, 2, shares, torch.sum, None)(_IMAGE)


def _regularisers() -> Tensor:
    smoothness = gradient_magnitude_fused(_DISPLACEMENT, (1.0, 1.0, 1.0))
    return smoothness + jacobian_barrier_fused(_DISPLACEMENT, 1.0, True)


def _resized_sampling() -> Tensor:
    return pull_back_resized_fused(_FIXED, _DISPLACEMENT, True).mean()


def _sampling() -> Tensor:
    return pull_back_fused(_IMAGE, _DISPLACEMENT, True).mean()


def _smoothing() -> None:
    average_fused(_FIXED, [torch.ones(1)] * 3, True, False)


def _folding() -> None:
    folds_fused(_DISPLACEMENT.detach(), 0.0)


_STEPS: dict[Callable[[], Tensor | None], float] = {
    _resized_sampling: 41.0,
    _sampling: 27.5,
    _mind: 23.7,
    _gradient_fields: 13.6,
    _regularisers: 9.4,
    _mutual_information: 9.2,
    _smoothing: 8.6,
    _folding: 6.2,
    _correlation: 5.8,
}
"""What calls the kernels of a loss, of its gradient or of something else, with the seconds that
their compilation took, as means of two processors. They serve as weights, so that a slower
processor does not spoil the estimate of the time that is left. No two steps share a kernel, so
processes that compile different steps write different files. The longest come first, so that all
processes end at about the same time.
"""


def compile_all(tell: Callable[[str], object] = lambda message: None) -> None:
    """Call each kernel once on a tiny image, which compiles it, and mark that this was done.

    Several processes share the work, as many as numba may use threads.

    Args:
        tell: called after each step with what is done and how long the rest is likely to take.
    """
    begun, weights = time.monotonic(), list(_STEPS.values())
    workers = min(len(weights), numba.config.NUMBA_NUM_THREADS)
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(workers, fork, die_with_parent, (os.getpid(),)) as pool:
        steps = {pool.submit(_compile, number): weight for number, weight in enumerate(weights)}
        done = spent = 0.0
        for step in as_completed(list(steps)):
            done += steps.pop(step)
            spent += step.result()
            left = seconds_left(weights, workers, spent / done, time.monotonic() - begun)
            if steps:
                tell(f"{done / sum(weights):.0%} done, about {left:.0f} seconds left")
    if mark := compiled_mark():
        mark.touch()


def _compile(number: int) -> float:
    """Call the kernels of a step, and return how many seconds that took."""
    begun = time.monotonic()
    loss = list(_STEPS)[number]()
    if loss is not None:
        loss.backward()
    return time.monotonic() - begun


def seconds_left(
    weights: Sequence[float], workers: int, seconds_per_weight: float, elapsed: float
) -> float:
    """Return how long steps of such weights are likely to take until all are done, at least 0.

    Args:
        weights: weights of all steps, those that are done included.
        workers: number of processes that share the steps.
        seconds_per_weight: seconds that one process needed for a unit of weight so far.
        elapsed: seconds since the first step began.
    """
    whole = seconds_per_weight * max(sum(weights) / workers, *weights)
    return max(whole - elapsed, 0.0)


def compile_once() -> None:
    """Compile every kernel, unless another process has done so or is doing so: wait for it then.

    Jobs of a cluster start at the same time, and each would compile for minutes.
    """
    mark = compiled_mark()
    if mark is None:
        compile_all(_say)
        return
    mark.parent.mkdir(parents=True, exist_ok=True)
    with (mark.parent / "compiling.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            compile_all(_say)


def _say(message: str) -> None:
    print(message, flush=True)


if __name__ == "__main__":
    if numba.config.DISABLE_JIT:
        raise SystemExit(
            "diffeode: NUMBA_DISABLE_JIT is set, so no kernel can be compiled; unset it."
        )
    compile_once()
