"""Read transforms in the format X5, by the package nitransforms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from diffeode.desk.transform import Transform
from diffeode.errors import InputError
from diffeode.files.presence import why_no_file
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField

_LINEAR, _DENSE = ("linear", "affine"), ("nonlinear", "densefield")
_KINDS = ["space", "space", "space", "vector"]


def read_x5(path: Path) -> Transform:
    """Return the transform of an X5 file, fixed to moving, RAS mm.

    A field holds displacements or positions, RAS mm, at the voxels of its domain, which is the
    fixed grid.

    Raises:
        InputError: nitransforms is not installed, the file is no X5, or it holds anything but one
            affine or one field in 3-D: several transforms, splines, a series of matrices.
    """
    if reason := why_no_file(path, "transform"):
        raise InputError(f"{reason}; give the path of an X5 file.")
    try:
        from nitransforms.io.x5 import from_filename
    except ImportError:
        raise InputError(
            f"{path} is read by the package nitransforms; install version 25.1 or a newer one by "
            "'pip install nitransforms h5py'."
        ) from None
    try:
        nodes = from_filename(path)
    except (TypeError, KeyError, ValueError, OSError) as error:
        raise InputError(f"{path} is no readable X5 file ({error}); write it again.") from None
    if len(nodes) != 1:
        raise InputError(
            f"{path} holds {len(nodes)} transforms, whose order X5 does not settle; give a file "
            "for each, and join them by 'diffeode compose'."
        )
    return Transform(_mapping(nodes[0], path), None, str(path))


def _mapping(node: Any, path: Path) -> Affine | DisplacementField:
    kind, values = (node.type, node.subtype), np.asarray(node.transform, dtype=np.float64)
    if kind == _LINEAR:
        return _affine(node, values, path)
    if kind != _DENSE or list(node.dimension_kinds or ()) != _KINDS:
        raise InputError(
            f"{path} holds a transform of kind {' '.join(map(str, kind))}; only an affine and a "
            "dense field of displacements or positions in 3-D are read."
        )
    domain = node.domain
    is_grid = domain is not None and domain.grid and domain.coordinates == "cartesian"
    if not is_grid or values.shape != (*domain.size, 3) or np.shape(domain.mapping) != (4, 4):
        raise InputError(
            f"{path} does not say on which grid its field lies, or its field has another shape "
            "than that grid; write it again."
        )
    _require_finite(values, path)
    x, y, z = (int(n) for n in domain.size)
    grid = Grid((x, y, z), np.asarray(domain.mapping, dtype=np.float64))
    if node.representation == "displacements":
        return DisplacementField(values, grid)
    if node.representation == "deformations":
        return DisplacementField(values - grid.points_mm(), grid)
    raise InputError(
        f"{path} holds a field of {node.representation}; only displacements and deformations "
        "(positions) are read."
    )


def _affine(node: Any, values: np.ndarray, path: Path) -> Affine:
    if values.shape != (4, 4) or node.array_length != 1:
        raise InputError(
            f"{path} holds a series of matrices, as for motion correction; give one matrix."
        )
    _require_finite(values, path)
    if not np.allclose(values[3], [0, 0, 0, 1]) or abs(np.linalg.det(values)) < 1e-12:
        raise InputError(f"The matrix of {path} is no affine that can be inverted; write it again.")
    return Affine(values)


def _require_finite(values: np.ndarray, path: Path) -> None:
    if not np.isfinite(values).all():
        raise InputError(
            f"{path} holds values that are no numbers (NaN or infinite); write it again."
        )
