"""The divergence of a normal distribution over velocities from a prior that favours smooth ones."""

from __future__ import annotations

from torch import Tensor

from diffeode.geometry.shapes import DisplacementTensor, LossTensor, VelocityTensor
from diffeode.losses.regularisers import gradient_magnitude


def divergence_from_smooth(
    mean: VelocityTensor, log_variance: VelocityTensor, precision: float
) -> LossTensor:
    """Return the Kullback-Leibler divergence of a velocity's distribution from a smooth prior.

    The distribution is ``N(mean, diag(exp(log_variance)))`` and the prior is ``N(0, (precision
    L)^-1)``, where ``L`` is the graph Laplacian of the grid. The result is the divergence divided
    by the number of voxels; constants are left out, the determinant of ``L`` among them (Dalca et
    al., MICCAI 2018, equation 4).

    Args:
        mean, log_variance: stationary velocities, ``(1, d, *size)``.
        precision: how strongly the prior favours smooth velocities.
    """
    dimensions = mean.dim() - 2
    trace = (precision * _neighbours(mean) * log_variance.exp() - log_variance).mean()
    return 0.5 * dimensions * (trace + precision * gradient_magnitude(mean))


def _neighbours(field: DisplacementTensor) -> Tensor:
    """Return the number of neighbours of each voxel, ``(1, 1, *size)``.

    This is the diagonal of the graph Laplacian; voxels at the border have fewer neighbours.
    """
    count = field.new_zeros((1, 1, *field.shape[2:]))
    for axis in range(2, field.dim()):
        n = field.shape[axis]
        count.narrow(axis, 1, n - 1).add_(1)
        count.narrow(axis, 0, n - 1).add_(1)
    return count
