"""Measure a map that was found before: overlap, surfaces, landmarks, folds, consistency and
similarity.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd

from diffeode.desk.delivery import require_new
from diffeode.desk.given import ImageLike, image_of, labels_of, labels_on, name_of
from diffeode.desk.metrics import every_label
from diffeode.desk.transform import Transform, outside_in_words
from diffeode.errors import InputError
from diffeode.evaluation.catalogue import ROW
from diffeode.evaluation.evaluate import evaluate_pair
from diffeode.evaluation.jacobian import jacobian_metrics
from diffeode.evaluation.labels import what_is_not_counted
from diffeode.evaluation.landmarks import (
    require_pairing,
    shared_landmarks,
    target_registration_errors_mm,
    what_is_not_measured,
)
from diffeode.figures.evaluation import (
    EvaluationScene,
    draw_evaluation,
    require_name_of_picture,
)
from diffeode.files import io
from diffeode.files.tables import write_rows
from diffeode.geometry.image import Image, Labels, foreground
from diffeode.geometry.maps import inside, mapped_within
from diffeode.geometry.plane import is_slice, thin_axis, with_axis_last
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import (
    Affine,
    DisplacementField,
    densify,
    warp_image,
    warp_labels,
)
from diffeode.names import readable
from diffeode.prepare.side import prepared_side

_OF_BOTH = ("folds_", "ndv_", "sdlogj", "min_jacobian")
"""Beginnings of the names of metrics that are measured of the map back as well."""


@final
@dataclass(frozen=True)
class Evaluation:
    """The metrics of a map.

    Attributes:
        metrics: each metric by its name (docs/metrics.md says what each is); NaN where it cannot be
            computed.
        by_label: for Dice and HD95, the value of each label by its id, which is a text such as
            ``"17"``.
        notes: sentences about labels that only one of the two maps has, which count as Dice 0, and
            about landmarks that only one of the two tables has, which are not measured. A
            registration has them among its own notes.
    """

    metrics: Mapping[str, float]
    by_label: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, rows: pd.DataFrame) -> Evaluation:
        """Return the metrics in ``rows``, as :func:`evaluate_pair` gives them."""
        whole, labels = rows[rows["label"] == ""], rows[rows["label"] != ""]
        metrics = dict(zip(whole["metric"], whole["value"].astype(float), strict=True))
        by_label = {
            str(metric): dict(zip(group["label"], group["value"].astype(float), strict=True))
            for metric, group in labels.groupby("metric")
        }
        return cls(metrics, by_label)

    def rows(self) -> pd.DataFrame:
        """Return the metrics as a table, columns ``metric label label_name value``."""
        whole = [(name, "", "", value) for name, value in self.metrics.items()]
        labels = [
            (name, label, label, value)
            for name, values in self.by_label.items()
            for label, value in values.items()
        ]
        return pd.DataFrame([*whole, *labels], columns=list(ROW))

    def in_words(self) -> list[tuple[str, str]]:
        """Return the name of each metric and its value with four significant digits."""
        return [(name, f"{value:.4g}") for name, value in self.metrics.items()]

    def as_json(self) -> dict[str, object]:
        """Return the metrics as ``metrics.json`` of a registration has them; a number that does not
        exist is None.
        """
        return {
            "metrics": _numbers(self.metrics),
            **{f"{name}_by_label": _numbers(values) for name, values in self.by_label.items()},
        }


def evaluate(
    transform: Transform,
    fixed: ImageLike,
    moving: ImageLike,
    *,
    inverse: Transform | None = None,
    affine: Transform | None = None,
    fixed_labels: ImageLike | None = None,
    labels: ImageLike | None = None,
    fixed_landmarks: pd.DataFrame | None = None,
    landmarks: pd.DataFrame | None = None,
    mask: ImageLike | None = None,
    orientation: str | None = None,
    picture: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Evaluation:
    """Return every metric of a map that the arguments allow.

    These are folds, NDV and SDlogJ; with ``inverse`` the same of the map back, and the inverse
    consistency; with label maps Dice and HD95; with landmarks their errors; and the normalised
    mutual information of the scans before and after.

    Args:
        transform: the whole map, from points of the fixed scan to points of the moving scan, RAS
            mm.
        fixed, moving: the scans, each on its own grid.
        inverse: the map back, from points of the moving scan to points of the fixed scan.
        affine: the affine alignment that the whole map includes; folds and Jacobians are measured
            without it. By default they are those of the whole map.
        fixed_labels, labels: label maps of the fixed and of the moving scan, on their grids.
        fixed_landmarks, landmarks: tables with the columns ``name x y z``, RAS mm; those with the
            same name belong together.
        mask: where folds are measured, on the grid of the fixed scan; by default what the fixed
            scan shows, without its background. The similarity is measured there and where the
            warped moving scan shows something.
        orientation: the orientation of files whose header leaves it open.
        picture: a file (``.png``, ``.svg``, ``.pdf``) to which the contours before and after the
            map, and the errors of each label and landmark, are drawn. Before the map, the images
            lie as ``affine`` or, without it, their headers say.
        overwrite: whether a file of that name is replaced.

    Raises:
        InputError: a file is unusable, one of a pair is missing, the map is that of another scan,
            no landmarks have the same name or two of a scan have, tables without names differ in
            their number of landmarks, or landmarks lie outside.
    """
    if picture is not None:
        require_name_of_picture(Path(picture))
        require_new([Path(picture)], overwrite, "overwrite=True")
    _require_both("label maps", fixed_labels, labels)
    _require_both("tables of landmarks", fixed_landmarks, landmarks)
    sides = _sides((fixed, moving), (fixed_labels, labels), orientation)
    warp = _on_scan(transform, sides.scans[0], sides.names[0])
    _require_reached(warp, transform.name, sides.scans[1], sides.names[1])
    shown = foreground(sides.images[0])
    if mask is not None:
        shown = _mask(mask, sides.scans[0], sides.names[0], orientation)
    back = None if inverse is None else _on_scan(inverse, sides.scans[1], sides.names[1])
    alignment = None if affine is None else Affine(affine.matrix)
    notes = (*_on_labels(*sides.labels), *_on_landmarks(fixed_landmarks, landmarks))
    points = _landmarks(warp, transform.name, fixed_landmarks, landmarks, sides.scans[1].grid)
    measure = partial(
        evaluate_pair,
        fixed_image=sides.images[0],
        fixed_mask=shown,
        moving_scan=sides.images[1],
        moving_to_scan=alignment,
        fixed_labels=sides.labels[0],
        moving_labels=sides.labels[1],
        label_table=every_label(*sides.labels),
    )
    rows = measure(
        warp=warp,
        inverse_warp=back,
        fixed_landmarks_mm=points[0],
        moving_landmarks_mm=points[1],
    )
    found = dataclasses.replace(Evaluation.of(rows), notes=notes)
    if picture is not None:
        before = densify(alignment or Affine(), sides.images[0].grid)
        errors = _errors_by_label(Evaluation.of(measure(warp=before)), found)
        if fixed_landmarks is not None and landmarks is not None:
            errors["tre_mm"] = _landmark_errors((before, warp), fixed_landmarks, landmarks)
        _draw(sides, (before, warp), alignment is None, errors, Path(picture))
    if back is None:
        return found
    of_back = _metrics_of_back(back, sides.images[1], alignment)
    return dataclasses.replace(found, metrics={**found.metrics, **of_back})


@final
@dataclass(frozen=True)
class _Sides:
    """What is given of the fixed and of the moving side, in this order.

    Attributes:
        names: what messages call the scans.
        scans: the scans as they were given.
        images: the scans as a registration prepares them, on the same grids.
        labels: the label maps on these grids, or None.
    """

    names: tuple[str, str]
    scans: tuple[Image, Image]
    images: tuple[Image, Image]
    labels: tuple[Labels | None, Labels | None]


def _sides(
    given: tuple[ImageLike, ImageLike],
    labels: tuple[ImageLike | None, ImageLike | None],
    orientation: str | None,
) -> _Sides:
    names = (name_of(given[0], "the fixed image"), name_of(given[1], "the moving image"))
    scans = (image_of(given[0], names[0], orientation), image_of(given[1], names[1], orientation))
    _require_alike(scans[0].grid, scans[1].grid, names)
    return _Sides(
        names,
        scans,
        (prepared_side(scans[0], names[0]).image, prepared_side(scans[1], names[1]).image),
        (
            _labels_of_side(labels[0], "fixed", scans[0].grid, names[0], orientation),
            _labels_of_side(labels[1], "moving", scans[1].grid, names[1], orientation),
        ),
    )


def _labels_of_side(
    given: ImageLike | None, side: str, grid: Grid, name: str, orientation: str | None
) -> Labels | None:
    if given is None:
        return None
    return labels_on(grid, given, name_of(given, f"the {side} label map"), name, orientation)


def _metrics_of_back(
    back: DisplacementField, moving: Image, alignment: Affine | None
) -> dict[str, float]:
    """Return the metrics of the map back that are measured of both maps, without the affine."""
    undone = None if alignment is None else alignment.inverse()
    found = jacobian_metrics(back, foreground(moving), undone)
    return {f"inverse_{name}": value for name, value in found.items() if name.startswith(_OF_BOTH)}


def _on_labels(fixed: Labels | None, moving: Labels | None) -> tuple[str, ...]:
    """Return sentences about the labels that only one of two maps has."""
    if fixed is None or moving is None:
        return ()
    every = np.setdiff1d(np.union1d(fixed.data, moving.data), 0)
    return tuple(what_is_not_counted(fixed, moving, every))


def _on_landmarks(fixed: pd.DataFrame | None, moving: pd.DataFrame | None) -> tuple[str, ...]:
    """Return sentences about the landmarks that only one of two tables has.

    Raises:
        InputError: they have numbers in place of names, and it is not known which belong together.
    """
    if fixed is None or moving is None:
        return ()
    require_pairing(fixed, moving)
    return tuple(what_is_not_measured(fixed, moving))


def _draw(
    sides: _Sides,
    maps: tuple[DisplacementField, DisplacementField],
    as_headers_say: bool,
    errors: Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]],
    path: Path,
) -> None:
    """Draw the images before and after the map, and the errors of each label and landmark."""
    fixed_name, moving_name = (readable(Path(name).name) for name in sides.names)
    scene = dataclasses.replace(_scene(sides, maps, as_headers_say), errors=errors)
    draw_evaluation(scene, f"{moving_name} to {fixed_name}", path)


def _scene(
    sides: _Sides, maps: tuple[DisplacementField, DisplacementField], as_headers_say: bool
) -> EvaluationScene:
    """Return what is drawn of the images before and after the map, without the errors."""
    words = "As the headers say" if as_headers_say else "After the affine"
    (fixed, moving), (fixed_labels, labels) = sides.images, sides.labels
    if fixed_labels is None or labels is None:
        states = [warp_image(moving, map_, fixed.grid).data for map_ in maps]
        return EvaluationScene(fixed.grid, fixed.data, None, states[0], states[1], words)
    states = [warp_labels(labels, map_, fixed.grid).data for map_ in maps]
    ids = warp_labels(fixed_labels, Affine(), fixed.grid).data
    return EvaluationScene(fixed.grid, fixed.data, ids, states[0], states[1], words)


def _errors_by_label(
    before: Evaluation, after: Evaluation
) -> dict[str, tuple[Mapping[str, float], Mapping[str, float]]]:
    """Return the values of each label before and after the map, by the name of the metric."""
    return {
        name: (before.by_label.get(name, {}), values) for name, values in after.by_label.items()
    }


def _landmark_errors(
    maps: tuple[DisplacementField, DisplacementField], fixed: pd.DataFrame, moving: pd.DataFrame
) -> tuple[Mapping[str, float], Mapping[str, float]]:
    """Return the error at each landmark before and after the map, by its name."""
    here, there = shared_landmarks(fixed, moving)
    names = [str(name) for name in fixed["name"] if name in set(moving["name"])]
    before, after = (target_registration_errors_mm(here, there, map_).tolist() for map_ in maps)
    return dict(zip(names, before, strict=True)), dict(zip(names, after, strict=True))


def write_evaluation(evaluation: Evaluation, path: Path) -> None:
    """Write the metrics to ``path``, as JSON or, where the name ends in ``.tsv``, as a table with
    the columns ``metric label label_name value``.

    Raises:
        InputError: the file cannot be written.
    """
    if path.name.endswith(".tsv"):
        rows = evaluation.rows()
        write_rows(path, list(rows.columns), rows.to_dict("records"))
    else:
        io.write_json(path, evaluation.as_json())


def _require_alike(fixed: Grid, moving: Grid, names: tuple[str, str]) -> None:
    if is_slice(fixed) != is_slice(moving):
        one, other = names if is_slice(fixed) else names[::-1]
        raise InputError(
            f"{one} is a slice and {other} is a volume; give two slices or two volumes."
        )


def _require_both(what: str, fixed: object, moving: object) -> None:
    if (fixed is None) != (moving is None):
        side = "fixed" if fixed is None else "moving"
        raise InputError(f"Two {what} are compared; give that of the {side} scan, too, or neither.")


def _on_scan(transform: Transform, scan: Image, name: str) -> DisplacementField:
    """Return the map as a displacement at each voxel of ``scan``.

    Raises:
        InputError: the map lies on another grid.
    """
    grid = transform.grid
    axis = None if grid is None else thin_axis(grid.shape)
    if grid is not None and axis is not None:
        grid = with_axis_last(grid, axis)
    if grid is not None and not grid.matches(scan.grid):
        raise InputError(
            f"{transform.name} lies on a grid of {grid.shape} and {name} on another one of "
            f"{scan.grid.shape}; give the scan that the map was made for."
        )
    return densify(transform.mapping, scan.grid)


def _require_reached(warp: DisplacementField, map_name: str, moving: Image, name: str) -> None:
    reached = warp.grid.points_mm() + warp.displacement_mm
    if not inside(moving.grid, reached).any():
        raise InputError(
            f"{map_name} leads to no part of {name}; give the scan that the map was made for."
        )


def _mask(mask: ImageLike, scan: Image, name: str, orientation: str | None) -> np.ndarray:
    read = labels_of(mask, name_of(mask, "the mask"), orientation)
    if not read.grid.matches(scan.grid, 0.05):
        raise InputError(
            f"{name_of(mask, 'The mask')} does not lie on the grid of {name}; resample it there."
        )
    if not read.data.any():
        raise InputError(f"{name_of(mask, 'The mask')} is empty; give a mask with voxels above 0.")
    return read.data > 0


def _landmarks(
    warp: DisplacementField,
    map_name: str,
    fixed: pd.DataFrame | None,
    moving: pd.DataFrame | None,
    moving_grid: Grid,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    if fixed is None or moving is None:
        return None, None
    for side, table in (("fixed", fixed), ("moving", moving)):
        twice = table["name"][table["name"].duplicated()].unique()
        if len(twice):
            raise InputError(
                f"The landmark {twice[0]} of the {side} scan is there more than once; give every "
                "landmark a name of its own."
            )
    here, there = shared_landmarks(fixed, moving)
    if not len(here):
        raise InputError(
            "No landmark has the same name in both tables; name those alike that belong together."
        )
    _, unknown = mapped_within(warp, here)
    if unknown.any():
        raise InputError(f"{outside_in_words(map_name, here, unknown)}.")
    beyond = ~inside(moving_grid, there)
    if beyond.any():
        raise InputError(
            f"{beyond.sum()} of {len(there)} landmarks of the moving scan lie outside of it; look "
            "at the frame of their coordinates (RAS mm)."
        )
    return here, there


def _numbers(values: Mapping[str, float]) -> dict[str, float | None]:
    return {
        name: round(float(value), 6) if math.isfinite(value) else None
        for name, value in values.items()
    }
