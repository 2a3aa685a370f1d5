"""Taking folds out of a flow."""

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
from diffeode.geometry.warp import resize_displacement, voxel_centres
from diffeode.losses.regularisers import jacobian_determinant

_MAXIMA = {2: (F.adaptive_max_pool2d, F.max_pool2d), 3: (F.adaptive_max_pool3d, F.max_pool3d)}
_ROUNDS = 60
_REACH = 2
"""Velocity voxels around a fold that are smoothed with it."""
_LEAST_DETERMINANT = 1e-4
"""What is above stays positive when the map is rounded to the single precision of files."""


class Unfolded(NamedTuple):
    """A velocity, the number of voxels that folded before, there or back, and of those that still
    do.
    """

    velocity: Tensor
    repaired: int
    left: int


def unfold(velocity: Tensor, flow: Callable[[Tensor], Tensor], size: Sequence[int]) -> Unfolded:
    """``velocity`` smoothed where its flow, read on a grid of ``size`` voxels, folds.

    A voxel folds where any of the determinants of one-sided differences, or in 3-D of the two
    tetrahedra between them, is not positive (Liu et al., IJCV 2024), one voxel beyond the border
    included, where the map continues as at the border; the flow back is held to the same. Each
    round averages the velocity, at all its knots, around the folds with a Gaussian of one voxel, so
    a field without folds returns as it came and the rest of a field with folds stays untouched.
    """
    return unfold_all(velocity, lambda it: (flow(it), flow(reverse(it))), size)


def unfold_all(
    velocity: Tensor, maps: Callable[[Tensor], Iterable[Tensor]], size: Sequence[int]
) -> Unfolded:
    """As :func:`unfold`, until none of the ``maps``, displacements made of the velocity, folds."""

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


def _around(folded: Tensor, size: Sequence[int]) -> Tensor:
    """1 at the voxels of the velocity's grid within ``_REACH`` of a fold, else 0."""
    reduce, grow = _MAXIMA[len(size)]
    return grow(reduce(folded, tuple(size)), 2 * _REACH + 1, stride=1, padding=_REACH)


def _folds(displacement: Tensor, size: Sequence[int]) -> Tensor:
    """Voxels ``(1, 1, *size)`` at which one of the determinants is not positive."""
    fine = resize_displacement(displacement, size)
    if serves(fine):
        return folds_fused(fine, _LEAST_DETERMINANT)
    fine = F.pad(fine, [1, 1] * len(size), mode="replicate")
    folded = torch.zeros(1, 1, *fine.shape[2:], dtype=torch.bool, device=fine.device)
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
    """``flags`` without the first and the last along ``axis``, which are handed to their
    neighbours.
    """
    inner = flags.narrow(axis, 1, flags.shape[axis] - 2).clone()
    inner.select(axis, 0).logical_or_(flags.select(axis, 0))
    inner.select(axis, -1).logical_or_(flags.select(axis, -1))
    return inner


def _tetrahedra_fold(displacement: Tensor) -> Tensor:
    """Cubes ``(1, 1, *(size - 1))`` in which one of the two tetrahedra on every other corner is
    turned inside out.
    """
    placed = voxel_centres(displacement.shape[2:], displacement) + displacement

    def corner(i: int, j: int, k: int) -> Tensor:
        x, y, z = (n - 1 for n in placed.shape[2:])
        return placed[:, :, i : i + x, j : j + y, k : k + z]

    def volume(apex: Tensor, *others: Tensor) -> Tensor:
        a, b, c = (torch.movedim(other - apex, 1, -1) for other in others)
        return (a * torch.linalg.cross(b, c)).sum(-1)[:, None]

    odd = volume(corner(1, 1, 1), corner(0, 1, 0), corner(1, 0, 0), corner(0, 0, 1))
    even = volume(corner(0, 0, 0), corner(1, 1, 0), corner(0, 1, 1), corner(1, 0, 1))
    return (odd <= _LEAST_DETERMINANT) | (even <= _LEAST_DETERMINANT)


def _mirror(displacement: Tensor, axes: Sequence[int]) -> Tensor:
    """The map seen in a mirror along ``axes``, where backward differences are forward ones; the
    determinants stay.
    """
    if not axes:
        return displacement
    mirrored = displacement.flip([axis + 2 for axis in axes])
    for axis in axes:
        mirrored[:, axis] *= -1
    return mirrored
