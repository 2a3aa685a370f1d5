"""Flows of stationary velocity fields: ``d phi / dt = v(phi)``, ``phi(0) = id``, taken at ``t = 1``.

All fields are ``(N, d, *size)`` in voxels of their own grid and unit time; the flow of ``-v`` is the inverse.
"""

from __future__ import annotations

from torch import Tensor

from diffeode.warp import compose, pull_back


def exponential(velocity: Tensor, squarings: int) -> Tensor:
    """Displacement of ``exp(v)`` by scaling and squaring: ``exp(v) = exp(v / 2^n)^(2^n)``.

    Arsigny et al., MICCAI 2006, algorithm 2.
    """
    displacement = velocity * 2.0**-squarings
    for _ in range(squarings):
        displacement = compose(displacement, displacement)
    return displacement


def euler(velocity: Tensor, steps: int, step_size: float) -> Tensor:
    """Displacement after ``steps`` explicit Euler steps ``phi <- phi + h v(phi)`` (arXiv 2512.22689, equation 8)."""
    displacement = velocity * step_size
    for _ in range(steps - 1):
        displacement = displacement + step_size * pull_back(velocity, displacement, padding="border")
    return displacement
