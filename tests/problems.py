"""Problems with exact answers, shared by the tests."""

import numpy as np
import torch
from scipy.integrate import solve_ivp

from diffeode.flows.smoothing import gaussian
from diffeode.geometry.warp import voxel_centres

GENERATORS = {
    2: np.array([[[0.05, -0.2], [0.15, -0.04]], [[-0.1, 0.05], [0.12, 0.1]]]),
    3: np.array(
        [
            [[0.05, -0.2, 0.02], [0.15, -0.04, 0.06], [-0.03, 0.08, 0.02]],
            [[-0.1, 0.05, 0.1], [0.12, 0.1, -0.02], [0.07, -0.1, 0.03]],
        ]
    ),
}
"""``A(0)`` and ``A(1)`` of linear fields in two and three dimensions; they do not commute."""
_SIDE = 21


def linear_field(generator: np.ndarray) -> torch.Tensor:
    """Return ``x -> A (x - c)`` on a grid of 21 voxels a side with centre ``c``; linear
    interpolation is exact for it.
    """
    points = (
        voxel_centres((_SIDE,) * len(generator), torch.zeros(1, dtype=torch.float64)) - _SIDE // 2
    )
    return torch.einsum("ij,bj...->bi...", torch.from_numpy(generator), points)


def linear_velocity(dimensions: int, knots: int = 1) -> torch.Tensor:
    """``v(t, x) = A(t) (x - c)``, ``A`` constant (one knot) or linear in time (two)."""
    return torch.cat([linear_field(generator) for generator in GENERATORS[dimensions][:knots]])


def linear_displacement(dimensions: int, knots: int = 1) -> torch.Tensor:
    """Displacement of the flow of :func:`linear_velocity` at time 1."""
    first, last = GENERATORS[dimensions][0], GENERATORS[dimensions][knots - 1]

    def slope(time, flat):
        return ((first + time * (last - first)) @ flat.reshape(dimensions, dimensions)).ravel()

    found = solve_ivp(slope, (0, 1), np.eye(dimensions).ravel(), "DOP853", rtol=1e-13, atol=1e-15)
    return linear_field(found.y[:, -1].reshape(dimensions, dimensions) - np.eye(dimensions))


def inner(field: torch.Tensor) -> torch.Tensor:
    """Return the voxels whose trajectories stay within the grid, where interpolating a linear field
    is exact.
    """
    return field[(slice(None), slice(None)) + (slice(7, 14),) * (field.dim() - 2)]


def smooth_velocity(size=(24, 28, 20), scale=6.0, seed=0, knots=1, fading=True) -> torch.Tensor:
    """Return smooth noise whose greatest component is ``scale`` voxels; with ``fading`` it is 0 at
    the border.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(knots, len(size), *size, generator=generator, dtype=torch.float64)
    window = torch.ones(1, 1, *size, dtype=torch.float64)
    for axis, n in enumerate(size if fading else ()):
        profile = torch.sin(torch.linspace(0, np.pi, n, dtype=torch.float64)) ** 2
        window = window * profile.view(*[-1 if a == axis + 2 else 1 for a in range(len(size) + 2)])
    field = gaussian(noise, 3.0) * window
    return field * scale / field.abs().max()


def vortex(n: int) -> torch.Tensor:
    """Return a rotation that fades with the radius, which is free of divergence; its flow is the
    same for every ``n`` voxels a side.
    """
    x, y = voxel_centres((n, n), torch.zeros(1, dtype=torch.float64))[0] - (n - 1) / 2
    speed = 0.6 * torch.exp(-(x**2 + y**2) / (2 * (0.17 * n) ** 2))
    return torch.stack([-y * speed, x * speed])[None]


def least_determinant(displacement: np.ndarray) -> float:
    """The least of all one-sided determinants of a map, displacement ``(d, *size)`` in voxels."""
    dimensions = len(displacement)
    least = np.inf
    for sides in np.ndindex(*[2] * dimensions):
        rows = []
        for axis in range(dimensions):
            step = np.diff(displacement, axis=axis + 1)
            window = [slice(None)] + [slice(1, None) if s else slice(None, -1) for s in sides]
            window[axis + 1] = slice(None)
            rows.append(step[tuple(window)])
        gradient = np.moveaxis(np.stack(rows, axis=1), (0, 1), (-2, -1)) + np.eye(dimensions)
        least = min(least, np.linalg.det(gradient).min())
    return float(least)
