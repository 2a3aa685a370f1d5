"""Reading and checking of what guides a registration at a desk (:mod:`diffeode.desk.guides`)."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.desk.guides import Guides, Landmarks, OtherContrast
from diffeode.desk.inputs import Inputs, read_mask
from diffeode.desk.transform import require_columns_of_points
from diffeode.errors import InputError
from diffeode.evaluation.landmarks import shared_landmarks
from diffeode.files import io
from diffeode.files.slices import holds_slice, read_slice
from diffeode.geometry.image import Image
from diffeode.geometry.maps import inside
from diffeode.geometry.plane import is_slice
from diffeode.geometry.space import Grid

_SHOWN = 5
"""Number of names of landmarks that a message lists."""
_EVERY = 3
"""Every so many voxels along an axis are looked at to see whether two scans meet."""


def read_guides(
    inputs: Inputs,
    fixed: Sequence[Path] = (),
    moving: Sequence[Path] = (),
    *,
    weights: Sequence[float] | None = None,
    label_weight: float = 0.0,
    landmarks: tuple[pd.DataFrame, pd.DataFrame] | None = None,
    landmark_names: tuple[str, str] = ("the fixed landmarks", "the moving landmarks"),
    landmark_weight: float = 0.0,
    stiff: Path | None = None,
    orientation: str | None = None,
) -> Inputs:
    """Return ``inputs`` with what guides their registration.

    Args:
        fixed, moving: files of the further contrasts of the two scans, in the same order.
        weights: the weight of each contrast, the first one's first; None weights all alike.
        label_weight: the weight of the misfit of the label maps; 0 for none.
        landmarks: tables of the fixed and of the moving scan, columns ``name x y z``, RAS mm.
        landmark_names: what messages call the two tables.
        landmark_weight: the weight of the landmarks; with 0 their errors are measured only.
        stiff: a mask on the grid of the fixed scan, above 0 where the map is held stiff.
        orientation: as for :func:`diffeode.desk.inputs.read_inputs`.

    Raises:
        InputError: the sides have different numbers of contrasts; a contrast is unusable, is given
            twice, or does not meet the first one; a weight is no positive number, or there is none
            for each contrast; a term has a weight and not what it needs; landmarks do not pair or
            lie outside; or a mask is unusable.
    """
    if len(fixed) != len(moving):
        raise InputError(
            f"The fixed scan has {len(fixed) + 1} contrasts and the moving one {len(moving) + 1}; "
            "give the same contrasts of both, in the same order."
        )
    shares = _shares(weights, 1 + len(fixed))
    first = {
        "fixed": (inputs.fixed, inputs.fixed_name),
        "moving": (inputs.moving, inputs.moving_name),
    }
    images = [
        [_read_contrast(path, *first[side], orientation) for path in paths]
        for side, paths in (("fixed", fixed), ("moving", moving))
    ]
    for side, paths, others in zip(first, (fixed, moving), images, strict=True):
        named = [first[side], *zip(others, map(str, paths), strict=True)]
        _require_different(named)
    _require_weight("label", label_weight)
    _require_weight("landmark", landmark_weight)
    if label_weight and (inputs.fixed_labels is None or inputs.moving_labels is None):
        raise InputError(
            "Labels can guide the registration only where both label maps are given; give "
            "--fixed-labels and --labels, or leave --label-weight out."
        )
    if landmark_weight and landmarks is None:
        raise InputError(
            "There are no landmarks that could guide the registration; give --landmarks, or leave "
            "--landmark-weight out."
        )
    points = None
    if landmarks is not None:
        points = _paired(landmarks, landmark_names, (inputs.fixed.grid, inputs.moving.grid))
    held = read_mask(stiff, inputs.fixed.grid, Path(inputs.fixed_name), orientation)
    guides = Guides(
        tuple(
            OtherContrast(fixed_image, moving_image, str(here), str(there))
            for fixed_image, moving_image, here, there in zip(*images, fixed, moving, strict=True)
        ),
        shares,
        label_weight,
        points,
        landmark_weight,
        held if isinstance(held, np.ndarray) else None,
        "" if stiff is None else str(stiff),
    )
    return dataclasses.replace(inputs, guides=guides)


# ---------------------------------------------------------------------------------------- contrasts


def _shares(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Return the share of each contrast: its weight divided by the sum of all."""
    if weights is None:
        return (1 / count,) * count
    if len(weights) != count:
        raise InputError(
            f"There are {count} contrasts and {len(weights)} weights of contrasts; give one weight "
            "for each contrast."
        )
    if not all(0 < weight < math.inf for weight in weights):
        raise InputError(
            f"The weights of the contrasts are {', '.join(f'{w:g}' for w in weights)}; each must "
            "be a number above 0."
        )
    return tuple(weight / sum(weights) for weight in weights)


def _read_contrast(path: Path, first: Image, first_name: str, orientation: str | None) -> Image:
    flat = is_slice(first.grid)
    if holds_slice(path) != flat:
        kinds = ("a volume", "a slice") if flat else ("a slice", "a volume")
        raise InputError(
            f"{path} is {kinds[0]} and {first_name} is {kinds[1]}; contrasts of one scan are "
            "slices or volumes alike."
        )
    image = read_slice(path, orientation).image if flat else io.read_image(path, orientation)
    if image.grid.matches(first.grid):
        return Image(image.data, first.grid)
    if flat:
        raise InputError(
            f"The slices {path} and {first_name} lie on different grids; contrasts of one slice "
            "have the same pixels."
        )
    if not _meet(first.grid, image.grid):
        raise InputError(
            f"{path} lies wholly beside {first_name} by the positions in their headers, so they "
            "are no contrasts of one scan; give scans of one session, or align them first."
        )
    return image


def _meet(one: Grid, other: Grid) -> bool:
    """Return whether the boxes of two grids overlap, up to a few voxels."""
    sparse = (slice(None, None, _EVERY),) * 3
    return bool(
        inside(other, one.points_mm()[sparse]).any() or inside(one, other.points_mm()[sparse]).any()
    )


def _require_different(images: Sequence[tuple[Image, str]]) -> None:
    for (one, name), (other, other_name) in itertools.combinations(images, 2):
        if one.grid.matches(other.grid) and np.array_equal(one.data, other.data):
            raise InputError(
                f"{name} and {other_name} hold the same image; give each contrast once, and let it "
                "count more by its weight."
            )


# ---------------------------------------------------------------------------------------- landmarks


def _paired(
    tables: tuple[pd.DataFrame, pd.DataFrame], names: tuple[str, str], grids: tuple[Grid, Grid]
) -> Landmarks:
    """Return the landmarks of both scans in one order."""
    for table, name in zip(tables, names, strict=True):
        require_columns_of_points(table, ["name", "x", "y", "z"])
        twice = table["name"][table["name"].duplicated()].unique()
        if len(twice):
            raise InputError(
                f"{name} has the landmark {_listed(twice)} more than once; give every landmark a "
                "name of its own."
            )
    for here, there in ((0, 1), (1, 0)):
        alone = tables[here]["name"][~tables[here]["name"].isin(tables[there]["name"])]
        if len(alone):
            raise InputError(
                f"{names[here]} has the landmark {_listed(alone)}, which {names[there]} lacks; "
                "name those alike that belong together, and remove the others."
            )
    points = shared_landmarks(*tables)
    if not len(points[0]):
        raise InputError(f"{names[0]} has no landmarks; give one at least.")
    for side, name, coordinates, grid in zip(
        ("fixed", "moving"), names, points, grids, strict=True
    ):
        beyond = ~(np.isfinite(coordinates).all(axis=1) & inside(grid, coordinates))
        if beyond.any():
            raise InputError(
                f"{name} has the landmark {_listed(tables[0]['name'][beyond])} outside of the "
                f"{side} scan; look at the frame of its coordinates (RAS mm)."
            )
    return Landmarks(*points, *names)


def _listed(names: Sequence[object]) -> str:
    shown = ", ".join(str(name) for name in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _require_weight(what: str, weight: float) -> None:
    if not 0 <= weight < math.inf:
        raise InputError(f"The {what} weight is {weight:g}; give a number from 0 on.")
