"""How far a normal distribution over velocities is from a prior of smooth ones."""

from __future__ import annotations

from torch import Tensor

from diffeode.losses.regularisers import gradient_magnitude


def divergence_from_smooth(mean: Tensor, log_variance: Tensor, precision: float) -> Tensor:
    """Kullback-Leibler divergence a voxel of ``N(mean, diag(exp(log_variance)))`` from ``N(0,
    (precision L)^-1)``.

    ``L`` is the graph Laplacian of the grid. Constants, the determinant of ``L`` among them, are
    left out. Dalca et al., MICCAI 2018, equation 4.

    Args:
        mean, log_variance: ``(1, d, *size)``.
    """
    dimensions = mean.dim() - 2
    trace = (precision * _neighbours(mean) * log_variance.exp() - log_variance).mean()
    return 0.5 * dimensions * (trace + precision * gradient_magnitude(mean))


def _neighbours(field: Tensor) -> Tensor:
    """How many neighbours each voxel has, ``(1, 1, *size)``: the diagonal of the Laplacian."""
    count = field.new_zeros((1, 1, *field.shape[2:]))
    for axis in range(2, field.dim()):
        n = field.shape[axis]
        count.narrow(axis, 1, n - 1).add_(1)
        count.narrow(axis, 0, n - 1).add_(1)
    return count
