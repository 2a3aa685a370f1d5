"""Compile every kernel now, so that no registration waits for it: ``python -m diffeode.fused``."""

import fcntl

import numba
import torch

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


def compile_all() -> None:
    """Call each kernel once on a tiny image, which compiles it, and mark that this was done."""
    image = torch.rand(1, 1, *_SIZE, requires_grad=True)
    displacement = torch.rand(1, 3, *_SIZE, requires_grad=True)
    fixed = torch.rand(1, 1, *_SIZE)
    losses = (
        mind_ssc_difference(image, mind_ssc_descriptor(fixed, 1, 2), 1, 2),
        FusedCorrelation(fixed, 3, True, 1e-10, None)(image),
        FusedGradientFields(torch.rand(1, 3, *_SIZE), 1.0, (1.0, 1.0, 1.0), None)(image),
        FusedInformation(
            fixed, 2, lambda values: torch.stack((values, 1 - values)), torch.sum, None
        )(image),
        gradient_magnitude_fused(displacement, (1.0, 1.0, 1.0)),
        jacobian_barrier_fused(displacement, 1.0, True),
        pull_back_fused(image, displacement, True).mean(),
        pull_back_resized_fused(fixed, displacement, True).mean(),
    )
    sum(losses).backward()
    folds_fused(displacement.detach(), 0.0)
    average_fused(fixed, [torch.ones(1)] * 3, True, False)
    if mark := compiled_mark():
        mark.touch()


def compile_once() -> None:
    """Compile every kernel, unless another process has done so or is doing so: wait for it then.

    Jobs of a cluster start at the same time, and each would compile for two minutes.
    """
    mark = compiled_mark()
    if mark is None:
        compile_all()
        return
    mark.parent.mkdir(parents=True, exist_ok=True)
    with (mark.parent / "compiling.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not mark.exists():
            compile_all()


if __name__ == "__main__":
    if numba.config.DISABLE_JIT:
        raise SystemExit(
            "diffeode: NUMBA_DISABLE_JIT is set, so no kernel can be compiled; unset it."
        )
    compile_once()
