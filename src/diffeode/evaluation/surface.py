"""Distances between the surfaces of labels (Nikolov et al., arXiv 1809.04430).

The areas of surface elements come from Google DeepMind's package ``surface-distance``. The rest is
computed as that package does, to the bit, but its table of areas is made once and not for every
label, and elements are sorted by numpy.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from scipy import ndimage
from surface_distance import lookup_tables

_PERCENT = 95
_INSIDE = 0b11111111
"""The code of a place whose eight voxels all belong to a label; 0 is that of a place outside."""


def hd95_by_label(
    fixed: np.ndarray, warped: np.ndarray, count: int, spacing_mm: np.ndarray
) -> np.ndarray:
    """Return the 95th percentile of the symmetric surface distance of each label, mm.

    Args:
        fixed, warped: label indices ``0..count`` on one grid
            (:func:`diffeode.evaluation.labels.to_indices`).

    Returns:
        ``(count,)``; NaN for a label that one side or both sides lack, because it has no surface
        there.
    """
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
    surfaces = [(code != 0) & (code != _INSIDE) for code in codes]
    distances = [ndimage.distance_transform_edt(~s, sampling=spacing_mm) for s in surfaces]
    areas = [_areas_mm2(spacing_mm)[code] for code in codes]
    return max(
        _percentile(to_other[surface], area[surface])
        for surface, area, to_other in zip(surfaces, areas, distances[::-1], strict=True)
    )


def _codes(mask: np.ndarray) -> np.ndarray:
    """Return, for each place between voxels of ``mask`` and its border, which of the eight voxels
    around it are set, as a number of eight bits.
    """
    return ndimage.correlate(
        np.pad(mask, (0, 1)).astype(np.uint8),
        lookup_tables.ENCODE_NEIGHBOURHOOD_3D_KERNEL,
        mode="constant",
    )


@cache
def _areas_mm2(spacing_mm: tuple[float, ...]) -> np.ndarray:
    """Return the area of the surface element of each code, ``(256,)``."""
    return lookup_tables.create_table_neighbour_code_to_surface_area(spacing_mm)


def _percentile(distances: np.ndarray, areas: np.ndarray) -> float:
    """Return the distance within which 95 % of the surface's area lie."""
    order = np.lexsort((areas, distances))
    share = np.cumsum(areas[order]) / np.sum(areas[order])
    place = min(int(np.searchsorted(share, _PERCENT / 100)), len(order) - 1)
    return float(distances[order][place])


def _union(a: tuple[slice, ...], b: tuple[slice, ...]) -> tuple[slice, ...]:
    return tuple(
        slice(min(s.start, t.start), max(s.stop, t.stop)) for s, t in zip(a, b, strict=True)
    )
