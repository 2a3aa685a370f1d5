"""Linear alignment of two large images on coarse voxels, in a fifth of ANTs' time or less.

A deformable registration takes up what a linear map leaves, so voxels as fine as those of the scans
buy little here. The images are reduced to about :data:`_VOXELS` voxels around what they show, and
ITK aligns them by Mattes mutual information (Mattes et al., IEEE TMI 22(1), 2003) from the centres
of mass. What the fixed image shows is compared, and not the background, at a share of the voxels
that are drawn with a constant seed. One thread works, so the map depends neither on the seed of the
registration nor on a number of threads.

Studies do not use this: their affines are those of :mod:`diffeode.prepare.search`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from diffeode.evaluation.anatomy import Fit, brain_width_mm
from diffeode.geometry.image import Image, window_around
from diffeode.geometry.plane import is_slice
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import flip_matrix_ras_lps
from diffeode.geometry.transform import Affine
from diffeode.prepare.choices import LARGE_VOXELS
from diffeode.prepare.search import lays_anatomy_on_anatomy
from diffeode.prepare.together import Side

if TYPE_CHECKING:
    import SimpleITK

_VOXELS = 400_000
"""Number of voxels of the box around what an image shows, after the reduction."""
_MARGIN = 0.1
"""Background around what an image shows, as a share of its width."""
_BINS = 32
_SHARE, _SEED = 0.3, 1
"""Share of the voxels that are compared, and the seed by which they are drawn."""
_SHRINK, _SMOOTHING = (4, 2, 1), (2, 1, 0)
"""The three levels: factors by which the reduced images are shrunk, and SDs of their smoothing,
voxels.
"""
# Steps are in mm at the corners of the image, as the scales of the parameters make them.
_LONGEST_STEP, _SHORTEST_STEP, _RELAXATION, _ITERATIONS = 1.0, 1e-3, 0.6, 200
_LEAST_SLOPE = 1e-9


def quick_alignment(kind: str, fixed: Side, moving: Side) -> Affine | None:
    """Return a map of a ``kind`` from points of ``fixed`` to points of ``moving``, RAS mm, or None.

    It is None where this is not the way to align the two images: where one of them has
    :data:`diffeode.prepare.choices.LARGE_VOXELS` voxels or fewer, and where the map that is found
    does not lay anatomy on anatomy, for example because a header is wrong.

    Args:
        kind: ``rigid``, ``similarity`` or ``affine``.
        fixed, moving: prepared volumes on grids that are not sheared.
    """
    sides = fixed, moving
    if any(is_slice(side.image.grid) or side.image.data.size <= LARGE_VOXELS for side in sides):
        return None
    coarse = [_reduced(side) for side in sides]
    found = _aligned(kind, *coarse)
    if found is None or not lays_anatomy_on_anatomy(found, Fit.of(*(s.image for s in coarse))):
        return None
    return found


def _reduced(side: Side) -> Side:
    """Return a side on coarse cubic voxels, cropped to what it shows and a margin."""
    image = side.image
    margin = int(np.ceil(_MARGIN * brain_width_mm(image) / image.grid.spacing.min()))
    window = window_around(image.data > 0, margin)
    image = image.cropped(window)
    grid = image.grid.resample(float(np.cbrt(image.data.size * image.grid.voxel_volume / _VOXELS)))
    counts = side.counts
    if counts is not None:
        counts = antialiased(counts[window].astype(np.float32), image.grid, grid) >= 0.5
    return Side(Image(antialiased(image.data, image.grid, grid), grid), counts, side.cut_off)


def _aligned(kind: str, fixed: Side, moving: Side) -> Affine | None:
    """Return the map that ITK finds, or None where it finds none."""
    import SimpleITK

    images = [_itk_image(side.image) for side in (fixed, moving)]
    method = SimpleITK.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetMetricAsMattesMutualInformation(_BINS)
    method.SetMetricSamplingStrategy(method.RANDOM)
    method.SetMetricSamplingPercentage(_SHARE, _SEED)
    method.SetInterpolator(SimpleITK.sitkLinear)
    shown = fixed.image.data > 0
    method.SetMetricFixedMask(
        _itk_mask(shown if fixed.counts is None else shown & fixed.counts, fixed)
    )
    if moving.counts is not None:
        method.SetMetricMovingMask(_itk_mask(moving.counts, moving))
    method.SetOptimizerAsRegularStepGradientDescent(
        _LONGEST_STEP, _SHORTEST_STEP, _ITERATIONS, _RELAXATION, _LEAST_SLOPE
    )
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel(_SHRINK)
    method.SetSmoothingSigmasPerLevel(_SMOOTHING)
    method.SmoothingSigmasAreSpecifiedInPhysicalUnitsOff()
    method.SetInitialTransform(_between_centres(kind, fixed.image, moving.image), inPlace=False)
    try:
        with _one_thread():
            return _in_ras(method.Execute(*images))
    except RuntimeError:  # no voxel of one image lies in the other, or none is left by the masks
        return None


@contextmanager
def _one_thread() -> Iterator[None]:
    """Let SimpleITK work on one thread: with several, sums are rounded in the order in which the
    threads end. A number that is set at the method alone does not reach all of its parts.
    """
    import SimpleITK

    process = SimpleITK.ProcessObject
    usual = process.GetGlobalDefaultNumberOfThreads()
    process.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        process.SetGlobalDefaultNumberOfThreads(usual)


def _itk_mask(counts: np.ndarray, side: Side) -> SimpleITK.Image:
    import SimpleITK

    mask = _itk_image(Image(counts.astype(np.float32), side.image.grid))
    return SimpleITK.Cast(mask, SimpleITK.sitkUInt8)


def _itk_image(image: Image) -> SimpleITK.Image:
    import SimpleITK

    frame = image.grid.itk_frame("SimpleITK")
    made = SimpleITK.GetImageFromArray(np.ascontiguousarray(image.data.astype(np.float32).T))
    made.SetOrigin(frame.origin.tolist())
    made.SetSpacing(frame.spacing.tolist())
    made.SetDirection(frame.direction.ravel().tolist())
    return made


def _between_centres(kind: str, fixed: Image, moving: Image) -> SimpleITK.Transform:
    """Return the start of the search, which brings the centres of mass together."""
    import SimpleITK

    makers = {
        "rigid": SimpleITK.Euler3DTransform,
        "similarity": SimpleITK.Similarity3DTransform,
        "affine": lambda: SimpleITK.AffineTransform(3),
    }
    here, there = (_centre_of_mass_lps(image) for image in (fixed, moving))
    start = makers[kind]()
    start.SetCenter(here.tolist())
    start.SetTranslation((there - here).tolist())
    return start


def _centre_of_mass_lps(image: Image) -> np.ndarray:
    total = image.data.sum(dtype=np.float64)
    voxel = [
        np.arange(n) @ image.data.sum(axis=tuple({0, 1, 2} - {axis}), dtype=np.float64) / total
        for axis, n in enumerate(image.data.shape)
    ]
    return image.grid.to_world(np.array(voxel)) * (-1, -1, 1)


def _in_ras(transform: SimpleITK.Transform) -> Affine:
    """Return a linear transform of points in LPS mm as a map of points in RAS mm."""
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    matrix = np.eye(4)
    matrix[:3, 3] = origin
    for axis in range(3):
        matrix[:3, axis] = np.array(transform.TransformPoint(np.eye(3)[axis].tolist())) - origin
    return Affine(flip_matrix_ras_lps(matrix))
