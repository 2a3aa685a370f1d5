"""Distances between the surfaces of labels, or between their contours in slices (Nikolov et al.,
arXiv 1809.04430).

The areas of surface elements, and the lengths of those of contours, come from Google DeepMind's
package ``surface-distance``. The rest is computed as that package does, to the bit, but its tables
are made once and not for every label, and elements are sorted by numpy.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage
from surface_distance import lookup_tables

_PERCENT = 95


def hd95_by_label(
    fixed: np.ndarray, warped: np.ndarray, count: int, spacing_mm: np.ndarray
) -> np.ndarray:
    """Return the 95th percentile of the symmetric surface distance of each label, mm; in slices,
    that of the distance between contours in their plane.

    Args:
        fixed, warped: label indices ``0..count`` on one grid
            (:func:`diffeode.evaluation.labels.to_indices`), ``(X, Y, Z)``; of slices ``(X, Y, 1)``.

    Returns:
        ``(count,)``; NaN for a label that one side or both sides lack, because it has no surface
        there.
    """
    if fixed.shape[2] == 1:  # the two faces of a slice are no surfaces of its labels
        fixed, warped, spacing_mm = fixed[..., 0], warped[..., 0], spacing_mm[:2]
    boxes = zip(
        ndimage.find_objects(fixed, count), ndimage.find_objects(warped, count), strict=True
    )
    return np.array(
        [
            np.nan
            if box is None or other is None
            else _hd95(fixed, warped, index, _union(box, other), tuple(map(float, spacing_mm)))
            for index, (box, other) in enumerate(boxes, start=1)
        ]
    )


def _hd95(
    fixed: np.ndarray,
    warped: np.ndarray,
    index: int,
    box: tuple[slice, ...],
    spacing_mm: tuple[float, ...],
) -> float:
    codes = [_codes(labels[box] == index) for labels in (fixed, warped)]
    inside = 2 ** (2**fixed.ndim) - 1  # all bits are set
    surfaces = [(code != 0) & (code != inside) for code in codes]
    distances = [ndimage.distance_transform_edt(~s, sampling=spacing_mm) for s in surfaces]
    areas = [_areas(spacing_mm)[code] for code in codes]
    return max(
        _percentile(to_other[surface], area[surface])
        for surface, area, to_other in zip(surfaces, areas, distances[::-1], strict=True)
    )


def _codes(mask: np.ndarray) -> np.ndarray:
    """Return, for each place between voxels of ``mask`` and its border, which of the eight voxels
    (four pixels) around it are set, as a number of as many bits.
    """
    kernels = {
        2: lookup_tables.ENCODE_NEIGHBOURHOOD_2D_KERNEL,
        3: lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL,
    }
    return ndimage.correlate(
        np.pad(mask, (0, 1)).astype(np.uint8), kernels[mask.ndim], mode="constant"
    )


@cache
def _areas(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Return the area of the surface element of each code, ``(256,)`` mm^2; in two dimensions the
    length of that of the contour, ``(16,)`` mm.
    """
    if len(spacing_mm) == 2:
        return lookup_tables.create_table_neighbour_code_to_contour_length(spacing_mm)
    return lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)


def _percentile(distances: np.ndarray, areas: np.ndarray) -> float:
    """Return the distance within which 95 % of the surface's area (or contour's length) lie."""
    order = np.lexsort((areas, distances))
    share = np.cumsum(areas[order]) / np.sum(areas[order])
    place = min(int(np.searchsorted(share, _PERCENT / 100)), len(order) - 1)
    return float(distances[order][place])


def _union(a: tuple[slice, ...], b: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(min(s.start, t.start), max(s.stop, t.stop)) for s, t in zip(a, b, strict=True)
    )
