"""A small surface, a tetrahedron, and its GIFTI file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.gifti import GiftiCoordSystem, GiftiDataArray, GiftiImage

UNKNOWN, SCANNER, TALAIRACH = 0, 1, 3
"""Spaces of coordinates, as GIFTI counts them."""
VERTICES = np.array([[0, 0, 0], [4, 0, 1], [0, 5, 2], [1, 1, 6]], dtype=np.float32)
TRIANGLES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]], dtype=np.int32)


def write_surface(
    path: Path,
    vertices: np.ndarray = VERTICES,
    triangles: np.ndarray = TRIANGLES,
    spaces: tuple[int, int] = (SCANNER, SCANNER),
    xform: np.ndarray | None = None,
    meta: Mapping[str, str] | None = None,
) -> Path:
    """Write a surface of a left cortex, and return ``path``."""
    points = GiftiDataArray(
        vertices,
        intent="NIFTI_INTENT_POINTSET",
        datatype="NIFTI_TYPE_FLOAT32",
        coordsys=GiftiCoordSystem(*spaces, np.eye(4) if xform is None else xform),
        meta={"AnatomicalStructurePrimary": "CortexLeft", **(meta or {})},
    )
    corners = GiftiDataArray(triangles, intent="NIFTI_INTENT_TRIANGLE", datatype="NIFTI_TYPE_INT32")
    nib.save(GiftiImage(darrays=[points, corners]), path)
    return path
