"""How well a map lays the anatomy of one scan on that of another, measured without labels.

The overlap of two brains cannot tell: it is 0.8 (Dice) and more however one of them is turned. That
of two crops full of tissue is 1. The mutual information of images without slow drifts can tell,
where it is compared with the mutual information of the same images when one of them is turned
(:meth:`Fit.margin`). What an image shows, its foreground, is what is above 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import final

import numpy as np
from scipy import ndimage, optimize
from scipy.spatial.transform import Rotation

from diffeode.evaluation.similarity import normalised_mutual_information
from diffeode.geometry.image import Image, sample, window_around
from diffeode.geometry.resample import antialiased
from diffeode.geometry.transform import Affine, Transform

COARSE = 0.036
"""Voxel size at which images are compared, as a fraction of the width of what they show:
4 mm in adults' brains, 0.3 mm in those of mice.
"""
TURNS = [
    turn for turn in Rotation.create_group("O").as_matrix() if not np.allclose(turn, np.eye(3))
]
"""The 23 rotations, ``(3, 3)`` each, that a cube has besides the identity."""
_DRIFT = 0.18
"""SD of the Gaussian whose local mean counts as slow drift, as a fraction of the foreground's
width.
"""
_PERCENTILES = (0.1, 99.9)
"""Percentiles that are scaled to 0 and 1."""
_LEAST = 1e-3
"""Smallest intensity in the foreground: 0 means background."""


@final
@dataclass(frozen=True, eq=False)
class Fit:
    """Two images whose match under a map is measured over the smaller foreground.

    Attributes:
        inner, outer: the image with the smaller foreground and the other one, on a coarse grid, in
            [0, 1]. Slow drifts are removed: coils cause them, so any two scans share them.
        fixed_is_inner: whether the fixed image is the smaller one.
        bins: number of bins of the histograms. It is small because a slab has few voxels, and with
            many bins images seem to match by chance.
    """

    inner: Image
    outer: Image
    fixed_is_inner: bool
    bins: int = 16

    @classmethod
    def of(cls, fixed: Image, moving: Image, coarse: float = COARSE, bins: int = 16) -> Fit:
        """Return the fit of two prepared scans (in [0, 1], background 0), each on its own grid.

        Args:
            coarse: voxel size, as a fraction of the larger image's width.
            bins: number of bins of the histograms.
        """
        widths = brain_width_mm(fixed), brain_width_mm(moving)
        fixed_detail, moving_detail = (
            _detail(image, max(widths), coarse) for image in (fixed, moving)
        )
        if widths[0] <= widths[1]:
            return cls(fixed_detail, moving_detail, True, bins)
        return cls(moving_detail, fixed_detail, False, bins)

    def match(self, inner_to_outer: Transform) -> float:
        """Return the normalised mutual information over the smaller foreground
        minus 1.

        It is 0 for independent images, apart from chance.

        Args:
            inner_to_outer: the map from points of the smaller image to points of the larger one,
                RAS mm.
        """
        there = sample(
            self.outer.data, self.outer.grid.to_voxel(inner_to_outer(self._points)), order=1
        )
        return (
            normalised_mutual_information(
                self._values, there, np.ones(len(there), dtype=bool), self.bins
            )
            - 1
        )

    def margin(self, inner_to_outer: Transform) -> float:
        """Return the factor by which :meth:`match` is greater than with the smaller image turned in
        any of 23 ways.
        """
        centre = centre_mm(self.inner)
        turned = max(
            self.match(placed(turn, centre, centre).then(inner_to_outer)) for turn in TURNS
        )
        return self.match(inner_to_outer) / max(turned, 1e-9)

    @cached_property
    def _points(self) -> np.ndarray:
        return self.inner.grid.to_world(np.argwhere(self.inner.data > 0))

    @cached_property
    def _values(self) -> np.ndarray:
        return self.inner.data[self.inner.data > 0]


def brain_width_mm(image: Image) -> float:
    """Return the cube root of the volume of the foreground, mm."""
    return float(np.cbrt((image.data > 0).sum() * image.grid.voxel_volume))


def centre_mm(image: Image) -> np.ndarray:
    """Return the centre of the foreground, RAS mm, ``(3,)``."""
    return image.grid.to_world(np.argwhere(image.data > 0).mean(axis=0))


def placed(linear: np.ndarray, here: np.ndarray, there: np.ndarray) -> Affine:
    """Return the affine with ``linear (3, 3)`` that sends the point ``here`` to ``there``."""
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    matrix[:3, 3] = there - linear @ here
    return Affine(matrix)


def refined(fit: Fit, view: Affine) -> Affine:
    """Return ``view`` after the smaller image was turned, shifted and scaled to match best.

    The best match is searched by Powell's method, up to 0.6 radians and a fifth of the larger
    image's width away.

    Args:
        view: a map from points of the smaller image to points of the larger one, RAS mm.
    """
    centre, width = centre_mm(fit.inner), brain_width_mm(fit.outer)

    def moved(change: np.ndarray) -> Affine:
        linear = np.exp(change[6]) * Rotation.from_rotvec(change[:3]).as_matrix()
        return Affine(view.matrix @ placed(linear, centre, centre + width * change[3:6]).matrix)

    best = optimize.minimize(
        lambda change: -fit.match(moved(change)),
        np.zeros(7),
        method="Powell",
        bounds=[(-0.6, 0.6)] * 3 + [(-0.2, 0.2)] * 4,
        options={"maxfev": 180, "xtol": 0.01, "ftol": 0.002},
    )
    return moved(best.x)


def stretch(affine: Affine) -> float:
    """Return the largest factor by which ``affine`` scales a direction divided by the smallest; 1
    for rotations and shifts.
    """
    return stretch_of(affine.matrix[:3, :3])


def stretch_of(linear: np.ndarray) -> float:
    """Return the :func:`stretch` of a square matrix."""
    scales = np.linalg.svd(linear, compute_uv=False)
    return float(scales.max() / scales.min())


def turned_degrees(affine: Affine) -> float:
    """Return the angle of the rotation in ``affine``, 0 to 180 degrees, without its scaling and
    shear.
    """
    left, _, right = np.linalg.svd(affine.matrix[:3, :3])
    return float(np.degrees(np.arccos(np.clip((np.trace(left @ right) - 1) / 2, -1, 1))))


def _detail(image: Image, width: float, coarse: float) -> Image:
    """Return the image at a voxel size of ``coarse * width`` mm, divided by its local mean, in [0,
    1].
    """
    image = _around_brain(image)
    grid = image.grid.resample(coarse * width)
    covered = antialiased((image.data > 0).astype(np.float32), image.grid, grid)
    brain = covered >= 0.5 if (covered >= 0.5).any() else covered > 0
    small = np.divide(
        antialiased(image.data, image.grid, grid), covered, out=np.zeros(grid.shape), where=brain
    )
    sigma = _DRIFT * width / grid.spacing
    mean = ndimage.gaussian_filter(small, sigma) / np.maximum(
        ndimage.gaussian_filter(brain * 1.0, sigma), 1e-6
    )
    values = np.divide(small, mean, out=np.zeros(grid.shape), where=brain & (mean > 0))
    low, high = np.percentile(values[brain], _PERCENTILES)
    scaled = np.clip((values - low) / max(high - low, 1e-9), _LEAST, 1)
    return Image(np.where(brain, scaled, 0), grid)


def _around_brain(image: Image) -> Image:
    return image.cropped(window_around(image.data > 0))
