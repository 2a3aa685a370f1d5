"""Removing folds from a flow by smoothing its velocity where the flow folds."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from diffeode.flows.smoothing import gaussian
from diffeode.flows.velocity import reverse
from diffeode.fused.compiler import serves
from diffeode.fused.folding import folds_fused
from diffeode.geometry.shapes import DisplacementTensor, MaskTensor, VelocityTensor
from diffeode.geometry.warp import resize_displacement, voxel_centres
from diffeode.losses.regularisers import jacobian_determinant

_MAXIMA = {2: (F.adaptive_max_pool2d, F.max_pool2d), 3: (F.adaptive_max_pool3d, F.max_pool3d)}
"""Torch's two kinds of maxima over windows, by the number of axes."""
_ROUNDS = 60
"""Largest number of rounds of smoothing; folds that are left then are reported."""
_REACH = 2
"""How far around a fold the velocity is smoothed, voxels of its grid."""
_LEAST_DETERMINANT = 1e-4
"""A determinant up to this counts as a fold. A greater one stays positive when the map is rounded
to the single precision of files.
"""


class Unfolded(NamedTuple):
    """What :func:`unfold` returns.

    Attributes:
        velocity: the smoothed velocity.
        repaired: by how many the number of voxels that fold has fallen.
        left: the number of voxels that still fold.
    """

    velocity: VelocityTensor
    repaired: int
    left: int


def unfold(
    velocity: VelocityTensor,
    flow: Callable[[VelocityTensor], DisplacementTensor],
    size: Sequence[int],
) -> Unfolded:
    """Return ``velocity`` smoothed where its flow, or the flow back, folds.

    A voxel folds where one of the determinants of one-sided differences is not positive, or, in
    three dimensions, the volume of one of the two tetrahedra in its cube (Liu et al., IJCV 2024).
    Voxels one beyond the border are tested too; the map continues there as at the border. The flow
    back must pass the same test.

    Each round averages the velocity around the folds, at all its knots, with a Gaussian of one
    voxel. A velocity without folds is returned as it came; elsewhere only the surroundings of folds
    change.

    Args:
        flow: the function from a velocity to the displacement of its flow.
        size: the grid on which folds are looked for, over the same box.
    """
    return unfold_all(velocity, lambda it: (flow(it), flow(reverse(it))), size)


def unfold_all(
    velocity: Tensor, maps: Callable[[Tensor], Iterable[Tensor]], size: Sequence[int]
) -> Unfolded:
    """Return ``velocity`` smoothed, as by :func:`unfold`, where one of several maps folds.

    Args:
        maps: the function from a velocity to the displacements of these maps.
        size: as in :func:`unfold`.
    """

    def folds_anywhere() -> Tensor:
        return functools.reduce(torch.logical_or, (_folds(one, size) for one in maps(velocity)))

    folded = folds_anywhere()
    at_first = int(folded.sum())
    for _ in range(_ROUNDS):
        if not folded.any():
            break
        weight = gaussian(_around(folded.to(velocity), velocity.shape[2:]), 1.0)
        velocity = torch.lerp(velocity, gaussian(velocity, 1.0), weight)
        folded = folds_anywhere()
    left = int(folded.sum())
    return Unfolded(velocity, at_first - left, left)


def _around(folded: MaskTensor, size: Sequence[int]) -> MaskTensor:
    """Return 1 at voxels of a grid of ``size`` that lie within ``_REACH`` of a fold, and 0
    elsewhere.
    """
    reduce, grow = _MAXIMA[len(size)]
    return grow(reduce(folded, tuple(size)), 2 * _REACH + 1, stride=1, padding=_REACH)


def _folds(displacement: DisplacementTensor, size: Sequence[int]) -> Tensor:
    """Return which voxels of a grid of ``size`` fold, ``(1, 1, *size)`` bool."""
    fine = resize_displacement(displacement, size)
    if serves(fine):
        return folds_fused(fine, _LEAST_DETERMINANT)
    fine = F.pad(fine, [1, 1] * len(size), mode="replicate")
    folded = torch.zeros(1, 1, *fine.shape[2:], dtype=torch.bool, device=fine.device)
    # A backward difference is a forward difference in a mirror. So the determinants with backward
    # differences along some axes are computed on the field mirrored along these axes.
    for sides in itertools.product((False, True), repeat=len(size)):
        backward = [axis for axis, flipped in enumerate(sides) if flipped]
        bad = jacobian_determinant(_mirror(fine, backward)) <= _LEAST_DETERMINANT
        bad = F.pad(bad[:, None].to(torch.uint8), [0, 1] * len(size)).bool()
        folded |= bad.flip([axis + 2 for axis in backward])
    if len(size) == 3:
        folded[..., :-1, :-1, :-1] |= _tetrahedra_fold(fine)
    for axis in range(2, folded.dim()):
        folded = _border_into(folded, axis)
    return folded


def _border_into(flags: Tensor, axis: int) -> Tensor:
    """Return ``flags`` without the first and the last plane along ``axis``.

    A flag in these two planes, which lie beyond the image, is set in the neighbouring plane.
    """
    inner = flags.narrow(axis, 1, flags.shape[axis] - 2).clone()
    inner.select(axis, 0).logical_or_(flags.select(axis, 0))
    inner.select(axis, -1).logical_or_(flags.select(axis, -1))
    return inner


def _tetrahedra_fold(displacement: DisplacementTensor) -> Tensor:
    """Return in which cubes a tetrahedron is turned inside out, ``(1, 1, *(size - 1))`` bool.

    The corners of a cube of eight neighbouring voxels form two tetrahedra: the corners whose
    indices have an even sum, and those with an odd sum (the digital diffeomorphism criterion of Liu
    et al., IJCV 2024).
    """
    placed = voxel_centres(displacement.shape[2:], displacement) + displacement

    def corner(i: int, j: int, k: int) -> Tensor:
        """Return where the map takes one corner of every cube."""
        x, y, z = (n - 1 for n in placed.shape[2:])
        return placed[:, :, i : i + x, j : j + y, k : k + z]

    def volume(apex: Tensor, *others: Tensor) -> Tensor:
        """Return six times the signed volume of the tetrahedron of four corners."""
        a, b, c = (torch.movedim(other - apex, 1, -1) for other in others)
        return (a * torch.linalg.cross(b, c)).sum(-1)[:, None]

    odd = volume(corner(1, 1, 1), corner(0, 1, 0), corner(1, 0, 0), corner(0, 0, 1))
    even = volume(corner(0, 0, 0), corner(1, 1, 0), corner(0, 1, 1), corner(1, 0, 1))
    return (odd <= _LEAST_DETERMINANT) | (even <= _LEAST_DETERMINANT)


def _mirror(displacement: DisplacementTensor, axes: Sequence[int]) -> DisplacementTensor:
    """Return the displacement as seen in a mirror along ``axes``.

    Backward differences become forward ones, and the determinants stay the same.
    """
    if not axes:
        return displacement
    mirrored = displacement.flip([axis + 2 for axis in axes])
    for axis in axes:
        mirrored[:, axis] *= -1
    return mirrored
