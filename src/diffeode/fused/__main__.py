"""``python -m diffeode.fused``: compile every kernel now, so that no registration waits for it."""

import torch

from diffeode.fused.compiler import compiled_mark
from diffeode.fused.correlation import FusedCorrelation
from diffeode.fused.gradient_fields import FusedGradientFields
from diffeode.fused.mind import mind_ssc_descriptor, mind_ssc_difference
from diffeode.fused.mutual_information import FusedInformation
from diffeode.fused.sampling import pull_back_fused, pull_back_resized_fused

_SIZE = (8, 8, 8)


def compile_all() -> None:
    """Call each kernel once on a tiny image; mark that it was done."""
    image = torch.rand(1, 1, *_SIZE, requires_grad=True)
    displacement = torch.rand(1, 3, *_SIZE, requires_grad=True)
    fixed = torch.rand(1, 1, *_SIZE)
    losses = (
        mind_ssc_difference(image, mind_ssc_descriptor(fixed, 1, 2), 1, 2),
        FusedCorrelation(fixed, fixed, fixed, 3, True, 1e-10, None)(image),
        FusedGradientFields(torch.rand(1, 3, *_SIZE), 1.0, (1.0, 1.0, 1.0), None)(image),
        FusedInformation(fixed, 2, lambda values: torch.stack((values, 1 - values)), torch.sum, None)(image),
        pull_back_fused(image, displacement, True).mean(),
        pull_back_resized_fused(fixed, displacement, True).mean(),
    )
    sum(losses).backward()
    if mark := compiled_mark():
        mark.touch()


if __name__ == "__main__":
    compile_all()
