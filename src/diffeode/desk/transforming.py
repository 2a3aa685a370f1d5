"""Make files from files of transforms: inverses, compositions and Jacobians.

The functions return sentences that warn of what the user may not have intended.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from diffeode.desk.transform import Transform, load_chain, load_transform
from diffeode.errors import InputError
from diffeode.evaluation.jacobian import (
    jacobian_everywhere,
    jacobian_metrics,
    onesided_determinants,
    own_map,
)
from diffeode.files import io
from diffeode.files.series import read_grid_of_series
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.plane import (
    is_slice,
    laid_flat,
    plane_frame,
    thickened_field,
    thin_axis,
    with_thin_axis,
)
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField

_LEAST_VOXELS = 3
"""Number of voxels along every axis that one-sided differences need."""
_IN_PLANE = 1e-2
"""Largest difference between the distances of a slice's points from its plane, in pixels, by which
they count as one plane.
"""


def invert_file(
    source: Path, out: Path, reference: Path | None = None, orientation: str | None = None
) -> list[str]:
    """Write the inverse of the transform at ``source`` to ``out``.

    Args:
        reference: the moving scan, on whose grid the inverse of a displacement field lies.
        orientation: the orientation of ``reference`` where its header leaves it open.

    Raises:
        InputError: a file is unusable, a field has no reference, or its map reaches no part of it.
    """
    inverse = load_transform(source).inverse
    if inverse.grid is None and not inverse.is_affine and reference is None:
        raise InputError(
            f"The inverse of {source} is a displacement field on the grid of the moving scan; give "
            "that scan by --reference."
        )
    return _saved(inverse, out, _grid(reference, orientation))


def compose_files(
    steps: Sequence[tuple[Path, bool]],
    out: Path,
    reference: Path | None = None,
    orientation: str | None = None,
) -> list[str]:
    """Write several transforms as one to ``out``.

    Args:
        steps: as for :func:`diffeode.desk.transform.load_chain`; points pass them in this order.
        reference: the fixed scan, on whose grid a displacement field lies; by default the grid of
            the first transform.
        orientation: the orientation of ``reference`` where its header leaves it open.

    Raises:
        InputError: a file is unusable, there is no grid for a field, or the transforms are known
            nowhere on it.
    """
    return _saved(load_chain(steps), out, _grid(reference, orientation))


def jacobian_files(
    source: Path,
    out: Path,
    *,
    folds: Path | None = None,
    determinant: bool = False,
    affine: Path | None = None,
    reference: Path | None = None,
    orientation: str | None = None,
) -> tuple[str, list[str]]:
    """Write the logarithm of the Jacobian determinant of a map, and where it folds.

    Args:
        out: the file of the logarithm, which is NaN where the map folds.
        folds: a file for the mask of voxels that fold by central or one-sided differences.
        determinant: whether the determinant itself is written instead of its logarithm.
        affine: the affine alignment that the map includes and that is left out.
        reference: the scan on whose grid the determinant is taken; by default the map's grid.
        orientation: the orientation of ``reference`` where its header leaves it open.

    Returns:
        A sentence with the numbers, and notes.

    Raises:
        InputError: a file is unusable, there is no grid, or ``affine`` is no affine or a
            reflection.
    """
    alignment = None if affine is None else Affine(load_transform(affine).matrix)
    with _noted() as notes:
        laid = load_transform(source).on_grid(_grid(reference, orientation))
    axis = thin_axis(laid.grid.shape)
    field = laid
    if axis is not None:
        field, alignment = own_map(laid_flat(laid, axis), alignment), None
        _require_in_plane(field, source)
    values = jacobian_everywhere(field, alignment)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.where(values > 0, np.log(values), np.nan)
    folded = _folded(field, values, alignment)
    image = Image(values if determinant else logarithm, field.grid)
    io.write_image(out, image if axis is None else with_thin_axis(image, axis))
    if folds is not None:
        labels = Labels(folded, field.grid)
        io.write_labels(folds, labels if axis is None else with_thin_axis(labels, axis))
    return _in_words(field, values, alignment), notes


def _saved(transform: Transform, out: Path, grid: Grid | None) -> list[str]:
    with _noted() as notes:
        transform.save(out, grid, overwrite=True)  # the command has asked already
    return notes


@contextmanager
def _noted() -> Iterator[list[str]]:
    """Yield a list that holds the warnings of the block when it has ended."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield notes
    notes += [str(warning.message) for warning in caught if warning.category is UserWarning]


def _grid(reference: Path | None, orientation: str | None) -> Grid | None:
    return None if reference is None else read_grid_of_series(reference, orientation)


def _require_in_plane(field: DisplacementField, source: Path) -> None:
    """Raise :class:`InputError` where the map of a slice leads out of its plane, in which alone
    areas can be compared.
    """
    away = field.displacement_mm.reshape(-1, 3) @ plane_frame(field.grid).matrix[:3, 2]
    if np.ptp(away) > _IN_PLANE * float(field.grid.spacing[:2].min()):
        raise InputError(
            f"{source} leads from the plane of its slice into another plane, so there is no |J| "
            "within a plane; give the affine alignment that it includes by --affine."
        )


def _folded(field: DisplacementField, values: np.ndarray, alignment: Affine | None) -> np.ndarray:
    folded = values <= 0
    if is_slice(field.grid):
        if min(field.grid.shape[:2]) >= _LEAST_VOXELS:
            onesided = onesided_determinants(thickened_field(field))
            folded[1:-1, 1:-1] |= onesided.min(axis=0) <= 0
    elif min(field.grid.shape) >= _LEAST_VOXELS:
        inner = (slice(1, -1),) * 3
        folded[inner] |= onesided_determinants(field, alignment).min(axis=0) <= 0
    return folded


def _in_words(field: DisplacementField, values: np.ndarray, alignment: Affine | None) -> str:
    """Return the range of the determinant and the folds of a whole grid, as one line."""
    words = f"|J| from {values.min():.4g} to {values.max():.4g}"
    what, sides = ("pixels", 2) if is_slice(field.grid) else ("voxels", 3)
    if min(field.grid.shape[:sides]) < _LEAST_VOXELS:
        return f"{words}; |J| <= 0 in {(values <= 0).sum()} {what} (central differences)"
    found = jacobian_metrics(field, np.ones(field.grid.shape, dtype=bool), alignment)
    return (
        f"{words}; SD of log |J| {found['sdlogj']:.4g}; |J| <= 0 in "
        f"{found['folds_central_grid_percent']:.4g} % (central) and "
        f"{found['folds_onesided_grid_percent']:.4g} % (one-sided differences) of the inner "
        f"{what}; NDV {found['ndv_percent']:.4g} %"
    )
