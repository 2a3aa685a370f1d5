"""Grids of several resolutions over the same box, and images on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from diffeode.flows.smoothing import gaussian
from diffeode.geometry.shapes import ChannelsTensor
from diffeode.geometry.warp import resize

_SMOOTHING_PER_RATIO = 0.35
"""Standard deviation of the Gaussian before a reduction by ``r``, in units of ``r`` voxels.

It halves the amplitude near the Nyquist frequency of the coarser grid: ``exp(-2 (pi sigma f)^2)``
is 0.55 for ``sigma = 0.35 r`` and ``f = 1 / (2 r)``.
"""


@dataclass(frozen=True)
class Lattice:
    """One of several grids over the same box.

    Attributes:
        size: the number of voxels along each axis.
        spacing: the distance between voxels along each axis, mm.

    >>> Lattice((100, 100, 20), (1.0, 1.0, 4.0)).coarser(2)
    Lattice(size=(50, 50, 20), spacing=(2.0, 2.0, 4.0))
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]

    def coarser(self, factor: float, smallest: int = 4) -> Lattice:
        """Return the lattice whose spacing is ``factor`` times the smallest spacing of this one.

        An axis whose spacing is larger already stays as it is, so an anisotropic scan becomes
        isotropic first.

        Args:
            smallest: no axis is reduced to fewer voxels than this.
        """
        target = factor * min(self.spacing)
        size, spacing = [], []
        for n, s in zip(self.size, self.spacing, strict=True):
            reduced = max(min(n, smallest), min(n, round(n * s / target)))
            size.append(reduced)
            spacing.append(s * n / reduced)
        return Lattice(tuple(size), tuple(spacing))


def reduce(image: ChannelsTensor, size: Sequence[int]) -> ChannelsTensor:
    """Return ``image`` on a coarser grid of ``size`` voxels over the same box.

    The image is smoothed before, so that nothing is aliased.
    """
    ratios = [n / m for n, m in zip(image.shape[2:], size, strict=True)]
    sigmas = [_SMOOTHING_PER_RATIO * r if r > 1 else 0.0 for r in ratios]
    return resize(gaussian(image, sigmas), size)
