"""What a velocity is: ``(K, d, *size)``, K knots equally spaced over the time of integration,
linear in between.

One knot is a stationary field. Voxels of its own grid per unit time; channel ``a`` along array axis
``a``.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from diffeode.geometry.warp import pull_back
from diffeode.losses.regularisers import magnitude


def zero_velocity(size: Sequence[int], like: Tensor, knots: int = 1) -> Tensor:
    """A velocity at rest, ``(knots, d, *size)``."""
    return torch.zeros(knots, len(size), *size, device=like.device, dtype=like.dtype)


def at_time(velocity: Tensor, fraction: float) -> Tensor:
    """The field ``(1, d, *size)`` that acts after ``fraction`` of the whole time, 0 to 1."""
    last = velocity.shape[0] - 1
    if last == 0:
        return velocity
    before = min(int(fraction * last), last - 1)
    return torch.lerp(
        velocity[before : before + 1], velocity[before + 1 : before + 2], fraction * last - before
    )


def velocity_along(velocity: Tensor, fraction: float, displacement: Tensor | None) -> Tensor:
    """``v(t, x + u(x))`` after ``fraction`` of the time, ``(1, d, *size)``; at rest, where u is
    None, read off.
    """
    field = at_time(velocity, fraction)
    return field if displacement is None else pull_back(field, displacement, padding="border")


def reverse(velocity: Tensor) -> Tensor:
    """The velocity whose flow leads back: the opposite one, run backward in time."""
    return -velocity.flip(0)


def kinetic_energy(velocity: Tensor) -> Tensor:
    """Mean over voxels and time of the squared length, arXiv 2512.22689 equation 12 where there is
    one knot.
    """
    if velocity.shape[0] == 1:
        return magnitude(velocity)
    # Between knots the square of a linear function is integrated without error by Simpson's rule.
    before, after = velocity[:-1], velocity[1:]
    return (magnitude(before) + 4 * magnitude((before + after) / 2) + magnitude(after)) / 6


def squared_change(velocity: Tensor, time: float, spacing: Sequence[float]) -> Tensor:
    """Mean over voxels and time of the squared derivative of the velocity in time, ``|dv/dt|^2`` at
    a fixed place, mm^2 per unit time to the fourth; 0 where there is one knot.

    Args:
        time: how long the velocity acts.
        spacing: of its grid, mm, by axis.
    """
    intervals = velocity.shape[0] - 1
    if intervals == 0:
        return velocity.new_zeros(())
    scale = velocity.new_tensor(spacing).view(1, -1, *[1] * (velocity.dim() - 2))
    return magnitude((velocity[1:] - velocity[:-1]) * scale * (intervals / time))


def still_border(field: Tensor) -> Tensor:
    """``field (N, C, *size)``, zero on the outermost voxels: where nothing flows in or out (NODEO,
    figure 1).
    """
    inside = torch.zeros(field.shape[2:], device=field.device, dtype=field.dtype)
    inside[(slice(1, -1),) * inside.dim()] = 1
    return field * inside
