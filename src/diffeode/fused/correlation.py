"""Local correlation and its gradient (:mod:`diffeode.losses.correlation`), by running sums.

The sum over the next window is that over the last one, plus the voxel that enters and minus the
voxel that leaves. So the time does not depend on the width of the windows. Each addition and
subtraction leaves a rounding error in the running sum; they are in double precision for that.

The loss depends on the moving image ``M`` through the window sums of ``M``, ``M^2`` and ``F M``
alone, with ``F`` the fixed image. Its gradient is therefore found in three steps: derivatives by
these three sums at every voxel, their sums over windows again (the transpose of a window sum is a
window sum), and the chain rule at each voxel.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numba import prange
from torch import Tensor

from diffeode.fused.compiler import inlined, kernel
from diffeode.fused.gradient import with_gradient


@final
class FusedCorrelation:
    """The loss ``moving -> 1 - mean cc^2``, or ``1 - mean cc`` where it is not ``squared``.

    Mean and variance of the fixed image in its windows are computed once.

    Args:
        fixed: the fixed image, ``(1, 1, X, Y, Z)``, float32, on the CPU. Its mean, and that of the
            moving images, should be near 0.
        window: the width of the windows, voxels, odd.
        floor: what is added to the variances and to the covariance of a window.
        mask: the weights of the voxels; None: all alike.
    """

    def __init__(
        self,
        fixed: Tensor,
        window: int,
        squared: bool,
        floor: float,
        mask: Tensor | None,
    ) -> None:
        self.fixed = fixed
        self.weights = (torch.ones_like(fixed) if mask is None else mask)[0, 0].contiguous().numpy()
        self.radius, self.squared, self.floor = window // 2, squared, float(floor)
        self.mean, self.variance = _moments(fixed, self.radius)
        self.scale = 1.0 / self.weights.sum(dtype=np.float64)

    def __call__(self, moving: Tensor) -> Tensor:
        return with_gradient(moving, self.value_and_gradient)

    def value_and_gradient(self, moving: Tensor) -> tuple[float, Tensor]:
        """Return the loss and its gradient with respect to ``moving``."""
        products = torch.cat((moving, moving * moving, self.fixed * moving), dim=1)[0].numpy()
        sums = np.empty_like(products)
        _plane_sums(products, self.radius, sums)
        value = _correlate(
            sums,
            self.mean,
            self.variance,
            self.weights,
            self.radius,
            self.squared,
            self.floor,
            self.scale,
            products,
        )
        _plane_sums(products, self.radius, sums)
        by_mean, by_square, by_product = torch.from_numpy(
            _sums_of_planes(sums, self.radius, products)
        )
        gradient = by_mean + 2 * moving * by_square + self.fixed * by_product
        return 1 - value * self.scale, gradient


def _moments(image: Tensor, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and variance of ``image (1, 1, X, Y, Z)`` in its windows, ``(X, Y, Z)`` each.

    Voxels of a window beyond the image are not counted.
    """
    powers = torch.cat((image, image * image), dim=1)[0].numpy()
    planes = np.empty_like(powers)
    _plane_sums(powers, radius, planes)
    sums = _sums_of_planes(planes, radius, powers)
    counts = np.ones((1, 1, 1))
    for axis, n in enumerate(image.shape[2:]):
        at = np.arange(n)
        inside = np.minimum(at + radius, n - 1) - np.maximum(at - radius, 0) + 1
        counts = counts * np.expand_dims(inside, [a for a in range(3) if a != axis])
    mean, square = sums / counts
    return mean.astype(np.float32), np.maximum(square - mean * mean, 0).astype(np.float32)


@inlined
def _count(i, radius, n):
    """Return the number of voxels of an axis within ``radius`` of the i-th one."""
    return min(n - 1, i + radius) - max(0, i - radius) + 1


@kernel
def _plane_sums(values, radius, sums):
    """Write the sums over the windows of the last two axes to ``sums``."""
    channels, nx, ny, nz = values.shape
    # `total` holds, for each z, the running sum along y; it starts before the first row.
    for x in prange(nx):
        for channel in range(channels):
            total = np.zeros(nz, np.float64)
            for y in range(-radius, ny):
                if y + radius < ny:
                    for z in range(nz):
                        total[z] += values[channel, x, y + radius, z]
                if y - radius - 1 >= 0:
                    for z in range(nz):
                        total[z] -= values[channel, x, y - radius - 1, z]
                if y >= 0:
                    _window_sums(total, radius, sums[channel, x, y])


@inlined
def _window_sums(values, radius, sums):
    """Write the running sums along a row to ``sums``."""
    nz = values.shape[0]
    total = 0.0
    for z in range(min(radius, nz)):
        total += values[z]
    for z in range(nz):
        if z + radius < nz:
            total += values[z + radius]
        if z - radius - 1 >= 0:
            total -= values[z - radius - 1]
        sums[z] = total


@kernel
def _sums_of_planes(planes, radius, sums):
    """Write the sums over the windows of the first axis to ``sums`` and return it.

    The running sum follows the first axis, so threads share the second axis.
    """
    channels, nx, ny, nz = planes.shape
    for y in prange(ny):
        total = np.zeros((channels, nz), np.float64)
        for x in range(-radius, nx):
            _roll(planes, x, y, radius, total)
            if x >= 0:
                for channel in range(channels):
                    for z in range(nz):
                        sums[channel, x, y, z] = total[channel, z]
    return sums


@inlined
def _roll(planes, x, y, radius, total):
    channels, nx, _ny, nz = planes.shape
    for channel in range(channels):
        if x + radius < nx:
            for z in range(nz):
                total[channel, z] += planes[channel, x + radius, y, z]
        if x - radius - 1 >= 0:
            for z in range(nz):
                total[channel, z] -= planes[channel, x - radius - 1, y, z]


@kernel
def _correlate(planes, mean_f, variance_f, weights, radius, squared, floor, scale, slopes):
    """Return the weighted sum of the correlations; write the derivatives of the loss to ``slopes``.

    ``planes`` holds the window sums over the last two axes. Those over the first axis are summed
    here, row by row, and never written to memory. In ``planes`` and in ``slopes`` the three
    channels belong to the moving image, to its square and to its product with the fixed image;
    ``slopes`` holds the derivatives of the loss by the three window sums.
    """
    channels, nx, ny, nz = planes.shape
    totals = np.zeros(ny, np.float64)
    for y in prange(ny):
        total = np.zeros((channels, nz), np.float64)
        for x in range(-radius, nx):
            _roll(planes, x, y, radius, total)
            if x < 0:
                continue
            columns = _count(x, radius, nx) * _count(y, radius, ny)
            for z in range(nz):
                share = 1.0 / (columns * _count(z, radius, nz))  # one over the voxels of the window
                mean_m = total[0, z] * share
                cross = total[2, z] * share - mean_f[x, y, z] * mean_m
                variance_m = max(total[1, z] * share - mean_m * mean_m, 0.0)
                # The correlation, and its derivatives by the covariance and by the variance of the
                # moving image. Squared, it depends on the covariance by its absolute value.
                product = (variance_f[x, y, z] + floor) * (variance_m + floor)
                if squared:
                    size = abs(cross) + floor
                    correlation = size * size / product
                    by_cross = np.copysign(2 * size / product, cross)
                    by_variance = -correlation / (variance_m + floor)
                else:
                    correlation = (cross + floor) / np.sqrt(product)
                    by_cross = 1 / np.sqrt(product)
                    by_variance = -0.5 * correlation / (variance_m + floor)
                # A variance that was clamped at 0 does not change with the image.
                if variance_m == 0.0:
                    by_variance = 0.0
                totals[y] += weights[x, y, z] * correlation
                # The variance is the mean square less the squared mean, and the covariance the mean
                # product less the product of the means; so both depend on the mean.
                outer = -weights[x, y, z] * scale * share
                slopes[0, x, y, z] = outer * (
                    -mean_f[x, y, z] * by_cross - 2 * mean_m * by_variance
                )
                slopes[1, x, y, z] = outer * by_variance
                slopes[2, x, y, z] = outer * by_cross
    return totals.sum()
