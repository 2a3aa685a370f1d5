"""Operations on velocities; :data:`diffeode.geometry.shapes.VelocityTensor` says what one is."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffeode.geometry.shapes import (
    ChannelsTensor,
    DisplacementTensor,
    LossTensor,
    VelocityTensor,
)
from diffeode.geometry.warp import pull_back
from diffeode.losses.regularisers import magnitude


def zero_velocity(size: Sequence[int], like: Tensor, knots: int = 1) -> VelocityTensor:
    """Return the velocity that is 0 everywhere, ``(knots, d, *size)``.

    Args:
        like: the result has its device and dtype.
    """
    return torch.zeros(knots, len(size), *size, device=like.device, dtype=like.dtype)


def at_time(velocity: VelocityTensor, fraction: float) -> VelocityTensor:
    """Return the field ``(1, d, *size)`` that acts after ``fraction`` of the whole time, 0 to 1.

    >>> faster = torch.stack([torch.zeros(1, 3), torch.ones(1, 3)])
    >>> at_time(faster, 0.25).tolist()
    [[[0.25, 0.25, 0.25]]]
    """
    last = velocity.shape[0] - 1
    if last == 0:
        return velocity
    before = min(int(fraction * last), last - 1)
    return torch.lerp(
        velocity[before : before + 1], velocity[before + 1 : before + 2], fraction * last - before
    )


def velocity_along(
    velocity: VelocityTensor, fraction: float, displacement: DisplacementTensor | None
) -> VelocityTensor:
    """Return ``v(t, x + u(x))``, ``(1, d, *size)``: the velocity where the points have come.

    Args:
        fraction: the part of the whole time that has gone by, 0 to 1.
        displacement: ``u``; None is 0, for which nothing need be interpolated.
    """
    field = at_time(velocity, fraction)
    return field if displacement is None else pull_back(field, displacement, padding="border")


def reverse(velocity: VelocityTensor) -> VelocityTensor:
    """Return the velocity whose flow is the inverse: the opposite one, run backward in time.

    >>> reverse(torch.tensor([[[1.0]], [[3.0]]])).flatten().tolist()
    [-3.0, -1.0]
    """
    return -velocity.flip(0)


def kinetic_energy(velocity: VelocityTensor) -> LossTensor:
    """Return the mean over voxels and time of the squared length of the velocity.

    With one knot this is equation 12 of arXiv 2512.22689.

    >>> speeds = torch.tensor([0.0, 3.0]).view(2, 1, 1)
    >>> kinetic_energy(speeds).item()
    3.0
    """
    if velocity.shape[0] == 1:
        return magnitude(velocity)
    # Between two knots the velocity is linear in time. Simpson's rule integrates its square, a
    # polynomial of degree 2, without error.
    before, after = velocity[:-1], velocity[1:]
    return (magnitude(before) + 4 * magnitude((before + after) / 2) + magnitude(after)) / 6


def squared_change(velocity: VelocityTensor, time: float, spacing: Sequence[float]) -> LossTensor:
    """Return the mean over voxels and time of the squared derivative of the velocity in time,
    ``|dv/dt|^2`` at a fixed place, mm^2 per unit time to the fourth.

    It is 0 where there is one knot.

    Args:
        time: the length of the time for which the velocity acts.
        spacing: the spacing of its grid along each axis, mm.
    """
    intervals = velocity.shape[0] - 1
    if intervals == 0:
        return velocity.new_zeros(())
    scale = velocity.new_tensor(spacing).view(1, -1, *[1] * (velocity.dim() - 2))
    return magnitude((velocity[1:] - velocity[:-1]) * scale * (intervals / time))


def still_border(field: ChannelsTensor) -> ChannelsTensor:
    """Return ``field`` with its outermost voxels set to 0, so that nothing flows in or out.

    This is the boundary condition that NODEO shows in its figure 1 (Wu et al., CVPR 2022).
    """
    inside = torch.zeros(field.shape[2:], device=field.device, dtype=field.dtype)
    inside[(slice(1, -1),) * inside.dim()] = 1
    return field * inside
