"""Normalised gradient fields: edges that point the same way, or the opposite one.

Haber and Modersitzki, Methods of Information in Medicine 46(3), 2007.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from diffeode.fused.compiler import serves
from diffeode.fused.gradient_fields import FusedGradientFields
from diffeode.losses.average import weighted_mean

_TINY = 1e-12
"""Below any squared gradient that matters; keeps square roots differentiable and flat images
finite.
"""


def normalised_gradient_fields_to(
    fixed: Tensor,
    eta: float = 1.0,
    spacing: Sequence[float] | None = None,
    mask: Tensor | None = None,
) -> Callable[[Tensor], Tensor]:
    """The loss ``moving -> 1 - mean <n_fixed, n_moving>^2`` with ``n = grad I / sqrt(|grad I|^2 +
    edge^2)``.

    The edge parameter of either image is ``eta`` times its own mean gradient magnitude over
    ``mask``: weaker slopes count as noise. Each image has its own, so the loss does not change with
    the gain of either. It is not 0 for equal
    images: ``<n, n>`` nears 1 only at strong edges.

    Args:
        fixed: ``(1, 1, *size)``.
        spacing: of the grid, mm, so that angles are those of space; None: all axes alike.
    """
    target = _normalised_gradient(fixed, eta, spacing, mask).detach()
    if serves(fixed):
        return FusedGradientFields(target, eta, spacing or (1.0, 1.0, 1.0), mask)

    def loss(moving: Tensor) -> Tensor:
        cosine = (_normalised_gradient(moving, eta, spacing, mask) * target).sum(
            dim=1, keepdim=True
        )
        return 1 - weighted_mean(cosine * cosine, mask)

    return loss


def _normalised_gradient(
    image: Tensor, eta: float, spacing: Sequence[float] | None, mask: Tensor | None
) -> Tensor:
    """``(1, d, *size)``, by central differences; one-sided at the border."""
    axes = list(range(2, image.dim()))
    gradient = torch.cat(
        torch.gradient(image, spacing=list(spacing or [1.0] * len(axes)), dim=axes), dim=1
    )
    squared = (gradient * gradient).sum(dim=1, keepdim=True)
    edge = eta * weighted_mean(torch.sqrt(squared + _TINY), mask)
    return gradient / torch.sqrt(squared + edge * edge + _TINY)
