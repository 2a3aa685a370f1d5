"""The transform as users of the library hold it."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import nibabel as nib
import numpy as np
import pandas as pd

from diffeode.desk.delivery import require_new
from diffeode.desk.given import GridLike, ImageLike, field_of, grid_of, name_of, series_of
from diffeode.desk.references import require_reference_of_kind
from diffeode.desk.resampling import Destination, How, resampled
from diffeode.errors import InputError
from diffeode.evaluation.jacobian import jacobian_everywhere
from diffeode.files import io, transforms
from diffeode.files.fields import ITK_VECTOR_INTENT
from diffeode.geometry.maps import collapsed, grid_where_known, inverse_of, mapped_within
from diffeode.geometry.plane import stays_in_plane
from diffeode.geometry.space import Grid, flip_ras_lps
from diffeode.geometry.transform import Affine, Chain, DisplacementField
from diffeode.geometry.transform import Transform as Map
from diffeode.provenance.removal import require_kept
from diffeode.units.registration import RegistrationUnit

_INTERPOLATION = {0: "nearest", 1: "linear", 3: "spline"}
_AXES = ["x", "y", "z"]
_POINTS_SHOWN = 5


@final
@dataclass(frozen=True, eq=False)
class Transform:
    """A map that sends points of the fixed scan to points of the moving scan, RAS mm.

    Points go from fixed to moving (:meth:`map`). Images go the other way: :meth:`apply` looks up,
    for each voxel of the fixed grid, the value of the moving image at the point that the map sends
    the voxel to. ``a @ b`` is the map that applies ``b`` first and then ``a``.

    Attributes:
        mapping: the map of points, an affine, a displacement field or several of them
            (:mod:`diffeode.geometry.transform`).
        back: the map back where it is known, such as a registration's own; with None, the inverse
            is computed.
        name: what messages call the transform.
        flat: whether it is a transform of ITK in 2-D, a map of slices that lie as pictures do; an
            affine that is flat is written in 2-D again.

    >>> shift = Transform.from_matrix([[1, 0, 0, 10], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> double = Transform.from_matrix(np.diag([2, 2, 2, 1]))
    >>> (double @ shift).map([1, 1, 1]).tolist()
    [22.0, 2.0, 2.0]
    >>> shift.inverse.map([10, 0, 0]).tolist()
    [0.0, 0.0, 0.0]
    """

    mapping: Map
    back: Map | None = None
    name: str = "the transform"
    flat: bool = False

    # Without it, NumPy would take a transform for a number in ``array @ transform``.
    __array_ufunc__ = None

    # ---------------------------------------------------------------------------------- making one

    @classmethod
    def from_matrix(cls, matrix: Any) -> Transform:
        """Return the affine with a homogeneous ``matrix (4, 4)``, fixed to moving, RAS mm.

        Raises:
            InputError: the matrix is singular, not finite or not 4 x 4.
        """
        return cls(Affine(np.asarray(matrix, dtype=np.float64)))

    @classmethod
    def from_displacement(cls, displacement_mm: np.ndarray, fixed: GridLike) -> Transform:
        """Return the map ``x -> x + u(x)``.

        Args:
            displacement_mm: ``u`` at the voxels of the fixed scan, ``(X, Y, Z, 3)``, RAS mm.
            fixed: the fixed scan, or its grid.

        Raises:
            InputError: the array does not fit the grid, or a displacement is not finite.
        """
        return cls(DisplacementField(np.asarray(displacement_mm), grid_of(fixed, "the fixed scan")))

    @classmethod
    def from_itk(cls, transform: Any) -> Transform:
        """Return a ``SimpleITK.Transform``, which maps points of the fixed scan to points of the
        moving scan in LPS mm, as a transform in RAS mm.

        A transform in 2-D is one of slices that lie as pictures do, and moves nothing out of its
        plane.

        Raises:
            InputError: it is neither linear nor a displacement field.
        """
        mapping = transforms.of_itk(transform, "The transform of SimpleITK")
        return cls(mapping, flat=transform.GetDimension() == 2)

    @classmethod
    def from_nibabel(cls, image: nib.Nifti1Image) -> Transform:
        """Return an ITK displacement field, fixed to moving, LPS mm, ``(X, Y, Z, 1, 3)``, that an
        image of nibabel holds.

        Raises:
            InputError: the header is not that of such a field.
        """
        return cls(field_of(image, "The displacement field"))

    @classmethod
    def from_nitransforms(cls, transform: Any, fixed: GridLike | None = None) -> Transform:
        """Return a transform of nitransforms, which maps points of its reference (our fixed scan)
        to points of the moving scan, RAS mm.

        Args:
            fixed: where a transform that is no affine is sampled; by default its own reference.

        Raises:
            InputError: it is no affine, has no reference, and ``fixed`` is not given.
        """
        matrix = np.asarray(getattr(transform, "matrix", np.zeros(0)))
        if matrix.shape == (4, 4):
            return cls(Affine(matrix))
        grid = None if fixed is None else grid_of(fixed, "the fixed scan")
        if grid is None:
            reference: Any = getattr(transform, "reference", None)
            if getattr(reference, "affine", None) is None:
                raise InputError(
                    "The transform of nitransforms has no reference, on whose grid it is to be "
                    "sampled; give the fixed scan."
                )
            grid = Grid(tuple(reference.shape), np.asarray(reference.affine))
        points = grid.points_mm()
        moved = np.asarray(transform.map(points.reshape(-1, 3))).reshape(points.shape)
        return cls(DisplacementField((moved - points).astype(np.float32), grid))

    # ----------------------------------------------------------------------------------- using one

    @property
    def is_affine(self) -> bool:
        """Whether the map is affine."""
        return isinstance(collapsed(self.mapping), Affine)

    @property
    def matrix(self) -> np.ndarray:
        """The homogeneous matrix ``(4, 4)`` of an affine, fixed to moving, RAS mm.

        Raises:
            InputError: the map is no affine.
        """
        affine = collapsed(self.mapping)
        if not isinstance(affine, Affine):
            raise InputError(f"{self.name} is no affine, so it has no matrix.")
        return affine.matrix

    @property
    def grid(self) -> Grid | None:
        """The grid of the fixed scan, on which a displacement field is known; None for an affine or
        a computed inverse, which lies on no grid.
        """
        return grid_where_known(self.mapping)

    @property
    def inverse(self) -> Transform:
        """The map back, which sends points of the moving scan to points of the fixed scan, RAS mm.

        It is exact for affines. A registration has its own. Otherwise the inverse is found at each
        point by iteration (:class:`diffeode.geometry.maps.Inverse`), to 0.001 mm; :meth:`map`
        refuses points at which it is not found.
        """
        back = inverse_of(self.mapping) if self.back is None else self.back
        return Transform(back, self.mapping, f"the inverse of {self.name}", self.flat)

    def __matmul__(self, first: Transform) -> Transform:
        """Return the map that applies ``first`` and then this one, as products of matrices do:
        ``(a @ b).map(x)`` is ``a.map(b.map(x))``.

        Where ``b`` leads from the fixed scan to a second scan and ``a`` from there to the moving
        scan, ``a @ b`` leads from the fixed scan to the moving scan, RAS mm.
        """
        if not isinstance(first, Transform):
            return NotImplemented
        back = None
        if self.back is not None and first.back is not None:
            back = collapsed(Chain((self.back, first.back)))
        whole = collapsed(Chain((first.mapping, self.mapping)))
        flat = self.flat and first.flat
        return Transform(whole, back, f"{first.name} and then {self.name}", flat)

    def map(self, points: Any, *, outside: str = "refuse") -> Any:
        """Return where the map sends points of the fixed scan: points of the moving scan, RAS mm.

        Args:
            points: ``(..., 3)``, or a table with the columns ``x``, ``y`` and ``z``, RAS mm.
            outside: what happens where a point lies beyond the grid of a displacement field:
                ``refuse``, or ``extend``, by which the displacement of the nearest border voxel
                counts.

        Returns:
            An array, or a table as it was given with other coordinates.

        Raises:
            InputError: points lie outside, a coordinate is not finite, or there are not three.
        """
        if outside not in ("refuse", "extend"):
            raise InputError(f"outside is {outside!r}; choose refuse or extend.")
        if isinstance(points, pd.DataFrame):
            require_columns_of_points(points, _AXES)
            moved = self.map(points[_AXES].to_numpy(dtype=np.float64), outside=outside)
            return points.assign(**dict(zip(_AXES, moved.T, strict=True)))
        given = np.asarray(points, dtype=np.float64)
        if given.shape[-1:] != (3,) or not np.isfinite(given).all():
            raise InputError(
                f"Points have the shape {given.shape} or are not finite; give finite numbers of "
                "shape (..., 3)."
            )
        moved, unknown = mapped_within(self.mapping, given)
        if unknown.any() and outside == "refuse":
            raise InputError(f"{outside_in_words(self.name, given, unknown)}.")
        return moved

    def apply(
        self,
        image: ImageLike,
        reference: GridLike | None = None,
        *,
        order: int | None = None,
        labels: bool | None = None,
        background: float | None = None,
    ) -> nib.Nifti1Image:
        """Return the moving ``image`` on the grid of the fixed scan, resampled once.

        Args:
            image: an image in the space of the moving scan: a scan, a label map, a 4-D series or an
                image of vectors, whose components are resampled and not turned; or the path of a
                picture, whose colours become a fourth axis of the result.
            reference: the image or grid on which the result lies; by default the fixed grid of the
                map.
            order: 0 for the nearest neighbour, 1 for linear interpolation, 3 for cubic splines. By
                default label maps are taken by nearest neighbour and scans linearly. With order 1,
                a label map keeps whole labels: each voxel gets the label of the largest weight.
            labels: whether the image is a label map; by default that is seen from its values.
            background: the value of voxels that the map leads out of the image; by default 0, and
                around a picture the colour of its background.

        Raises:
            InputError: the image or the reference is unusable, the map leads to no part of the
                image, or the order does not suit it.

        Warns:
            UserWarning: of what may not have been intended, such as a label map that was not
                declared.
        """
        if order is not None and order not in _INTERPOLATION:
            raise InputError(f"There is no interpolation of order {order}; choose 0, 1 or 3.")
        interpolation = None if order is None else _INTERPOLATION[order]
        if labels and order == 1:
            interpolation = "label-aware"
        name = name_of(image, "the image")
        grid = None if reference is None else grid_of(reference, "the reference")
        reference_name = name_of(reference, "given")
        to = Destination.of(self.mapping, self.name, grid, reference_name, self.flat)
        how = How(interpolation, labels, background)
        result = resampled(to, series_of(image, name), name, how)
        for note in result.notes:
            warnings.warn(note, stacklevel=2)
        return result.nifti

    def jacobian(self, reference: GridLike | None = None) -> nib.Nifti1Image:
        """Return the determinant ``|J|`` of the whole map, fixed to moving, at each voxel of the
        fixed grid.

        It is the factor by which the map enlarges a small volume of the fixed scan; 0 or less where
        the map folds. It is taken by central differences, and by one-sided ones on the outermost
        voxels.

        Args:
            reference: the grid; by default that of the map.

        Raises:
            InputError: there is no reference though the map lies on no grid.
        """
        field = self.on_grid(reference)
        return io.nifti_of(jacobian_everywhere(field), field.grid)

    # ---------------------------------------------------------------------------------- giving one

    def save(
        self,
        path: str | os.PathLike[str],
        reference: GridLike | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Write the transform, fixed to moving, in ITK's frame (LPS mm), which ANTs and SimpleITK
        read.

        Args:
            path: ``.nii.gz`` or ``.nii`` for a displacement field; ``.txt``, ``.tfm`` or ``.mat``
                for an affine; ``.h5`` for either.
            reference: the grid of a displacement field; by default that of the map.
            overwrite: whether a file of that name is replaced.

        Raises:
            InputError: the format holds no such transform, the file exists and may not be replaced,
                or it cannot be written.
        """
        transforms.require_writable_name(path)
        require_new([Path(path)], overwrite, "overwrite=True")
        transforms.write_transform(path, self._as_written(path, reference), self.flat)

    def to_itk(self, reference: GridLike | None = None) -> Any:
        """Return a ``SimpleITK.Transform`` that maps points of the fixed scan to points of the
        moving scan in LPS mm. A map of slices that lie as pictures do is one in 2-D.

        Args:
            reference: the grid of a displacement field; by default that of the map.
        """
        whole = collapsed(self.mapping)
        map_ = whole if isinstance(whole, Affine) else self.on_grid(reference)
        return transforms.to_itk(map_, self.flat)

    def to_nibabel(self, reference: GridLike | None = None) -> nib.Nifti1Image:
        """Return an ITK displacement field, fixed to moving, LPS mm, ``(X, Y, Z, 1, 3)``, as an
        image of nibabel; of slices that lie as pictures do, ``(X, Y, 1, 1, 2)``.

        Args:
            reference: the grid of the field; by default that of the map.
        """
        field = self.on_grid(reference)
        vectors = flip_ras_lps(field.displacement_mm)[:, :, :, None, :]
        if stays_in_plane(field):
            vectors = vectors[..., :2]
        nifti = io.nifti_of(vectors, field.grid)
        nifti.header["intent_code"] = ITK_VECTOR_INTENT
        return nifti

    def to_nitransforms(self, reference: GridLike | None = None) -> Any:
        """Return a transform of nitransforms, fixed to moving, RAS mm; nitransforms must be
        installed.

        Args:
            reference: the grid of a displacement field; by default that of the map.

        Raises:
            InputError: nitransforms is not installed.
        """
        try:
            from nitransforms.linear import Affine as LinearTransform
            from nitransforms.nonlinear import DenseFieldTransform
        except ImportError:
            raise InputError(
                "The package nitransforms is not installed; install it with 'pip install "
                "nitransforms'."
            ) from None
        if self.is_affine:
            return LinearTransform(self.matrix)
        field = self.on_grid(reference)
        return DenseFieldTransform(io.nifti_of(field.displacement_mm, field.grid), is_deltas=True)

    def _as_written(
        self, path: str | os.PathLike[str], reference: GridLike | None
    ) -> Affine | DisplacementField:
        """Return the affine, or the displacement field that is to be written to ``path``."""
        own = collapsed(self.mapping)
        is_field = os.fspath(path).endswith(transforms.FIELD_SUFFIXES)
        return own if isinstance(own, Affine) and not is_field else self.on_grid(reference)

    def on_grid(self, reference: GridLike | None = None) -> DisplacementField:
        """Return the map as a displacement at each voxel of the fixed grid, RAS mm.

        Args:
            reference: the grid; by default that of the map.

        Raises:
            InputError: there is no reference though the map lies on no grid, the map is one of
                slices and the reference a volume or the other way round
                (:func:`diffeode.desk.references.require_reference_of_kind`), or the map is known
                nowhere on the reference.

        Warns:
            UserWarning: a part of the reference lies outside of what the map is known for.
        """
        own = collapsed(self.mapping)
        grid = self.grid if reference is None else grid_of(reference, "the reference")
        if grid is not None and reference is not None:
            require_reference_of_kind(own, self.flat, self.name, grid, name_of(reference, "given"))
        if grid is None:
            raise InputError(
                f"A displacement field of {self.name} needs a grid, which neither an affine nor an "
                "inverse has; give a reference, such as the fixed scan."
            )
        if isinstance(own, DisplacementField) and own.grid.matches(grid):
            return own
        points = grid.points_mm()
        moved, unknown = mapped_within(own, points)
        if unknown.all():
            raise InputError(
                f"The reference lies nowhere on the grid of {self.name}, so the map has no values "
                "there; give the scan from which the map leads."
            )
        if unknown.any():
            warnings.warn(
                f"{self.name} is not known in {100 * unknown.mean():.1f} % of the voxels of the "
                "reference, where it was continued from its border",
                stacklevel=2,
            )
        return DisplacementField((moved - points).astype(np.float32), grid)


def load_transform(path: str | os.PathLike[str]) -> Transform:
    """Return the transform at ``path``, which sends points of the fixed scan to points of the
    moving scan, RAS mm.

    Args:
        path: an ITK displacement field (NIfTI); a transform of ITK or ANTs (``.txt``, ``.tfm``,
            ``.mat``, ``.h5``); a matrix in RAS mm that this program wrote; or the folder of a
            registration, of which the map and its inverse are read.

    Raises:
        InputError: the file is missing or unreadable, or its frame is not known.
        DamagedFileError: the file is empty or truncated.
    """
    path = Path(path)
    if path.is_dir():
        unit = RegistrationUnit(path)
        if not unit.warp_file.exists():
            require_kept(unit.warp_file)
            raise InputError(f"{path} holds no {unit.warp_file.name}; give a registration.")
        warp = unit.warp()
        return Transform(warp, unit.inverse_warp(), str(path), stays_in_plane(warp))
    require_kept(path)
    mapping, flat = transforms.read_with_dimension(path)
    return Transform(mapping, None, str(path), flat)


def require_columns_of_points(points: pd.DataFrame, columns: Sequence[str]) -> None:
    """Raise :class:`InputError` where a table of points lacks one of ``columns``."""
    missing = [name for name in columns if name not in points]
    if missing:
        raise InputError(
            f"The table of points has no column {missing[0]!r}; it needs {', '.join(columns)}."
        )


def load_chain(steps: Sequence[tuple[Path, bool]]) -> Transform:
    """Return the transforms of several files as one.

    Args:
        steps: for each file its path, and whether its inverse is meant. Points of the fixed scan
            pass them in this order, as those of ``antsApplyTransforms`` do.
    """
    loaded = [load_transform(path) for path, _ in steps]
    whole = loaded[0].inverse if steps[0][1] else loaded[0]
    for transform, (_, inverted) in zip(loaded[1:], steps[1:], strict=True):
        whole = (transform.inverse if inverted else transform) @ whole
    return whole


def outside_in_words(
    name: str,
    points: np.ndarray,
    unknown: np.ndarray,
    names: Sequence[str] | None = None,
    unit: str = "RAS mm",
) -> str:
    """Return which points a map does not know, as a sentence without its full stop.

    Args:
        points: ``(..., 3)`` or ``(..., 2)``.
        unknown: which of them are meant, ``(...)`` bool.
        names: names of the points; by default their numbers, from 0 on.
        unit: the frame and the unit of ``points``.
    """
    flat, flags = points.reshape(-1, points.shape[-1]), unknown.ravel()
    numbers = np.flatnonzero(flags)
    first = ", ".join(
        f"{names[n] if names else n} at ({', '.join(f'{value:.1f}' for value in flat[n])})"
        for n in numbers[:_POINTS_SHOWN]
    )
    rest = f" and {len(numbers) - _POINTS_SHOWN} more" if len(numbers) > _POINTS_SHOWN else ""
    return (
        f"{len(numbers)} of {len(flat)} points lie outside of what {name} maps (points {first}"
        f"{rest}, {unit}); give points of its fixed scan, or allow points outside"
    )
