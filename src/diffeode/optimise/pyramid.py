"""The same box at several resolutions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from diffeode.flows.smoothing import gaussian
from diffeode.geometry.warp import resize

_SMOOTHING_PER_RATIO = 0.35
"""Gaussian before a reduction by ``r``, in units of ``r`` voxels: half-amplitude near the new
Nyquist frequency.
"""


@dataclass(frozen=True)
class Lattice:
    """A grid over the box of the finest one: ``size`` and ``spacing``, mm, per axis."""

    size: tuple[int, ...]
    spacing: tuple[float, ...]

    def coarser(self, factor: float, smallest: int = 4) -> Lattice:
        """The lattice whose spacing is ``factor`` times the finest axis' spacing of this one.

        Axes that are coarser already stay as they are, so that anisotropic scans become isotropic
        first; no axis falls under ``smallest`` voxels (or under what it has).
        """
        target = factor * min(self.spacing)
        size = tuple(
            max(min(n, smallest), min(n, round(n * s / target)))
            for n, s in zip(self.size, self.spacing, strict=True)
        )
        return Lattice(
            size, tuple(s * n / m for s, n, m in zip(self.spacing, self.size, size, strict=True))
        )


def reduce(image: Tensor, size: Sequence[int]) -> Tensor:
    """``image`` on a coarser grid of ``size`` voxels over the same box, smoothed against
    aliasing.
    """
    ratios = [n / m for n, m in zip(image.shape[2:], size, strict=True)]
    return resize(
        gaussian(image, [_SMOOTHING_PER_RATIO * r if r > 1 else 0.0 for r in ratios]), size
    )
