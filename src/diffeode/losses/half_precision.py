"""The difference of descriptors in half precision, which takes half the memory on a GPU.

It suits descriptors that do not change when the image is multiplied by a number, as MIND.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from diffeode.fused.gradient import with_gradient
from diffeode.geometry.shapes import ChannelsTensor, ImageTensor, LossTensor, MaskTensor

_BRIGHTEST = 100.0
"""The greatest intensity of an image after scaling.

Half precision has numbers up to 65,504 and keeps its full precision down to 6e-5. The largest
squared difference, of an intensity of 100 from one of -100, is 40,000, and differences as small as
a ten-thousandth of the greatest intensity still have a square above 6e-5.
"""


def half_precision_difference(
    describe: Callable[[ImageTensor], ChannelsTensor],
    fixed: ImageTensor,
    mask: MaskTensor | None = None,
) -> Callable[[ImageTensor], LossTensor]:
    """Return the loss ``image -> mean squared difference of its descriptor to that of fixed``.

    The sum over voxels and the gradient with respect to the image have the precision of the images.
    The gradient is computed together with the value, and nothing else is kept for it.

    Args:
        describe: a function that makes descriptors in half precision, the same ones when the image
            is multiplied by a number.
        mask: the weights of the voxels; None: all alike.
    """
    with torch.no_grad():
        target = describe(_brightened(fixed))
        weights = None if mask is None else mask.half()
        count = target.shape[1] * (fixed.numel() if mask is None else mask.sum())

    def value_and_gradient(image: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            seen = image.requires_grad_()
            squares = (describe(_brightened(seen)) - target).square()
            # The gradient is that of the sum and is divided by the number of voxels afterwards: a
            # slope divided by millions would be 0 in half precision.
            total = (squares if weights is None else squares * weights).sum(dtype=image.dtype)
            (slope,) = torch.autograd.grad(total, seen)
        return total.detach() / count, slope / count

    return lambda image: with_gradient(image, value_and_gradient)


def _brightened(image: ImageTensor) -> ImageTensor:
    """Return ``image`` scaled so that its greatest absolute intensity is ``_BRIGHTEST``."""
    greatest = image.detach().abs().amax().clamp(min=torch.finfo(image.dtype).tiny * _BRIGHTEST)
    return image * (_BRIGHTEST / greatest)
