"""All metrics of one registered pair, as rows ``metric label label_name value``.

``label`` and ``label_name`` are empty for a metric of the whole image. The row of ``dice`` or
``hd95_mm`` with an empty label is the mean over the labels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.evaluation.catalogue import ROW
from diffeode.evaluation.consistency import inverse_consistency_mm
from diffeode.evaluation.jacobian import jacobian_metrics
from diffeode.evaluation.labels import (
    SUBSET,
    read_known_labels,
    read_label_table,
    to_indices,
    what_is_not_counted,
)
from diffeode.evaluation.landmarks import (
    shared_landmarks,
    target_registration_errors_mm,
    what_is_not_measured,
)
from diffeode.evaluation.overlap import dice_by_label
from diffeode.evaluation.similarity import normalised_mutual_information
from diffeode.evaluation.surface import hd95_by_label
from diffeode.geometry.image import Image, Labels, foreground, sample
from diffeode.geometry.slabs import slabs
from diffeode.geometry.transform import Affine, DisplacementField, warp_labels
from diffeode.units.pair import PairUnit
from diffeode.units.registration import RegistrationUnit
from diffeode.units.scan import ScanUnit, landmarks_of

_LOG = logging.getLogger(__name__)
_COSTS = ("seconds", "cpu_seconds", "peak_memory_mb")


def evaluate_pair(
    *,
    warp: DisplacementField,
    fixed_image: Image,
    moving_scan: Image,
    fixed_mask: np.ndarray,
    inverse_warp: DisplacementField | None = None,
    moving_to_scan: Affine | None = None,
    fixed_labels: Labels | None = None,
    moving_labels: Labels | None = None,
    label_table: pd.DataFrame | None = None,
    fixed_landmarks_mm: np.ndarray | None = None,
    moving_landmarks_mm: np.ndarray | None = None,
) -> pd.DataFrame:
    """Return every metric that can be computed from the arguments.

    Metrics of labels, landmarks and the inverse are left out where their arguments are None.

    Args:
        warp: the whole map, points of the fixed grid to points of the moving scan, RAS mm.
        inverse_warp: the inverse map, on the grid of the moving scan.
        fixed_image: the prepared fixed scan on the grid of ``warp``, intensities in [0, 1].
        moving_scan: the prepared moving scan on its own grid, intensities in [0, 1].
        fixed_mask: the fixed brain on the grid of ``warp``, ``(X, Y, Z)`` bool.
        moving_to_scan: the affine alignment that ``warp`` includes; None for the identity.
        fixed_labels, moving_labels, label_table: label maps on the scans' own grids, resampled once
            by nearest neighbour, and the table of
            :func:`diffeode.evaluation.labels.read_label_table`.
        fixed_landmarks_mm, moving_landmarks_mm: the same landmarks in the same order, ``(N, 3)``
            each, RAS mm of the two scans.

    Raises:
        InputError: the map does not lie on the grid of the fixed image, the alignment is a
            reflection, or the eroded mask is empty.
    """
    if not warp.grid.matches(fixed_image.grid) or fixed_mask.shape != warp.grid.shape:
        raise InputError(
            f"The map lies on a grid of {warp.grid.shape} and the fixed scan and its mask on "
            f"grids of {fixed_image.grid.shape} and {fixed_mask.shape}; give the map that was "
            "made for this scan."
        )
    moving_to_scan = moving_to_scan or Affine()
    rows: list[pd.DataFrame] = []
    if (
        fixed_labels is not None
        and moving_labels is not None
        and label_table is not None
        and len(label_table)
    ):
        on_grid = warp_labels(fixed_labels, Affine(), warp.grid)
        reached = warp.grid.points_mm() + warp.displacement_mm
        rows.append(_label_rows(on_grid, moving_labels, reached, label_table))
    if (
        fixed_landmarks_mm is not None
        and moving_landmarks_mm is not None
        and len(fixed_landmarks_mm)
    ):
        miss = target_registration_errors_mm(fixed_landmarks_mm, moving_landmarks_mm, warp)
        rows.append(_whole({"tre_mm": miss.mean(), "tre_max_mm": miss.max()}))
    rows.append(_whole(jacobian_metrics(warp, fixed_mask, moving_to_scan)))
    if inverse_warp is not None:
        mean, p95 = inverse_consistency_mm(warp, inverse_warp, fixed_mask)
        rows.append(_whole({"inverse_consistency_mm": mean, "inverse_consistency_p95_mm": p95}))
    before, after = _before_and_after(moving_scan, moving_to_scan, warp)
    values = fixed_image.data, fixed_mask
    rows.append(_whole({"nmi_before": _nmi(*values, before), "nmi": _nmi(*values, after)}))
    return pd.concat(rows, ignore_index=True)


def evaluate_unit(
    registration: Path,
    pair: Path,
    fixed_scan: Path,
    moving_scan: Path,
    fixed_labels: Path,
    moving_labels: Path,
    label_table: Path | None,
) -> pd.DataFrame:
    """Return the rows of one registration folder: those of :func:`evaluate_pair`, the costs in time
    and memory, and whether the registration is suspect.

    A failed registration has a single row, ``failed`` = 1.

    Args:
        registration: ``results/registrations/<experiment>/<pair>/<run>``.
        pair: ``results/pairs/<experiment>/<pair>``.
        fixed_scan, moving_scan: ``results/prepared/<dataset>/<scan>``.
        fixed_labels, moving_labels: the folders of their label maps: the folders of the scans, or
            folders of segmentations.
        label_table: the table of the structures to evaluate, or None where the dataset has no
            labels.

    Raises:
        DamagedFileError: a file is missing, truncated or not what its receipt says.
        InputError: as in :func:`evaluate_pair`, or a label map holds none of the table's ids.
    """
    registered = RegistrationUnit(registration)
    receipt = registered.require_intact()
    if receipt.get("status") != "done":
        return _whole({"failed": 1.0})
    aligned = PairUnit(pair)
    aligned.require_intact()
    folders = dict.fromkeys((fixed_scan, moving_scan, fixed_labels, moving_labels))
    units = {folder: ScanUnit(folder) for folder in folders}
    for unit in units.values():
        unit.require_intact()
    fixed = aligned.fixed()
    metrics = evaluate_pair(
        warp=registered.warp(),
        inverse_warp=registered.inverse_warp(),
        moving_to_scan=aligned.moving_to_scan(),
        fixed_image=fixed,
        fixed_mask=foreground(fixed),
        moving_scan=units[moving_scan].image(),
        **_labels(units[fixed_labels].labels_file, units[moving_labels].labels_file, label_table),
        **_landmarks(units[fixed_scan], units[moving_scan]),
    )
    of_receipt = {name: receipt[name] for name in (*_COSTS, "suspect")}
    return pd.concat([metrics, _whole(of_receipt)], ignore_index=True)


def _labels(fixed: Path, moving: Path, label_table: Path | None) -> dict[str, Any]:
    """Return the two label maps and the table as arguments, or nothing where one is missing."""
    maps = {"fixed_labels": fixed, "moving_labels": moving}
    if label_table is None or not all(path.is_file() for path in maps.values()):
        return {}
    table = read_label_table(label_table)
    read = {name: read_known_labels(path, table, label_table) for name, path in maps.items()}
    for remark in what_is_not_counted(**read, ids=table["id"].to_numpy()):
        _LOG.warning("%s, %s: %s", *maps.values(), remark)
    return {**read, "label_table": table}


def _landmarks(fixed_scan: ScanUnit, moving_scan: ScanUnit) -> dict[str, Any]:
    """Return the landmarks that both scans have as arguments, or nothing where a scan has none."""
    fixed, moving = landmarks_of(fixed_scan), landmarks_of(moving_scan)
    if fixed is None or moving is None:
        return {}
    for remark in what_is_not_measured(fixed, moving):
        _LOG.warning("%s to %s: %s", moving_scan.folder, fixed_scan.folder, remark)
    points = shared_landmarks(fixed, moving)
    return dict(zip(("fixed_landmarks_mm", "moving_landmarks_mm"), points, strict=True))


def _label_rows(
    fixed: Labels, moving: Labels, reached: np.ndarray, table: pd.DataFrame
) -> pd.DataFrame:
    """Return Dice and HD95 per label and their means.

    Args:
        reached: the points ``(X, Y, Z, 3)``, RAS mm, at which the moving labels are sampled.
    """
    ids = table["id"].to_numpy()
    on_grid, in_scan = to_indices(fixed.data, ids), to_indices(moving.data, ids)
    warped = sample(in_scan, moving.grid.to_voxel(reached), order=0)
    in_moving = np.isin(np.arange(1, len(ids) + 1), in_scan)
    by_label = {
        "dice": dice_by_label(on_grid, warped, len(ids), in_moving),
        "hd95_mm": hd95_by_label(on_grid, warped, len(ids), fixed.grid.spacing),
    }
    rows = [
        part for name, values in by_label.items() for part in _mean_and_labels(name, values, table)
    ]
    if SUBSET in table:
        rows.append(_mean("dice_subset", by_label["dice"][table[SUBSET].to_numpy()]))
    return pd.concat(rows)


def _mean_and_labels(
    metric: str, values: np.ndarray, table: pd.DataFrame
) -> Iterator[pd.DataFrame]:
    yield _mean(metric, values)
    yield pd.DataFrame(
        {
            "metric": metric,
            "label": table["id"].astype(str),
            "label_name": table["name"],
            "value": values,
        }
    )


def _mean(metric: str, values: np.ndarray) -> pd.DataFrame:
    """Return the mean over the labels that have a value."""
    counted = values[np.isfinite(values)]
    return _whole({metric: counted.mean() if counted.size else np.nan})


def _before_and_after(
    moving: Image, alignment: Affine, warp: DisplacementField
) -> tuple[np.ndarray, np.ndarray]:
    """Return the moving scan on the grid of ``warp`` after the alignment alone and after the whole
    map, ``(X, Y, Z)`` float32 each.
    """
    before, after = (np.empty(warp.grid.shape, dtype=np.float32) for _ in range(2))
    for planes, start in slabs(warp.grid):
        ways = (before, alignment(start)), (after, start + warp.displacement_mm[planes])
        for warped, points in ways:
            warped[planes] = sample(moving.data, moving.grid.to_voxel(points), order=1)
    return before, after


def _nmi(fixed: np.ndarray, mask: np.ndarray, warped: np.ndarray) -> float:
    """Return the NMI over the union of the fixed brain and the warped moving brain."""
    return normalised_mutual_information(fixed, warped, mask | (warped > 0))


def _whole(values: dict[str, float]) -> pd.DataFrame:
    rows = [(metric, "", "", float(value)) for metric, value in values.items()]
    return pd.DataFrame(rows, columns=list(ROW))
