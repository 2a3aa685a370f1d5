"""Whether a file holds a displacement field as ITK and this program write it, and not as other
programs do.

Fields of NiftyReg, FSL, AFNI, SPM and FreeSurfer hold three numbers per voxel too, but in another
frame (RAS) or with another meaning (places instead of displacements). A file is accepted only where
its header shows that ITK, or a program that writes as ITK does, wrote it.
"""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import SpatialImage

from diffeode.errors import InputError
from diffeode.geometry.space import Grid, flip_ras_lps

ITK_VECTOR_INTENT = 1007

_UNITS_OF_LENGTH, _IN_MM_OR_UNKNOWN = 7, (0, 2)
_TEXTS, _NUMBERS = ("intent_name", "descrip", "aux_file"), ("intent_p1", "intent_p2", "intent_p3")
_LOOKED_AT = 20_000
"""Number of voxels, spread over the field, that are tested."""
_ROUNDING = 1e-3
"""Largest deviation from a length of 1 that still counts as 1."""
_PLACES = 0.2
"""Largest distance between vectors and their voxels, as a fraction of the voxels' distance from
the origin, at which the vectors count as places."""
_INSTEAD = (
    "give warp.nii.gz or inverse_warp.nii.gz of 'diffeode register', or a field written by "
    "ANTs or SimpleITK"
)


def require_itk(volume: SpatialImage, path: Path) -> None:
    """Raise :class:`InputError` where the header of the volume at ``path`` is not that of an ITK
    displacement field.

    ITK writes NIfTI of shape ``(X, Y, Z, 1, 3)``, and in two dimensions ``(X, Y, 1, 1, 2)``, in mm,
    with intent 1007 (vector). It leaves all
    those fields of the header empty in which other programs write their names. Intent 1006
    (displacement) is read as RAS mm by ITK from 5.3 on and as LPS mm before, so it is refused as
    well.
    """
    shape = tuple(int(n) for n in volume.shape)
    if len(shape) != 5 or (shape[3:] != (1, 3) and shape[2:] != (1, 1, 2)):
        raise InputError(
            f"{path} is not an ITK displacement field: shape {shape}, expected (X, Y, Z, 1, 3), or "
            f"(X, Y, 1, 1, 2) for slices; {_INSTEAD}."
        )
    header = volume.header
    if not isinstance(header, nib.Nifti1Header) or int(header["intent_code"]) != ITK_VECTOR_INTENT:
        code = int(header["intent_code"]) if isinstance(header, nib.Nifti1Header) else 0
        raise InputError(
            f"{path} is not an ITK displacement field: its header has the intent {code}, ITK's has "
            f"{ITK_VECTOR_INTENT}; {_INSTEAD}."
        )
    sign = _sign_of_another_program(header)
    if sign:
        raise InputError(
            f"{path} was not written by ITK: its header has {sign}, which ITK leaves empty; "
            f"{_INSTEAD}."
        )
    if int(header["xyzt_units"]) & _UNITS_OF_LENGTH not in _IN_MM_OR_UNKNOWN:
        raise InputError(
            f"{path} is not an ITK displacement field: its header is not in mm; {_INSTEAD}."
        )


def require_displacements(vectors: np.ndarray, grid: Grid, path: Path) -> None:
    """Raise :class:`InputError` where ``vectors (X, Y, Z, 3)`` in LPS mm are places or directions,
    not displacements.

    Vectors are places where they lie near the voxels that hold them, in RAS or LPS mm, compared
    with the distance of these voxels from the origin. They are directions where all have the length
    1 and not all point the same way.
    """
    step = max(1, round((np.prod(grid.shape) / _LOOKED_AT) ** (1 / 3)))
    window = (slice(None, None, step),) * 3
    with np.errstate(invalid="ignore"):
        looked_at = vectors[window].reshape(-1, 3).astype(np.float64)
    if not np.isfinite(looked_at).all():
        return  # DisplacementField refuses these with a message of its own
    ras = grid.to_world(
        np.stack(np.mgrid[tuple(slice(0, n, step) for n in grid.shape)], axis=-1)
    ).reshape(-1, 3)
    for places in (ras, flip_ras_lps(ras)):
        if np.abs(looked_at - places).sum() < _PLACES * np.abs(places).sum():
            raise InputError(
                f"{path} holds places, not displacements (a deformation field); {_INSTEAD}."
            )
    moved = looked_at[looked_at.any(axis=1)]
    if _many_directions(moved) and np.abs(np.linalg.norm(moved, axis=1) - 1).max() < _ROUNDING:
        raise InputError(
            f"{path} holds directions (vectors of length 1), not displacements; {_INSTEAD}."
        )


def _many_directions(vectors: np.ndarray) -> bool:
    return len(vectors) > 0 and bool(np.ptp(vectors, axis=0).max() > _ROUNDING)


def _sign_of_another_program(header: nib.Nifti1Header) -> str | None:
    """Return what the header holds that ITK leaves empty, or None where it holds nothing
    of that.
    """
    for name in _TEXTS:
        text = bytes(header[name].item()).strip(b"\0 ").decode("ascii", "replace")
        if text:
            return f"the {name} {text!r}"
    for name in _NUMBERS:
        if float(header[name]) != 0:
            return f"the {name} {float(header[name]):g}"
    return "an extension" if len(header.extensions) else None
