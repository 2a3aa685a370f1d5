"""What guides a registration beside the two images of its pair: further contrasts, label maps,
landmarks, places that are held stiff, and a mask that moves with the moving image.

A method that takes guidance is a folder with a file ``guided.py``, whose function ``guided(method,
guidance)`` returns a method that is guided. Registrations without guidance know nothing of it, so
that the identity of their code does not change with it.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from dataclasses import dataclass
from typing import cast, final

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_labels
from diffeode.registration.base import Method, Pair
from diffeode.registration.large_slices import with_fewer_pixels
from diffeode.registration.registry import method_module
from diffeode.registration.runs import Run

_GUIDED = "guided"
"""Name of the file of a method that takes guidance, and of the function in it."""


@final
@dataclass(frozen=True, eq=False)
class Contrast:
    """One contrast of both images.

    Attributes:
        fixed, moving: the prepared images, the moving one after the alignment, on one grid.
        share: its share of the similarity; the shares of all contrasts add up to 1.
        counts: the voxels of the fixed image that count in the similarity, ``(X, Y, Z)`` bool;
            None: all of them.
        moving_counts: the voxels of the moving image that count, wherever the map leads to them,
            likewise.
    """

    fixed: Image
    moving: Image
    share: float = 1.0
    counts: np.ndarray | None = None
    moving_counts: np.ndarray | None = None


@final
@dataclass(frozen=True, eq=False)
class LabelPair:
    """Label maps of both images, whose agreement is a term of the energy.

    Attributes:
        fixed, moving: the label maps on their own grids; they are sampled once only, where they are
            compared.
        to_scan: the alignment, from points of the aligned image to points of the moving label map,
            RAS mm.
        ids: the labels that pull, which both maps hold.
        weight: weight of the misfit of the labels in the energy.
    """

    fixed: Labels
    moving: Labels
    to_scan: Affine
    ids: tuple[int, ...]
    weight: float


@final
@dataclass(frozen=True, eq=False)
class LandmarkPair:
    """Points that are known in both images, whose distance is a term of the energy.

    Attributes:
        fixed_mm: points of the fixed image, ``(N, 3)``, RAS mm.
        aligned_mm: the same points in the moving image after the alignment, likewise.
        to_scan: the alignment, from points of the aligned image to points of the moving scan, RAS
            mm; distances are measured in the moving scan.
        weight: how much each landmark counts; 1 is a good start.
    """

    fixed_mm: np.ndarray
    aligned_mm: np.ndarray
    to_scan: Affine
    weight: float


@final
@dataclass(frozen=True, eq=False)
class Guidance:
    """What guides a registration; all images lie on the grid of the pair.

    Attributes:
        contrasts: the contrasts; the first one is the pair itself.
        labels, landmarks: label maps and landmarks that pull; None for none.
        stiff: the voxels of the fixed image at which the map is held stiff, ``(X, Y, Z)`` bool;
            None for none.
    """

    contrasts: tuple[Contrast, ...]
    labels: LabelPair | None = None
    landmarks: LandmarkPair | None = None
    stiff: np.ndarray | None = None

    @property
    def grid(self) -> Grid:
        """The grid of the pair."""
        return self.contrasts[0].fixed.grid

    def for_pair(self, pair: Pair) -> Guidance:
        """Return the guidance on the grid of ``pair``, whose large slices may have fewer pixels
        (:mod:`diffeode.registration.large_slices`).
        """
        there = pair.fixed.grid
        if there.matches(self.grid):
            return self
        return Guidance(
            tuple(self._coarser(contrast, there) for contrast in self.contrasts),
            self.labels,
            self.landmarks,
            None if self.stiff is None else self._nearest(self.stiff, there) > 0,
        )

    def _coarser(self, contrast: Contrast, grid: Grid) -> Contrast:
        everywhere = np.ones(self.grid.shape, dtype=bool)
        images = contrast.fixed, contrast.moving
        pair = with_fewer_pixels(Pair(*images, everywhere, everywhere, contrast.counts))
        follows = contrast.moving_counts
        if follows is not None:
            follows = self._nearest(follows, grid) > 0
        return Contrast(pair.fixed, pair.moving, contrast.share, pair.counts, follows)

    def _nearest(self, values: np.ndarray, grid: Grid) -> np.ndarray:
        return warp_labels(Labels(values, self.grid), Affine(), grid).data


def takes_guidance(method: str) -> bool:
    """Return whether the method of that name takes guidance.

    Raises:
        InputError: there is no such method.
    """
    found = importlib.util.find_spec(method_module(method))
    folders = None if found is None else found.submodule_search_locations
    return any(module.name == _GUIDED for module in pkgutil.iter_modules(folders or []))


def guided_method(run: Run, guidance: Guidance) -> Method:
    """Return the method of ``run`` with its guidance; to the harness it is a method as others are.

    Raises:
        InputError: the method takes no guidance, or its settings do not go with it.
    """
    if not takes_guidance(run.method):
        raise InputError(f"{run.title} ({run.name}) takes no guidance; choose a run of our method.")
    module = importlib.import_module(f"{method_module(run.method)}.{_GUIDED}")
    return cast(Method, getattr(module, _GUIDED)(run.build(), guidance))
