"""Jacobian determinants of a map on a lattice, and the metrics of folding and smoothness.

A central difference skips the voxel at which it is taken, so a map can fold there and still have
``|J| = 1``. Liu et al., "On Finite Difference Jacobian Computation in Deformable Image
Registration", IJCV 2024 (arXiv 2212.06060), therefore cut every unit cube between voxel centres
into five tetrahedra, in both possible ways: four at corners, whose volumes are a sixth of the
determinants of one-sided differences at these corners, and one in the middle, whose volume is a
sixth of ``J1*`` or ``J2*``. The map is free of folds at the resolution of the lattice where all ten
kinds of tetrahedra keep their orientation.

All determinants are those of ``alignment^-1 . map``, without the affine alignment: methods see
aligned scans, so the enlargement of a small brain by 20 % is not a deformation that they found.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.plane import is_slice, thickened_field
from diffeode.geometry.transform import Affine, DisplacementField

_INSIDE = (slice(1, -1),) * 3
_SLAB_VOXELS = 2**16
"""Number of voxels on which the metrics are computed at a time."""


def jacobian_determinant(warp: DisplacementField, alignment: Affine | None = None) -> np.ndarray:
    """Return ``|J|`` of ``alignment^-1 . warp`` by central differences, ``(X, Y, Z)`` float32; NaN
    on the outermost voxels.

    The determinants of a slice are those in its plane.

    Raises:
        InputError: an axis has fewer than three voxels, or the alignment is a reflection.
    """
    if is_slice(warp.grid):
        return jacobian_determinant(thickened_field(own_map(warp, alignment)))[..., 1:2]
    steps = _steps(warp, alignment)
    return _framed(_determinant(*[(ahead + behind) / 2 for behind, ahead in _neighbours(steps)]))


def jacobian_everywhere(warp: DisplacementField, alignment: Affine | None = None) -> np.ndarray:
    """Return ``|J|`` as :func:`jacobian_determinant` does, but on the outermost voxels, too, by
    one-sided differences, ``(X, Y, Z)`` float32.

    Along an axis of one voxel the displacement counts as constant.

    Raises:
        InputError: the alignment is a reflection.
    """
    border = ((1, 1), (1, 1), (1, 1), (0, 0))
    # A border that continues the displacement linearly makes central differences one-sided.
    wider = np.pad(warp.displacement_mm, border, mode="reflect", reflect_type="odd")
    shape = np.array(warp.grid.shape)
    grid = warp.grid.crop([-1, -1, -1], shape + 1)
    return jacobian_determinant(DisplacementField(wider, grid), alignment)[_INSIDE]


def jacobian_metrics(
    warp: DisplacementField, mask: np.ndarray, alignment: Affine | None = None
) -> dict[str, float]:
    """Return folds, NDV, SDlogJ and the smallest ``|J|`` of ``alignment^-1 . warp``.

    ``docs/metrics.md`` defines each.

    ``folds_central_grid_sum`` is a pure number: the sum of ``-|J|`` over the inner voxels of the
    whole grid at which ``|J| <= 0``, which is the volume turned inside out, in voxels.

    Determinants of a slice are those in its plane.

    Args:
        mask: the fixed brain, ``(X, Y, Z)`` bool; it is eroded by one voxel (3x3x3, or 3x3 in a
            slice), so that no difference reaches beyond it.
        alignment: the affine alignment that the whole map includes; None for the identity.

    Raises:
        InputError: an axis has fewer than three voxels, the eroded mask is empty, or the alignment
            is a reflection.
    """
    if is_slice(warp.grid):
        warp, mask = thickened_field(own_map(warp, alignment)), np.repeat(mask, 3, axis=2)
        alignment = None
    brain = ndimage.binary_erosion(mask, np.ones((3, 3, 3)))[_INSIDE]
    if not brain.any():
        raise InputError(
            "Nothing is left of the fixed mask when it is eroded by one voxel; check the mask."
        )
    central, least_onesided, lost_volume = _by_slabs(_steps(warp, alignment))
    in_brain = central[brain]
    return {
        "folds_central_percent": _percent(in_brain <= 0),
        "folds_onesided_percent": _percent(least_onesided[brain] <= 0),
        "folds_central_grid_percent": _percent(central <= 0),
        "folds_onesided_grid_percent": _percent(least_onesided <= 0),
        "folds_central_grid_sum": _sum_of_nonpositive(central),
        "ndv_percent": float(100 * lost_volume[brain].mean(dtype=np.float64)),
        "sdlogj": _sd_log(in_brain),
        "min_jacobian": float(in_brain.min()),
    }


def own_map(whole: DisplacementField, alignment: Affine | None) -> DisplacementField:
    """Return ``alignment^-1 . whole``, the method's own map without the affine alignment."""
    points = whole.grid.points_mm()
    own = (alignment or Affine()).inverse()(points + whole.displacement_mm)
    return DisplacementField((own - points).astype(np.float32), whole.grid)


def onesided_determinants(warp: DisplacementField, alignment: Affine | None = None) -> np.ndarray:
    """Return the eight determinants of forward and backward differences, ``(8, X-2, Y-2, Z-2)``
    float32.
    """
    return np.stack(list(_onesided(_steps(warp, alignment))))


def tetrahedral_determinants(
    warp: DisplacementField, alignment: Affine | None = None
) -> np.ndarray:
    """Return ``J1*`` and ``J2*`` of every cube, ``(2, X-1, Y-1, Z-1)``: six times the volume of the
    middle tetrahedron, 2 for the identity.
    """
    return np.stack(_tetrahedral(_steps(warp, alignment)))


def _steps(warp: DisplacementField, alignment: Affine | None) -> list[np.ndarray]:
    """Return the mapped edges of the lattice along each axis, in voxels of the fixed grid: three
    arrays ``(3, X, Y, Z)``, each one shorter along its own axis.
    """
    if min(warp.grid.shape) < 3:
        raise InputError(
            f"Jacobians need three voxels along every axis; the grid is {warp.grid.shape}."
        )
    linear = (alignment or Affine()).matrix[:3, :3]
    if np.linalg.det(linear) <= 0:
        raise InputError(
            "The affine alignment of the pair mirrors the scan (negative determinant); check the "
            "headers."
        )
    to_voxels = np.linalg.inv(linear @ warp.grid.affine[:3, :3])
    bent = np.moveaxis(warp.displacement_mm, -1, 0)
    straight = to_voxels @ warp.grid.affine[:3, :3]
    return [_edges(bent, axis, to_voxels, straight[:, axis]) for axis in range(3)]


def _edges(bent: np.ndarray, axis: int, to_voxels: np.ndarray, straight: np.ndarray) -> np.ndarray:
    edges = np.tensordot(to_voxels.astype(np.float32), np.diff(bent, axis=axis + 1), axes=1)
    return edges + straight.astype(np.float32)[:, None, None, None]


def _neighbours(steps: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Return, for each axis, the edges before and after each interior voxel, ``(3, X-2, Y-2, Z-2)``
    each.
    """
    pairs = []
    for axis, edges in enumerate(steps):
        behind, ahead = list(_INSIDE), list(_INSIDE)
        behind[axis], ahead[axis] = slice(None, -1), slice(1, None)
        pairs.append((edges[:, *behind], edges[:, *ahead]))
    return pairs


def _onesided(steps: list[np.ndarray]) -> Iterator[np.ndarray]:
    first, second, third = _neighbours(steps)
    for b, c in product(second, third):
        normal = _cross(b, c)
        for a in first:
            yield _dot(a, normal)


def _tetrahedral(steps: list[np.ndarray]) -> list[np.ndarray]:
    """Return ``J1*``, with the corners 100, 010, 001, 111 of the cube, and ``J2*``, with 000, 110,
    011, 101.
    """
    x, y, z = steps
    low, high = slice(None, -1), slice(1, None)
    x00, y00, z00 = x[:, :, low, low], y[:, low, :, low], z[:, low, low, :]
    y10, z10, z11 = y[:, high, :, low], z[:, high, low, :], z[:, high, high, :]
    z01 = z[:, low, high, :]
    first = _determinant(y00 - x00, z00 - x00, y10 + z11)
    second = _determinant(x00 + y10, y00 + z01, x00 + z10)
    return [first, second]


def _by_slabs(steps: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return, for each interior voxel, the determinant by central differences, the smallest
    one-sided one and the non-diffeomorphic volume, ``(X-2, Y-2, Z-2)`` float32 each.

    A few planes are worked on at a time, whose many intermediate results stay in the processor's
    cache. A slab has one plane of neighbours on either side, so every number is that of the whole
    lattice.
    """
    inner = tuple(n - 2 for n in (steps[0].shape[1] + 1, *steps[0].shape[2:]))
    found = [np.empty(inner, dtype=np.float32) for _ in range(3)]
    thickness = max(1, _SLAB_VOXELS // (inner[1] * inner[2]))
    for first in range(0, inner[0], thickness):
        after = min(first + thickness, inner[0])
        slab = [
            edges[:, first : after + (1 if axis == 0 else 2)] for axis, edges in enumerate(steps)
        ]
        middle = [(ahead + behind) / 2 for behind, ahead in _neighbours(slab)]
        parts = _determinant(*middle), *_onesided_summary(slab)
        for whole, part in zip(found, parts, strict=True):
            whole[first:after] = part
    return found[0], found[1], found[2]


def _onesided_summary(steps: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return, for each interior voxel, the smallest one-sided determinant and the non-diffeomorphic
    volume in voxels (arXiv 2212.06060).

    A middle tetrahedron belongs to a cube and not to a voxel. Each voxel takes the mean over its
    eight cubes: the sum stays the same, and the value does not depend on the direction of the axes.
    """
    determinants = _onesided(steps)
    least = next(determinants)
    lost = _negative(least)
    for determinant in determinants:
        least = np.minimum(least, determinant)
        lost = lost + _negative(determinant)
    first, second = _tetrahedral(steps)
    lost += _mean_over_cubes(_negative(first) + _negative(second))
    return least, lost / 12


def _mean_over_cubes(values: np.ndarray) -> np.ndarray:
    values = (values[1:] + values[:-1]) / 2
    values = (values[:, 1:] + values[:, :-1]) / 2
    return (values[:, :, 1:] + values[:, :, :-1]) / 2


def _negative(values: np.ndarray) -> np.ndarray:
    return np.maximum(-values, 0)


def _determinant(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    return _dot(a, _cross(b, c))


def _cross(b: np.ndarray, c: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return b[1] * c[2] - b[2] * c[1], b[2] * c[0] - b[0] * c[2], b[0] * c[1] - b[1] * c[0]


def _dot(a: np.ndarray, b: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _framed(inner: np.ndarray) -> np.ndarray:
    return np.pad(inner, 1, constant_values=np.nan)


def _percent(flags: np.ndarray) -> float:
    return float(100 * flags.mean())


def _sum_of_nonpositive(determinants: np.ndarray) -> float:
    return float(_negative(determinants).sum(dtype=np.float64))


def _sd_log(determinants: np.ndarray) -> float:
    positive = determinants[determinants > 0]
    return float(np.log(positive).std(dtype=np.float64)) if positive.size else float("nan")
