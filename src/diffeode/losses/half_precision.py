"""Comparing descriptors in half precision, in less memory and traffic, for descriptors that can
stand it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffeode.fused.gradient import with_gradient

_BRIGHTEST = 100.0
"""What the image's greatest intensity becomes: half precision then tells its squared differences
apart well from those of one ten-thousandth of it, and has numbers for those of twice all of it."""


def half_precision_difference(
    describe: Callable[[Tensor], Tensor], fixed: Tensor, mask: Tensor | None = None
) -> Callable[[Tensor], Tensor]:
    """Mean squared difference of the descriptors of ``fixed`` and of an image, both ``(1, 1,
    *size)``.

    Sums over voxels, and the gradient with respect to the image, are of the images' own precision.
    The gradient is found with the value, and nothing else is kept for it.

    Args:
        describe: makes descriptors in half precision, and the same ones of an image multiplied by a
            number; MIND does.
        mask: weights of voxels, ``(1, 1, *size)`` in [0, 1]; None: all alike.
    """
    with torch.no_grad():
        target = describe(_brightened(fixed))
        weights = None if mask is None else mask.half()
        count = target.shape[1] * (fixed.numel() if mask is None else mask.sum())

    def value_and_gradient(image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            seen = image.requires_grad_()
            squares = (describe(_brightened(seen)) - target).square()
            # Of the sum, not of the mean: divided by millions of voxels, slopes would vanish in
            # half precision.
            total = (squares if weights is None else squares * weights).sum(dtype=image.dtype)
            (slope,) = torch.autograd.grad(total, seen)
        return total.detach() / count, slope / count

    return lambda image: with_gradient(image, value_and_gradient)


def _brightened(image: Tensor) -> Tensor:
    greatest = image.detach().abs().amax().clamp(min=torch.finfo(image.dtype).tiny * _BRIGHTEST)
    return image * (_BRIGHTEST / greatest)
