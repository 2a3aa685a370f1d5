"""Resample scans, label maps, pictures and series through a map, in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import nibabel as nib
import numpy as np

from diffeode.desk.pictures import (
    as_picture,
    background_of,
    one_colour,
    without_hidden_colours,
)
from diffeode.desk.references import require_reference_of_kind
from diffeode.errors import InputError
from diffeode.files.label_ids import ids_of, lost_labels, shown
from diffeode.files.pictures import Picture
from diffeode.files.series import Series, as_nifti
from diffeode.geometry.interpolate import interpolated, require_interpolation
from diffeode.geometry.maps import grid_where_known, inside, mapped_within
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Transform
from diffeode.prepare.recognised import looks_like_a_label_map

_FEW_PERCENT = 10
_LEAST_PERCENT = 0.1
"""Smallest share of voxels at which a map is not known that is reported."""


@final
@dataclass(frozen=True)
class How:
    """How images are resampled.

    Attributes:
        interpolation: one of :data:`diffeode.geometry.interpolate.INTERPOLATIONS`; None for
            ``nearest`` of label maps and ``linear`` of scans.
        labels: whether the images are label maps; with None, each image is looked at.
        background: the value of voxels that the map leads out of the image; None for 0, and for the
            colour of its background around a picture.

    Raises:
        InputError: the interpolation is unknown or would mix the ids of label maps, or the
            background is no finite number.
    """

    interpolation: str | None = None
    labels: bool | None = None
    background: float | None = None

    def __post_init__(self) -> None:
        if self.interpolation is not None:
            require_interpolation(self.interpolation, is_labels=bool(self.labels))
        if self.interpolation == "label-aware" and self.labels is False:
            raise InputError(
                "The interpolation label-aware is for label maps; choose linear, nearest or spline "
                "for a scan."
            )
        if self.background is not None and not np.isfinite(self.background):
            raise InputError(f"The background {self.background} is no finite number; give one.")


@final
@dataclass(frozen=True, eq=False)
class Resampled:
    """An image that was resampled.

    Attributes:
        values: ``(X, Y, Z, N)`` with the N volumes of the image, on its new grid.
        grid: the new grid.
        image: the image as it was.
        notes: sentences that warn of what the user may not have intended.
    """

    values: np.ndarray
    grid: Grid
    image: Series
    notes: tuple[str, ...]

    @property
    def nifti(self) -> nib.Nifti1Image:
        """The result as NIfTI: float32, or int32 for a label map. The colours of a picture lie
        along a fourth axis.
        """
        return as_nifti(self.values, self.grid, self.image)

    @property
    def picture(self) -> Picture:
        """The result as a picture like the one that was resampled.

        Raises:
            InputError: the image was no picture, or the new grid is that of a volume.
        """
        if self.image.picture is None or self.grid.shape[2] != 1:
            raise InputError(
                "The result is no picture, because the image is none or the reference is a volume; "
                "end its name in .nii.gz."
            )
        return as_picture(self.values, self.image.picture)


@final
@dataclass(frozen=True, eq=False)
class Destination:
    """The grid on which results lie, and the points of the moving scan that its voxels come from.

    Attributes:
        grid: the grid.
        reached: where the map sends the centre of each voxel, ``(X, Y, Z, 3)``, RAS mm.
        unknown: the voxels where the map is not known and was continued from its border, ``(X, Y,
            Z)`` bool.
        map_name: what messages call the map.
    """

    grid: Grid
    reached: np.ndarray
    unknown: np.ndarray
    map_name: str

    @classmethod
    def of(
        cls,
        transform: Transform,
        map_name: str,
        reference: Grid | None = None,
        reference_name: str = "the reference",
        flat: bool = False,
    ) -> Destination:
        """Return the destination on ``reference`` or, without one, on the grid of the map.

        Args:
            flat: whether the map is a transform of ITK in 2-D.

        Raises:
            InputError: there is no reference though the map lies on no grid, the map is one of
                slices and the reference a volume or the other way round
                (:func:`diffeode.desk.references.require_reference_of_kind`), or the reference lies
                nowhere on the grid of the map.
        """
        if reference is not None:
            require_reference_of_kind(transform, flat, map_name, reference, reference_name)
        known = grid_where_known(transform)
        grid = reference or known
        if grid is None:
            raise InputError(
                f"{map_name} begins with an affine or an inverse, which lies on no grid; give the "
                "fixed scan as reference, on whose grid the result is to lie."
            )
        reached, unknown = mapped_within(transform, grid.points_mm())
        if unknown.all():
            raise InputError(
                f"The reference {reference_name} lies nowhere on the grid of {map_name}, so the "
                "map has no values there; give the fixed scan of that map, or another scan in the "
                "same place."
            )
        return cls(grid, reached, unknown, map_name)


def resampled(to: Destination, image: Series, name: str, how: How) -> Resampled:
    """Return ``image`` on the grid of a destination, resampled once.

    Args:
        name: what messages call the image.

    Raises:
        InputError: the map leads to no part of the image; or the image is declared a label map but
            its values are no ids, or the background is no id.
    """
    is_labels, notes = _kind(image, name, how)
    interpolation = how.interpolation or ("nearest" if is_labels else "linear")
    require_interpolation(interpolation, is_labels)
    fills = _fills(image, name, how.background, is_labels)
    share = _share(image.grid, to.reached)
    voxels = image.grid.to_voxel(to.reached)
    parts, lost = [], set()
    for volume, fill in zip(image.volumes(), fills, strict=True):
        data = _values(volume, image, name, is_labels)
        parts.append(interpolated(data, voxels, interpolation, fill))
        if is_labels:
            lost |= set(lost_labels(data, parts[-1]))
    result = np.stack(parts, axis=-1)
    if image.picture is not None:
        result = without_hidden_colours(result, image.picture, voxels, interpolation)
    blank = bool(image.values.any()) and not (result != np.array(fills)).any()
    if not share or (blank and not any(fills)):
        distance = float(
            np.linalg.norm(image.grid.centre_mm - to.reached.reshape(-1, 3).mean(axis=0))
        )
        raise InputError(
            f"{to.map_name} leads to no part of {name}, whose centre lies {distance:.0f} mm away; "
            "give the scan that the map was made for, and check the position in its header."
        )
    notes += [*_on_place(share, image.grid, name), *_on_border(to, image.grid, name)]
    if lost:
        notes.append(f"the result has none of the ids {shown(sorted(lost))} of {name}")
    if image.directed:
        notes.append(
            f"{name} holds {image.directed}s; each component was resampled, and no "
            f"{image.directed} was turned"
        )
    return Resampled(result, to.grid, image, tuple(notes))


def _kind(image: Series, name: str, how: How) -> tuple[bool, list[str]]:
    """Return whether an image is a label map, and a note where it was not declared to be one."""
    is_declared = how.labels or how.interpolation == "label-aware"
    if is_declared and image.picture is not None and image.beyond:
        raise InputError(
            f"{name} is no label map: it is in colour; give a grey picture whose values are the "
            "ids."
        )
    if how.labels is not None:
        return how.labels, []
    if how.interpolation == "label-aware":
        return True, []
    if not _looks_like_label_maps(image, name):
        return False, []
    if how.interpolation in (None, "nearest"):
        return True, [
            f"{name} looks like a label map and was resampled as one; give --no-labels if it is a "
            "scan"
        ]
    return False, [
        f"{name} looks like a label map, and the interpolation {how.interpolation} mixes its ids; "
        "give --labels if it is one"
    ]


def _looks_like_label_maps(image: Series, name: str) -> bool:
    """Return whether every volume of an image looks like a label map; volumes of zeros alone tell
    nothing.
    """
    telling = [volume for volume in image.volumes() if volume.any()]
    return bool(telling) and all(
        looks_like_a_label_map(_ids_or_values(volume, image, name), image.picture)
        for volume in telling
    )


def _ids_or_values(volume: np.ndarray, image: Series, name: str) -> np.ndarray:
    """Return the ids that the values of a volume stand for; the values where they are no ids.

    The values of a label map that a program scaled on writing are only nearly whole.
    """
    if volume.dtype.kind != "f":
        return volume
    try:
        return ids_of(volume, image.slope, image.stored, name)
    except InputError:
        return volume


def _values(volume: np.ndarray, image: Series, name: str, is_labels: bool) -> np.ndarray:
    if is_labels:
        return ids_of(volume, image.slope, image.stored, name)
    if image.picture is not None:
        return volume.astype(np.float64)
    with np.errstate(over="ignore"):
        single = np.ascontiguousarray(volume, dtype=np.float32)
    if not np.isfinite(single).all():
        raise InputError(f"{name} has values beyond 1e38, which cannot be kept; scale them first.")
    return single


def _fills(image: Series, name: str, background: float | None, is_labels: bool) -> Sequence[float]:
    """Return the value outside of each volume of ``image``."""
    _require_id(background or 0.0, is_labels)
    if image.picture is not None and background is not None:
        return one_colour(background, image.picture, name)
    if image.picture is not None and not is_labels:
        return background_of(image.picture, name)
    return [background or 0.0] * image.values.shape[3]


def _require_id(background: float, is_labels: bool) -> None:
    if is_labels and (background < 0 or background != np.rint(background)):
        raise InputError(
            f"The background {background:g} is no id of a label map; give a whole number from 0 on."
        )


def _share(grid: Grid, points_mm: np.ndarray) -> float:
    """Return the share of ``points_mm (..., 3)`` that lies in the box of ``grid``."""
    return float(inside(grid, points_mm).mean())


def _on_border(to: Destination, grid: Grid, name: str) -> list[str]:
    """Return a note where the image was looked up by a map that is not known there."""
    percent = 100 * float((to.unknown & inside(grid, to.reached)).mean())
    if percent < _LEAST_PERCENT:
        return []
    return [
        f"{to.map_name} is not known in {percent:.1f} % of the voxels of the result, where it was "
        f"continued from its border into {name}"
    ]


def _on_place(share: float, grid: Grid, name: str) -> list[str]:
    if 100 * share >= _FEW_PERCENT:
        return []
    return [
        f"the map leads only {100 * share:.1f} % of {np.prod(grid.shape)} voxels into {name}; "
        "check that this is the scan that it was made for"
    ]
