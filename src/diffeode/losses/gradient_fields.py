"""Normalised gradient fields: edges should lie in one place and be parallel, whatever their sign.

Haber and Modersitzki, Methods of Information in Medicine 46(3), 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from diffeode.fused.compiler import serves
from diffeode.fused.gradient_fields import FusedGradientFields
from diffeode.geometry.shapes import ChannelsTensor, ImageTensor, LossTensor, MaskTensor
from diffeode.losses.average import weighted_mean

_TINY = 1e-12
"""A number far below any squared gradient that matters. It keeps square roots differentiable, and
quotients finite where an image is flat.
"""


def normalised_gradient_fields_to(
    fixed: ImageTensor,
    eta: float = 1.0,
    spacing: Sequence[float] | None = None,
    mask: MaskTensor | None = None,
) -> Callable[[ImageTensor], LossTensor]:
    """Return the loss ``moving -> 1 - mean <n_fixed, n_moving>^2``.

    The normalised gradient of an image ``I`` is ``n = grad I / sqrt(|grad I|^2 + edge^2)``.
    Gradients weaker than ``edge`` count as noise. Each image has an ``edge`` of its own, ``eta``
    times the mean length of its gradient over ``mask``, so multiplying an image by a number does
    not change the loss.

    The loss is not 0 for equal images, because ``<n, n>`` comes close to 1 only at strong edges.

    Args:
        eta: ``edge`` in units of an image's mean gradient.
        spacing: the spacing of the grid, mm, by which angles are those in space; None takes all
            axes alike.
        mask: the voxels that count; None: all.

    >>> fixed = torch.rand(1, 1, 12, 12, dtype=torch.float64)
    >>> loss = normalised_gradient_fields_to(fixed)
    >>> torch.allclose(loss(fixed), loss(3 - 2 * fixed))
    True
    """
    target = _normalised_gradient(fixed, eta, spacing, mask).detach()
    if serves(fixed):
        return FusedGradientFields(target, eta, spacing or (1.0, 1.0, 1.0), mask)

    def loss(moving: ImageTensor) -> LossTensor:
        normalised = _normalised_gradient(moving, eta, spacing, mask)
        cosine = (normalised * target).sum(dim=1, keepdim=True)
        return 1 - weighted_mean(cosine * cosine, mask)

    return loss


def _normalised_gradient(
    image: ImageTensor, eta: float, spacing: Sequence[float] | None, mask: MaskTensor | None
) -> ChannelsTensor:
    """Return the normalised gradient, ``(1, d, *size)``.

    Derivatives are central differences, and one-sided differences at the border.
    """
    axes = list(range(2, image.dim()))
    gradient = torch.cat(
        torch.gradient(image, spacing=list(spacing or [1.0] * len(axes)), dim=axes), dim=1
    )
    squared = (gradient * gradient).sum(dim=1, keepdim=True)
    edge = eta * weighted_mean(torch.sqrt(squared + _TINY), mask)
    return gradient / torch.sqrt(squared + edge * edge + _TINY)
