"""Surfaces in GIFTI files (``.gii``), whose vertices are moved as points are."""

from __future__ import annotations

import re
import warnings
import zlib
from pathlib import Path
from xml.parsers.expat import ExpatError

import nibabel as nib
import numpy as np
from nibabel.gifti import GiftiCoordSystem, GiftiDataArray, GiftiImage

from diffeode.errors import DamagedFileError, InputError
from diffeode.files import io

_POINTS, _TRIANGLES = "NIFTI_INTENT_POINTSET", "NIFTI_INTENT_TRIANGLE"
_UNKNOWN, _SCANNER = 0, 1
_OF_FREESURFER = "VolGeomC_R"
"""The key under which FreeSurfer notes how far the frame of its surfaces is from the scanner's."""

_DIMENSIONS = re.compile(rb"Dimensionality\s*=\s*[\"']\s*([^\"']*)")
_FAULTS = (
    *(AssertionError, AttributeError, LookupError, OSError, TypeError, UserWarning, ValueError),
    *(ExpatError, nib.filebasedimages.ImageFileError, zlib.error),
)
"""What nibabel raises and warns of where a file is damaged."""


def read_surface(path: Path) -> GiftiImage:
    """Return the surface at ``path``.

    Raises:
        DamagedFileError: the file is truncated or damaged.
        InputError: it holds no surface of one set of vertices and its triangles.
    """
    try:
        with warnings.catch_warnings(action="error", category=UserWarning):
            surface = GiftiImage.from_bytes(_with_few_dimensions(path.read_bytes()))
            counts = [len(surface.get_arrays_from_intent(kind)) for kind in (_POINTS, _TRIANGLES)]
    except _FAULTS:
        raise DamagedFileError(
            f"{path} cannot be read as a surface in GIFTI; fetch or make it again."
        ) from None
    if counts != [1, 1]:
        raise InputError(
            f"{path} holds {counts[0]} sets of vertices and {counts[1]} of triangles; give a "
            "surface (.surf.gii), which holds one of each."
        )
    _require_shapes(path, surface)
    return surface


def vertices_ras_mm(path: Path, surface: GiftiImage, as_stored: bool) -> np.ndarray:
    """Return the vertices of ``surface``, ``(N, 3)`` RAS mm.

    Args:
        path: the file of the surface, for messages.
        as_stored: whether the user says that the stored numbers are RAS mm.

    Raises:
        InputError: a coordinate is no finite number, or FreeSurfer wrote the surface in a frame of
            its own without saying how that lies in the scanner's.
    """
    array = _only(surface, _POINTS)
    vertices = np.asarray(array.data, dtype=np.float64)
    system = array.coordsys
    if not as_stored and system is not None and system.dataspace == _UNKNOWN:
        matrix = np.eye(4) if system.xform is None else np.asarray(system.xform, np.float64)
        if system.xformspace != _UNKNOWN and not np.array_equal(matrix, np.eye(4)):
            vertices = vertices @ matrix[:3, :3].T + matrix[:3, 3]
        elif _OF_FREESURFER in {**surface.meta, **array.meta}:
            raise InputError(
                f"{path} may be in the frame of FreeSurfer's surfaces, which is not that of its "
                "scan; convert the surface by mris_convert --to-scanner, or give the frame ras if "
                "it is in RAS mm already."
            )
    if not np.isfinite(vertices).all():
        raise InputError(f"{path} has a vertex that is NaN or infinite; repair the surface first.")
    return vertices


def write_surface(path: Path, surface: GiftiImage, vertices: np.ndarray) -> None:
    """Write the triangles of ``surface`` with other ``vertices``, ``(N, 3)`` RAS mm.

    Everything else that the surface's file held describes the old vertices and is left out.

    Raises:
        InputError: the file cannot be written.
    """
    old = _only(surface, _POINTS)
    structure = {
        key: value for key, value in old.meta.items() if key.startswith("AnatomicalStructure")
    }
    points = GiftiDataArray(
        np.ascontiguousarray(vertices, dtype=np.float32),
        intent=_POINTS,
        datatype="NIFTI_TYPE_FLOAT32",
        coordsys=GiftiCoordSystem(_SCANNER, _SCANNER, np.eye(4)),
        meta=structure,
    )
    triangles = GiftiDataArray(
        np.ascontiguousarray(_only(surface, _TRIANGLES).data, dtype=np.int32),
        intent=_TRIANGLES,
        datatype="NIFTI_TYPE_INT32",
    )
    with io.written_whole(path) as temporary:
        temporary.write_bytes(GiftiImage(darrays=[points, triangles]).to_bytes())


def _with_few_dimensions(content: bytes) -> bytes:
    """Return ``content``, whose arrays have at most 9 dimensions each: nibabel counts up to the
    number that a file names, whatever it is.
    """
    if any(len(number) > 1 for number in _DIMENSIONS.findall(content)):
        raise ValueError("an array of 10 dimensions or more")
    return content


def _require_shapes(path: Path, surface: GiftiImage) -> None:
    vertices, triangles = (_only(surface, kind).data for kind in (_POINTS, _TRIANGLES))
    fits = (
        all(np.ndim(array) == 2 and np.shape(array)[1] == 3 for array in (vertices, triangles))
        and np.issubdtype(triangles.dtype, np.integer)
        and (triangles.size == 0 or 0 <= triangles.min() <= triangles.max() < len(vertices))
    )
    if not fits:
        raise DamagedFileError(
            f"{path} holds vertices or triangles that belong to no surface; fetch or make it again."
        )


def _only(surface: GiftiImage, kind: str) -> GiftiDataArray:
    (array,) = surface.get_arrays_from_intent(kind)
    return array
