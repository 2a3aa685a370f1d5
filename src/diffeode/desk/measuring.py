"""Measure a map that was found before: overlap, surfaces, landmarks, folds, consistency and
similarity.
"""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

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
    names = (name_of(fixed, "the fixed image"), name_of(moving, "the moving image"))
    _require_both("label maps", fixed_labels, labels)
    _require_both("tables of landmarks", fixed_landmarks, landmarks)
    fixed_scan = image_of(fixed, names[0], orientation)
    moving_scan = image_of(moving, names[1], orientation)
    _require_alike(fixed_scan.grid, moving_scan.grid, names)
    warp = _on_scan(transform, fixed_scan, names[0])
    _require_reached(warp, transform.name, moving_scan, names[1])
    prepared = prepared_side(fixed_scan, names[0]).image
    prepared_moving = prepared_side(moving_scan, names[1]).image
    shown = foreground(prepared)
    if mask is not None:
        shown = _mask(mask, fixed_scan, names[0], orientation)
    alignment = None if affine is None else Affine(affine.matrix)
    back = None if inverse is None else _on_scan(inverse, moving_scan, names[1])
    both = [
        None
        if given is None
        else labels_on(scan.grid, given, name_of(given, f"the {side} label map"), name, orientation)
        for given, side, scan, name in zip(
            (fixed_labels, labels),
            ("fixed", "moving"),
            (fixed_scan, moving_scan),
            names,
            strict=True,
        )
    ]
    notes = (*_on_labels(*both), *_on_landmarks(fixed_landmarks, landmarks))
    points = _landmarks(warp, transform.name, fixed_landmarks, landmarks, moving_scan.grid)
    same: dict[str, Any] = {
        "fixed_image": prepared,
        "fixed_mask": shown,
        "moving_scan": prepared_moving,
        "moving_to_scan": alignment,
        "fixed_labels": both[0],
        "moving_labels": both[1],
        "label_table": every_label(*both),
    }
    rows = evaluate_pair(
        warp=warp,
        inverse_warp=back,
        fixed_landmarks_mm=points[0],
        moving_landmarks_mm=points[1],
        **same,
    )
    found = dataclasses.replace(Evaluation.of(rows), notes=notes)
    if picture is not None:
        before = alignment or Affine()
        both_maps = densify(before, prepared.grid), warp
        states = Evaluation.of(evaluate_pair(warp=both_maps[0], **same)), found
        scene = _scene(prepared, prepared_moving, both[0], both[1], both_maps, alignment is None)
        errors = {
            name: (states[0].by_label.get(name, {}), states[1].by_label.get(name, {}))
            for name in found.by_label
        }
        if fixed_landmarks is not None and landmarks is not None:
            errors["tre_mm"] = _landmark_errors(both_maps, fixed_landmarks, landmarks)
        title = f"{readable(Path(names[1]).name)} to {readable(Path(names[0]).name)}"
        draw_evaluation(dataclasses.replace(scene, errors=errors), title, Path(picture))
    if back is None:
        return found
    undone = None if alignment is None else alignment.inverse()
    of_back = jacobian_metrics(back, foreground(prepared_moving), undone)
    chosen = {
        f"inverse_{name}": value for name, value in of_back.items() if name.startswith(_OF_BOTH)
    }
    return dataclasses.replace(found, metrics={**found.metrics, **chosen})


def _on_labels(fixed: Labels | None, moving: Labels | None) -> tuple[str, ...]:
    """Return sentences about the labels that only one of two maps has."""
    if fixed is None or moving is None:
        return ()
    every = np.setdiff1d(np.union1d(fixed.data, moving.data), 0)
    return tuple(what_is_not_counted(fixed, moving, every))


def _on_landmarks(fixed: pd.DataFrame | None, moving: pd.DataFrame | None) -> tuple[str, ...]:
    """Return sentences about the landmarks that only one of two tables has."""
    return () if fixed is None or moving is None else tuple(what_is_not_measured(fixed, moving))


def _scene(
    fixed: Image,
    moving: Image,
    fixed_labels: Labels | None,
    labels: Labels | None,
    maps: tuple[DisplacementField, DisplacementField],
    as_headers_say: bool,
) -> EvaluationScene:
    """Return what is drawn of the images before and after the map, without the errors."""
    words = "As the headers say" if as_headers_say else "After the affine"
    if fixed_labels is None or labels is None:
        states = [warp_image(moving, map_, fixed.grid).data for map_ in maps]
        return EvaluationScene(fixed.grid, fixed.data, None, states[0], states[1], words)
    states = [warp_labels(labels, map_, fixed.grid).data for map_ in maps]
    ids = warp_labels(fixed_labels, Affine(), fixed.grid).data
    return EvaluationScene(fixed.grid, fixed.data, ids, states[0], states[1], words)


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
