"""Normalised gradient fields and their gradient (:mod:`diffeode.losses.gradient_fields`).

The edge parameter is a mean over the whole image, so it takes a pass of its own, before that of the
loss. The derivative by the edge is known only after the loss, so a third pass adds what every voxel
contributes to the edge. A fourth one takes the derivatives by the image's gradient back to the
image. That gradient is computed again in each pass, row by row, and never written to memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from numba import prange
from torch import Tensor

from diffeode.fused.compiler import inlined, kernel
from diffeode.fused.gradient import with_gradient

_TINY = np.float32(1e-12)
"""The same number as in :mod:`diffeode.losses.gradient_fields`."""


@final
class FusedGradientFields:
    """The loss ``moving -> 1 - mean <n_fixed, n_moving>^2``.

    Args:
        target: the normalised gradient of the fixed image, ``(1, 3, X, Y, Z)``, float32, CPU.
        eta: the edge parameter in units of the moving image's mean gradient.
        spacing: the spacing of the grid along each axis, mm.
        mask: the weights of the voxels, ``(1, 1, X, Y, Z)``; None: all alike.
    """

    def __init__(
        self, target: Tensor, eta: float, spacing: Sequence[float], mask: Tensor | None
    ) -> None:
        self.target = target[0].contiguous().numpy()
        weights = torch.ones_like(target[:, :1]) if mask is None else mask
        self.weights = weights[0, 0].contiguous().numpy()
        self.eta, self.spacing = float(eta), np.array(spacing, np.float64)
        self.scale = 1.0 / self.weights.sum(dtype=np.float64)

    def __call__(self, moving: Tensor) -> Tensor:
        return with_gradient(moving, self.value_and_gradient)

    def value_and_gradient(self, moving: Tensor) -> tuple[float, Tensor]:
        """Return the loss and its gradient with respect to ``moving``."""
        image = moving[0, 0].contiguous().numpy()
        edge = self.eta * self.scale * _sum_of_slopes(image, self.spacing, self.weights)
        slopes = np.empty_like(self.target)
        value, by_edge = _align(
            image,
            self.spacing,
            self.weights,
            self.target,
            np.float32(edge),
            np.float32(self.scale),
            slopes,
        )
        _add_edge(
            image, self.spacing, self.weights, np.float32(by_edge * self.eta * self.scale), slopes
        )
        gradient = np.empty_like(image)
        _difference_back(slopes, self.spacing, gradient)
        return 1 - value * self.scale, torch.from_numpy(gradient)[None, None]


@inlined
def _gain(i, n, step):
    """Return one over the distance between the two voxels of the difference at voxel ``i``.

    These are the two neighbours, or at the border the voxel itself and its neighbour.
    """
    return np.float32(1.0 / ((min(i + 1, n - 1) - max(i - 1, 0)) * step))


@inlined
def _gradient_row(image, x, y, spacing, rows, squared):
    """Write the gradient of a row of voxels to ``rows (3, Z)``, its squared length to ``squared``.

    Differences are central, and one-sided at the border.
    """
    nx, ny, nz = image.shape
    gain_x, gain_y = _gain(x, nx, spacing[0]), _gain(y, ny, spacing[1])
    before, after = image[max(x - 1, 0), y], image[min(x + 1, nx - 1), y]
    left, right = image[x, max(y - 1, 0)], image[x, min(y + 1, ny - 1)]
    here = image[x, y]
    gain_z = np.float32(0.5 / spacing[2])
    for z in range(nz):
        rows[0, z] = (after[z] - before[z]) * gain_x
        rows[1, z] = (right[z] - left[z]) * gain_y
    # The ends of the row are apart, so that the loop needs no condition.
    for z in range(1, nz - 1):
        rows[2, z] = (here[z + 1] - here[z - 1]) * gain_z
    rows[2, 0] = (here[1] - here[0]) * np.float32(2) * gain_z
    rows[2, nz - 1] = (here[nz - 1] - here[nz - 2]) * np.float32(2) * gain_z
    for z in range(nz):
        squared[z] = rows[0, z] * rows[0, z] + rows[1, z] * rows[1, z] + rows[2, z] * rows[2, z]


@kernel
def _sum_of_slopes(image, spacing, weights):
    """Return the weighted sum of the lengths of the gradient."""
    nx, ny, nz = image.shape
    totals = np.zeros(nx, np.float64)
    for x in prange(nx):
        rows, squared = np.empty((3, nz), np.float32), np.empty(nz, np.float32)
        for y in range(ny):
            _gradient_row(image, x, y, spacing, rows, squared)
            # A row is short enough for a sum in single precision; rows are added in double.
            row = np.float32(0)
            for z in range(nz):
                row += weights[x, y, z] * np.sqrt(squared[z] + _TINY)
            totals[x] += row
    return totals.sum()


@kernel
def _align(image, spacing, weights, target, edge, scale, slopes):
    """Return the weighted sum of the squared cosines, and the loss's derivative by the edge.

    The derivatives of the loss by the components of the gradient are written to ``slopes``, with
    the edge held constant.
    """
    nx, ny, nz = image.shape
    totals = np.zeros((2, nx), np.float64)
    for x in prange(nx):
        rows, squared = np.empty((3, nz), np.float32), np.empty(nz, np.float32)
        for y in range(ny):
            _gradient_row(image, x, y, spacing, rows, squared)
            aligned, by_edge = np.float32(0), np.float32(0)
            for z in range(nz):
                # With g the gradient of the image, q = 1 / sqrt(|g|^2 + edge^2), t the target and
                # the cosine c = <t, q g>, the derivatives of c are q (t - c q g) by g and
                # -c q^2 edge by the edge. `inverse` is q, and `drop` is c q.
                inverse = np.float32(1) / np.sqrt(squared[z] + edge * edge + _TINY)
                a, b, c = target[0, x, y, z], target[1, x, y, z], target[2, x, y, z]
                cosine = (a * rows[0, z] + b * rows[1, z] + c * rows[2, z]) * inverse
                weight = weights[x, y, z]
                aligned += weight * cosine * cosine
                outer = np.float32(-2) * weight * scale * cosine * inverse
                drop = cosine * inverse
                by_edge -= outer * drop * edge
                slopes[0, x, y, z] = outer * (a - drop * rows[0, z])
                slopes[1, x, y, z] = outer * (b - drop * rows[1, z])
                slopes[2, x, y, z] = outer * (c - drop * rows[2, z])
            totals[0, x] += aligned
            totals[1, x] += by_edge
    return totals[0].sum(), totals[1].sum()


@kernel
def _add_edge(image, spacing, weights, by_slope, slopes):
    """Add to ``slopes`` what the gradient of each voxel contributes through the edge."""
    nx, ny, nz = image.shape
    for x in prange(nx):
        rows, squared = np.empty((3, nz), np.float32), np.empty(nz, np.float32)
        for y in range(ny):
            _gradient_row(image, x, y, spacing, rows, squared)
            for z in range(nz):
                # The derivative of the length |g| by g is g / |g|.
                share = by_slope * weights[x, y, z] / np.sqrt(squared[z] + _TINY)
                slopes[0, x, y, z] += share * rows[0, z]
                slopes[1, x, y, z] += share * rows[1, z]
                slopes[2, x, y, z] += share * rows[2, z]


@kernel
def _difference_back(slopes, spacing, gradient):
    """Turn derivatives by the image's gradient into derivatives by the image.

    This is the transpose of the differences. Each voxel collects from the differences in which it
    takes part, so that threads write to places of their own.
    """
    _, nx, ny, nz = slopes.shape
    for x in prange(nx):
        for y in range(ny):
            out = gradient[x, y]
            for z in range(nz):
                gain = _gain(z, nz, spacing[2])
                before = (
                    slopes[2, x, y, z - 1] * _gain(z - 1, nz, spacing[2])
                    if z > 0
                    else -slopes[2, x, y, z] * gain
                )
                after = (
                    slopes[2, x, y, z + 1] * _gain(z + 1, nz, spacing[2])
                    if z < nz - 1
                    else -slopes[2, x, y, z] * gain
                )
                out[z] = before - after
            _add_neighbours(slopes[0, :, y], x, spacing[0], out)
            _add_neighbours(slopes[1, x], y, spacing[1], out)


@inlined
def _add_neighbours(slopes, i, step, out):
    """Add to ``out`` what the differences at the rows before and after row ``i`` contribute.

    At the border a one-sided difference takes the row itself in place of the missing neighbour,
    with the opposite sign.
    """
    n = slopes.shape[0]
    before = max(i - 1, 0)
    after = min(i + 1, n - 1)
    gain_before = _gain(before, n, step) if i > 0 else -_gain(0, n, step)
    gain_after = _gain(after, n, step) if i < n - 1 else -_gain(n - 1, n, step)
    for z in range(out.shape[0]):
        out[z] += slopes[before, z] * gain_before - slopes[after, z] * gain_after
