"""The distance between landmarks under a map."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from diffeode.geometry.shapes import DisplacementTensor, LossTensor
from diffeode.geometry.warp import sample_at


def landmark_distance_to(
    fixed: Tensor, moving: Tensor, to_mm: Tensor
) -> Callable[[DisplacementTensor], LossTensor]:
    """Return the loss ``displacement -> mean |to_mm (fixed + displacement - moving)|^2``, mm^2.

    Beyond the grid of the displacement, its values at the border hold.

    Args:
        fixed, moving: the places of the same landmarks, in voxels of the grid of the displacement,
            ``(d, N)`` each.
        to_mm: the matrix ``(k, d)`` from differences in voxels to mm.

    >>> import torch
    >>> here, there = torch.tensor([[1.0], [1.0]]), torch.tensor([[2.0], [3.0]])
    >>> loss = landmark_distance_to(here, there, 2 * torch.eye(2))
    >>> [loss(torch.full((1, 2, 4, 4), shift)).item() for shift in (0.0, 1.0)]
    [20.0, 4.0]
    """
    dimensions = len(fixed)
    points = fixed.reshape(1, dimensions, -1, *[1] * (dimensions - 1))

    def loss(displacement: DisplacementTensor) -> LossTensor:
        moved = sample_at(displacement, points, padding="border").reshape(dimensions, -1)
        return (to_mm @ (fixed + moved - moving)).square().sum(0).mean()

    return loss
