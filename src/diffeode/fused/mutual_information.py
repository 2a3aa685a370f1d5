"""Functions of a joint histogram and their gradient (:mod:`diffeode.losses.mutual_information`).

The shares of an intensity in the bins are smooth functions of it. So they are not computed for
every voxel. They are computed once for the nodes, intensities that lie closer together than the
bins. A voxel is shared among the four nearest nodes of its intensity, by the weights of cubic
interpolation (Lagrange's). In the end the nodes are shared among the bins. The interpolation is off
by about 1e-6.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import numpy as np
import torch
from numba import prange
from torch import Tensor

from diffeode.fused.compiler import inlined, kernel
from diffeode.fused.gradient import with_gradient

_NODES_PER_BIN = 16
"""Number of intervals of nodes between the centres of two bins."""
_PARTS = 16
"""Number of histograms that are filled in parallel. It does not depend on the number of threads, so
neither does the result.
"""


@final
class FusedInformation:
    """The loss ``moving -> - measure(joint histogram)``.

    Args:
        fixed: the fixed image in [0, 1], ``(1, 1, X, Y, Z)``, float32, on the CPU.
        bins: the number of bins of either image.
        soft_bins: a smooth function from intensities ``(n,)`` to their shares ``(bins, n)``.
        measure: a function of a joint histogram ``(bins of fixed, bins of moving)`` whose sum is 1.
        mask: the weights of the voxels; None: all alike.
    """

    def __init__(
        self,
        fixed: Tensor,
        bins: int,
        soft_bins: Callable[[Tensor], Tensor],
        measure: Callable[[Tensor], Tensor],
        mask: Tensor | None,
    ) -> None:
        self.fixed = fixed[0, 0].contiguous().numpy()
        weights = (torch.ones_like(fixed) if mask is None else mask)[0, 0].double()
        self.weights = (weights / weights.sum()).float().contiguous().numpy()
        self.measure = measure
        self.intervals = (bins - 1) * _NODES_PER_BIN
        # One node lies beyond either end of [0, 1], so that every intensity has two on each side.
        nodes = torch.arange(-1, self.intervals + 2, dtype=torch.float64) / self.intervals
        self.shares, self.slopes = _with_slopes(soft_bins, nodes)

    def __call__(self, moving: Tensor) -> Tensor:
        return with_gradient(moving, self.value_and_gradient)

    def value_and_gradient(self, moving: Tensor) -> tuple[float, Tensor]:
        """Return the loss and its gradient with respect to ``moving``."""
        image = moving[0, 0].contiguous().numpy()
        on_nodes = torch.from_numpy(_count(self.fixed, image, self.weights, self.intervals))
        with torch.enable_grad():
            # The histogram is small, so torch computes the measure and its derivative.
            joint = (self.shares @ on_nodes @ self.shares.T).requires_grad_()
            value = -self.measure(joint)
        (by_joint,) = torch.autograd.grad(value, joint)
        # The derivative by the moving intensity of a voxel that lies on two nodes: the shares of
        # the fixed intensity stay, and those of the moving one change by their slopes.
        by_intensity = (self.shares.T @ by_joint @ self.slopes).float().numpy()
        gradient = np.empty_like(image)
        _pull(self.fixed, image, self.weights, self.intervals, by_intensity, gradient)
        return value.item(), torch.from_numpy(gradient)[None, None]


@torch.enable_grad()
def _with_slopes(soft_bins: Callable[[Tensor], Tensor], nodes: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shares ``(bins, n)`` of ``nodes`` ``(n,)``, and their derivatives by the nodes.

    The shares are multiplied by factors and summed. The derivative of the sum by the nodes and then
    by the factors is that of the shares. Forward mode would give it at once, but imports torch's
    compiler, which takes about two CPU seconds.
    """
    nodes = nodes.requires_grad_()
    shares = soft_bins(nodes)
    factors = torch.ones_like(shares).requires_grad_()
    (by_nodes,) = torch.autograd.grad((shares * factors).sum(), nodes, create_graph=True)
    (slopes,) = torch.autograd.grad(by_nodes.sum(), factors)
    return shares.detach(), slopes


@inlined
def _share(value, intervals, shares):
    """Return the index of the first of the four nodes next to ``value``; write their shares.

    The shares of a value that is not a number are not numbers. Values outside [0, 1] are clamped.
    """
    position = (value if value > 0 else 0.0) * intervals
    first = min(int(position if value < 1 else intervals), intervals - 1)
    t = min(position, float(intervals)) - first if value == value else np.nan
    before, after, beyond = t + 1, 1 - t, 2 - t
    shares[0] = -t * after * beyond / 6
    shares[1] = before * after * beyond / 2
    shares[2] = before * t * beyond / 2
    shares[3] = -before * t * after / 6
    return first


@kernel
def _count(fixed, moving, weights, intervals):
    """Return the joint histogram on the nodes: the sums of the weights of the voxels."""
    nx, ny, nz = fixed.shape
    parts = np.zeros((_PARTS, intervals + 3, intervals + 3), np.float64)
    for part in prange(_PARTS):
        of_fixed, of_moving = np.empty(4, np.float64), np.empty(4, np.float64)
        for x in range(part, nx, _PARTS):
            for y in range(ny):
                for z in range(nz):
                    if weights[x, y, z] == 0:
                        continue
                    # Background lies on the node of 0, so its shares need not be computed.
                    if fixed[x, y, z] == 0 and moving[x, y, z] == 0:
                        parts[part, 1, 1] += weights[x, y, z]
                        continue
                    i = _share(fixed[x, y, z], intervals, of_fixed)
                    j = _share(moving[x, y, z], intervals, of_moving)
                    for row in range(4):
                        share = weights[x, y, z] * of_fixed[row]
                        for column in range(4):
                            parts[part, i + row, j + column] += share * of_moving[column]
    return parts.sum(0)


@kernel
def _pull(fixed, moving, weights, intervals, by_intensity, gradient):
    """Write the derivative by each voxel of the moving image to ``gradient``.

    ``by_intensity`` holds the derivatives on the nodes; those of a voxel are interpolated by the
    same cubic. An intensity outside [0, 1] was clamped, so its derivative is 0.
    """
    nx, ny, nz = fixed.shape
    for x in prange(nx):
        of_fixed, of_moving = np.empty(4, np.float64), np.empty(4, np.float64)
        for y in range(ny):
            for z in range(nz):
                value = moving[x, y, z]
                gradient[x, y, z] = 0
                if weights[x, y, z] == 0 or value < 0 or value > 1:
                    continue
                if fixed[x, y, z] == 0 and value == 0:
                    gradient[x, y, z] = weights[x, y, z] * by_intensity[1, 1]
                    continue
                i = _share(fixed[x, y, z], intervals, of_fixed)
                j = _share(value, intervals, of_moving)
                slope = 0.0
                for row in range(4):
                    for column in range(4):
                        slope += (
                            of_fixed[row] * of_moving[column] * by_intensity[i + row, j + column]
                        )
                gradient[x, y, z] = weights[x, y, z] * slope
