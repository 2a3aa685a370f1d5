"""The anatomy of the virtual cohort: the ICBM152 template, its tissues, and structures that are
drawn by rule.

The structures were *not* drawn by an anatomist: they follow tissue maps and rough MNI coordinates
(``docs/virtual-cohort.md``). They serve because every person has the same structures under a known
map.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pandas as pd
from scipy import ndimage

from diffeode.geometry.image import Labels, bounding_box, window_around
from diffeode.geometry.space import Grid


@dataclass(frozen=True, eq=False)
class TissueMaps:
    """ICBM152 2009a symmetric, nonlinear, on RAS voxels of 1 mm, cropped to the brain.

    All volumes are ``(X, Y, Z)`` float32 in [0, 1].

    Attributes:
        t1: T1-weighted intensities, 0 outside the brain.
        grey, white, fluid: tissue fractions, which add up to ``brain``.
        brain: the brain mask, which includes the fluid between the folds.
        grid: the grid of all volumes.
    """

    t1: np.ndarray
    grey: np.ndarray
    white: np.ndarray
    fluid: np.ndarray
    brain: np.ndarray
    grid: Grid


@cache
def load_tissue_maps() -> TissueMaps:
    """Return the template and tissue maps that nilearn ships."""
    from nilearn import datasets

    volumes = [
        load(resolution=1)
        for load in (
            datasets.load_mni152_template,
            datasets.load_mni152_gm_template,
            datasets.load_mni152_wm_template,
            datasets.load_mni152_brain_mask,
        )
    ]
    grid = Grid(volumes[0].shape, volumes[0].affine)
    lower, upper = bounding_box(np.asarray(volumes[-1].dataobj) > 0, margin=2)
    box = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    t1, grey, white, brain = (
        np.asarray(volume.dataobj[box], dtype=np.float32) for volume in volumes
    )
    grey, white = grey * brain, white * brain
    crowding = np.maximum(grey + white, 1)
    grey, white = grey / crowding, white / crowding
    return TissueMaps(t1 * brain, grey, white, brain - grey - white, brain, grid.crop(lower, upper))


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid in MNI mm, in which x is the distance from the midline.

    Attributes:
        pitch_degrees: rotation about the left-right axis; a positive angle lifts the front end.
        yaw_degrees: rotation about the vertical axis; a positive angle turns the front end
            outwards.
    """

    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    pitch_degrees: float = 0
    yaw_degrees: float = 0

    def contains(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Return which points lie inside, bool, in the shape to which the three arrays broadcast.

        Args:
            x: distance from the midline, mm.
            y, z: MNI coordinates, mm.
        """
        x, y, z = x - self.centre_mm[0], y - self.centre_mm[1], z - self.centre_mm[2]
        x, y = _turned(x, y, self.yaw_degrees)
        z, y = _turned(z, y, self.pitch_degrees)
        return (x / self.radii_mm[0]) ** 2 + (y / self.radii_mm[1]) ** 2 + (
            z / self.radii_mm[2]
        ) ** 2 <= 1


def _turned(across: np.ndarray, along: np.ndarray, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    if degrees == 0:
        return across, along
    cosine, sine = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return cosine * across - sine * along, cosine * along + sine * across


_LATERAL_VENTRICLE = (
    Ellipsoid((9, 8, 10), (12, 24, 18)),
    Ellipsoid((16, -18, 19), (16, 24, 12)),
    Ellipsoid((27, -40, 8), (9, 18, 18)),
)
_THIRD_VENTRICLE = Ellipsoid((0, -11, -3), (4.5, 16, 11))
_FOURTH_VENTRICLE = Ellipsoid((0, -40, -34), (9, 8, 16))
_THALAMUS = Ellipsoid((12, -18.5, 7.5), (10.5, 17, 10.5), yaw_degrees=-25)
_CAUDATE = (
    Ellipsoid((13, 12, 6), (7, 12, 12), yaw_degrees=-5),
    Ellipsoid((16.5, -3, 18), (5, 18, 7), pitch_degrees=-15, yaw_degrees=-15),
)
_PUTAMEN = Ellipsoid((25.5, 1, 2), (6.5, 18, 11), yaw_degrees=-17)
_PALLIDUM = Ellipsoid((19.5, -4, -0.5), (5, 10.5, 6.5), yaw_degrees=-30)
_VENTRAL_DIENCEPHALON = Ellipsoid((10, -14.5, -9.5), (11.5, 13, 8))
_HIPPOCAMPUS = (
    Ellipsoid((25, -14, -19), (9, 9, 6.5)),
    Ellipsoid((26, -26, -12), (8, 13, 6), pitch_degrees=-35),
    Ellipsoid((23, -36, -1), (7, 5, 6)),
)
_AMYGDALA = Ellipsoid((22, -4.5, -18), (8, 6, 7))
_BRAIN_STEM = (
    Ellipsoid((0, -30, -13), (12, 9, 9)),
    Ellipsoid((0, -26, -33), (15, 12, 16)),
    Ellipsoid((0, -38, -55), (9, 8, 17), pitch_degrees=-15),
)
_DEEP_BRAIN = Ellipsoid((0, -10, 2), (28, 30, 20))
"""The region around the basal ganglia, in which grey matter is not cortex."""
_LANDMARKS = {3: 12, 42: 12, 2: 4, 41: 4, 4: 4, 43: 4}
"""Number of landmarks of a structure; every other structure has two."""


@cache
def template_labels() -> Labels:
    """Return the structures on the template's grid, in FreeSurfer's numbers
    (``config/labels/virtual.tsv``).
    """
    template = load_tissue_maps()
    x, y, z = _open_axes(template.grid)
    left, across = x < 0, np.abs(x)
    fluid, grey, white = _tissues(template)
    solid = grey | white

    def within(*shapes: Ellipsoid) -> np.ndarray:
        return np.any([shape.contains(across, y, z) for shape in shapes], axis=0)

    cerebellum = _cerebellum(template, solid, across, y, z)
    deep = within(_DEEP_BRAIN)
    steps = (
        (solid & ~cerebellum, 2, 41),
        (grey & ~cerebellum & ~deep, 3, 42),
        (grey & cerebellum, 8, 47),
        (white & cerebellum, 7, 46),
        (solid & within(_VENTRAL_DIENCEPHALON), 28, 60),
        (grey & within(*_HIPPOCAMPUS), 17, 53),
        (grey & within(_AMYGDALA), 18, 54),
        (solid & within(*_BRAIN_STEM), 16, 16),
        (grey & within(*_CAUDATE), 11, 50),
        (solid & within(_THALAMUS), 10, 49),
        ((template.grey > 0.2) & solid & within(_PUTAMEN), 12, 51),
        (solid & within(_PALLIDUM), 13, 52),
        (fluid & within(*_LATERAL_VENTRICLE) & (across > 1), 4, 43),
        (fluid & within(_THIRD_VENTRICLE), 14, 14),
        (fluid & within(_FOURTH_VENTRICLE), 15, 15),
    )
    labels = np.zeros(template.grid.shape, dtype=np.int32)
    for where, left_number, right_number in steps:
        labels[where & left] = left_number
        labels[where & ~left] = right_number
    return Labels(labels, template.grid)


def _open_axes(grid: Grid) -> list[np.ndarray]:
    """Return the RAS coordinates along each array axis of an axis-parallel grid, mm.

    The three arrays have the shapes ``(X, 1, 1)``, ``(1, Y, 1)`` and ``(1, 1, Z)``.
    """
    spans = [
        grid.affine[axis, axis] * np.arange(n) + grid.affine[axis, 3]
        for axis, n in enumerate(grid.shape)
    ]
    return [axis.astype(np.float32) for axis in np.ix_(*spans)]


def _tissues(template: TissueMaps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the voxels that are mostly fluid, grey and white matter, each ``(X, Y, Z)`` bool."""
    kind = np.argmax([template.fluid, template.grey, template.white], axis=0)
    return tuple((kind == k) & (template.brain > 0) for k in range(3))


def _cerebellum(
    template: TissueMaps, solid: np.ndarray, across: np.ndarray, y: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Return the grey and white matter below the tentorium, ``(X, Y, Z)`` bool.

    A watershed separates it from the cerebrum along the darkest seam of the T1w. It starts from
    voxels that lie clearly below and clearly above a paraboloid through the tentorium.
    """
    tentorium = -2 - 0.35 * np.maximum(0, -50 - y) - 0.0115 * across**2
    below = solid & (z < tentorium - 6) & (y < -42)
    above = solid & ((z > tentorium + 7) | (y > -28))
    markers = (below * 2 + above).astype(np.int16)
    darkness = (255 * (1 - template.t1)).astype(np.uint8)
    box = window_around(below, margin=15)
    region = np.zeros(solid.shape, dtype=bool)
    region[box] = ndimage.watershed_ift(darkness[box], markers[box]) == 2
    return region & solid


@cache
def template_landmarks() -> pd.DataFrame:
    """Return landmarks in every structure of the template, columns ``name x y z``, RAS mm.

    The first landmark of a structure is the voxel nearest to its centre; each further one is the
    voxel farthest from those before.
    """
    labels = template_labels()
    rows = []
    for number in np.unique(labels.data[labels.data > 0]):
        points = labels.grid.to_world(np.argwhere(labels.data == number).astype(float))
        chosen = _spread(points, _LANDMARKS.get(int(number), 2))
        rows += [
            (f"label-{number}_point-{k}", *point.tolist())
            for k, point in enumerate(chosen, start=1)
        ]
    return pd.DataFrame(rows, columns=["name", "x", "y", "z"])


def _spread(points: np.ndarray, count: int) -> np.ndarray:
    """Return ``count`` of ``points (N, 3)`` by farthest-point sampling from the most central
    one.
    """
    chosen = [int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin())]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return points[chosen]
