"""The search for folds of a map (:mod:`diffeode.flows.unfold`), one pass over the displacement."""

from __future__ import annotations

import numpy as np
import torch
from numba import prange
from torch import Tensor

from diffeode.fused.compiler import inlined, kernel


def folds_fused(displacement: Tensor, least: float) -> Tensor:
    """Return which voxels fold, ``(1, 1, X, Y, Z)`` bool.

    Around the image lies a layer of one voxel, in which the displacement is that of the border. A
    voxel of the image or of the layer folds where one of ten numbers is at most ``least``: the
    eight determinants of one-sided differences, and six times the volumes of the two tetrahedra in
    the cube that starts at the voxel. A fold in the layer is marked at the nearest voxel of the
    image.

    Args:
        displacement: ``(1, 3, X, Y, Z)``, voxels, float32, on the CPU.
    """
    folded = np.zeros(displacement.shape[2:], np.uint8)
    _mark_folds(displacement.contiguous()[0].numpy(), np.float32(least), folded)
    return torch.from_numpy(folded)[None, None].bool()


@kernel
def _mark_folds(field, least, folded):
    nx, ny, nz = folded.shape
    for x in prange(nx):
        # The first plane also tests the layer before it, and the last one the layer behind it: a
        # plane of the result is written by one thread alone.
        for i in range(x - (x == 0), x + 1 + (x == nx - 1)):
            for j in range(-1, ny + 1):
                for k in range(-1, nz + 1):
                    if _folds_at(field, i, j, k, least):
                        folded[x, min(max(j, 0), ny - 1), min(max(k, 0), nz - 1)] = 1


@inlined
def _folds_at(field, i, j, k, least):
    """Return whether a voxel of the image, or of the layer around it, folds."""
    for side_x in (-1, 1):
        for side_y in (-1, 1):
            for side_z in (-1, 1):
                a, b, c = _edge(field, i, j, k, side_x, 0, 0)
                d, e, f = _edge(field, i, j, k, 0, side_y, 0)
                g, h, m = _edge(field, i, j, k, 0, 0, side_z)
                # Each backward difference is minus a derivative, hence the product of the sides.
                if side_x * side_y * side_z * _determinant(a, b, c, d, e, f, g, h, m) <= least:
                    return True
    # The tetrahedron of the corners whose indices have an even sum, and that of the odd ones; the
    # edges are ordered so that both determinants are positive where the map does not fold.
    a, b, c = _edge(field, i, j, k, 1, 1, 0)
    d, e, f = _edge(field, i, j, k, 0, 1, 1)
    g, h, m = _edge(field, i, j, k, 1, 0, 1)
    if _determinant(a, b, c, d, e, f, g, h, m) <= least:
        return True
    a, b, c = _edge(field, i + 1, j + 1, k + 1, -1, 0, -1)
    d, e, f = _edge(field, i + 1, j + 1, k + 1, 0, -1, -1)
    g, h, m = _edge(field, i + 1, j + 1, k + 1, -1, -1, 0)
    return _determinant(a, b, c, d, e, f, g, h, m) <= least


@inlined
def _edge(field, i, j, k, di, dj, dk):
    """Return the vector from the image of a voxel under the map to the image of a neighbour.

    Indices beyond the field are clamped, so the displacement of the border continues there.
    """
    _, nx, ny, nz = field.shape
    x, y, z = min(max(i, 0), nx - 1), min(max(j, 0), ny - 1), min(max(k, 0), nz - 1)
    u, v, w = min(max(i + di, 0), nx - 1), min(max(j + dj, 0), ny - 1), min(max(k + dk, 0), nz - 1)
    return (
        field[0, u, v, w] - field[0, x, y, z] + np.float32(di),
        field[1, u, v, w] - field[1, x, y, z] + np.float32(dj),
        field[2, u, v, w] - field[2, x, y, z] + np.float32(dk),
    )


@inlined
def _determinant(a, b, c, d, e, f, g, h, i):
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
