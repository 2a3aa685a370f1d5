"""Compile every kernel now, so that no registration waits for it: ``python -m diffeode.fused``."""

import fcntl
import time
from collections.abc import Callable

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
    _mind: 22.3,
    _correlation: 5.7,
    _gradient_fields: 14.0,
    _mutual_information: 9.5,
    _regularisers: 8.7,
    _resized_sampling: 45.9,
    _sampling: 29.5,
    _folding: 6.1,
    _smoothing: 10.0,
}
"""What calls the kernels of a loss, of its gradient or of something else, with the seconds that
their compilation took in a run of two and a half minutes. They serve as weights, so that a slower
processor does not spoil the estimate of the time that is left.
"""


def compile_all(tell: Callable[[str], object] = lambda message: None) -> None:
    """Call each kernel once on a tiny image, which compiles it, and mark that this was done.

    Args:
        tell: called after each step with what is done and how long the rest is likely to take.
    """
    begun, steps = time.monotonic(), list(_STEPS.items())
    for number, (step, _) in enumerate(steps, start=1):
        if (loss := step()) is not None:
            loss.backward()
        done, ahead = (
            sum(weight for _, weight in some) for some in (steps[:number], steps[number:])
        )
        left = (time.monotonic() - begun) * ahead / done
        if ahead:
            tell(f"{done / (done + ahead):.0%} done, about {left:.0f} seconds left")
    if mark := compiled_mark():
        mark.touch()


def compile_once() -> None:
    """Compile every kernel, unless another process has done so or is doing so: wait for it then.

    Jobs of a cluster start at the same time, and each would compile for two minutes.
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
