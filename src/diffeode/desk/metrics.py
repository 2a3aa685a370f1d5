"""Write the metrics of a registration at a desk, and how it was made, to one file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from diffeode.desk.guides import recorded_guides
from diffeode.desk.inputs import Inputs
from diffeode.desk.outputs import START_BENDS
from diffeode.evaluation.catalogue import ROW
from diffeode.evaluation.evaluate import evaluate_pair
from diffeode.evaluation.landmarks import target_registration_errors_mm
from diffeode.evaluation.similarity import normalised_mutual_information
from diffeode.files import io
from diffeode.geometry.image import Labels
from diffeode.geometry.transform import densify
from diffeode.provenance.software import desk_versions
from diffeode.registration.harness import Result, Task, recorded
from diffeode.registration.knobs import as_parameters
from diffeode.registration.registry import programs_of
from diffeode.registration.runs import Run


def write_metrics(
    path: Path,
    run: Run,
    result: Result,
    task: Task,
    inputs: Inputs,
    provenance: Mapping[str, object],
) -> None:
    """Measure ``result`` and write the metrics, the run and its parameters to ``path`` as JSON.

    Args:
        provenance: further entries, which are recorded as they are.
    """
    rows = measured(result, task, inputs, bool(provenance.get(START_BENDS)))
    whole, by_label = rows[rows["label"] == ""], rows[rows["label"] != ""]
    costs = {cost: getattr(result, cost) for cost in ("seconds", "cpu_seconds", "peak_memory_mb")}
    metrics = dict(zip(whole["metric"], whole["value"], strict=True)) | costs
    content: dict[str, Any] = {
        "fixed": inputs.fixed_name,
        "moving": inputs.moving_name,
        "run": run.name,
        "method": run.method,
        "title": run.title,
        "parameters": as_parameters(run.build(), whole=True),
        **provenance,
        **recorded_guides(inputs),
        "sha256": _checksums(inputs, provenance),
        "alignment": task.moving_to_scan.matrix.tolist(),
        "inverse": result.inverse_origin,
        "notes": list(result.notes),
        **recorded(result.verdict),
        "metrics": {name: _number(value) for name, value in metrics.items()},
        "software": desk_versions(),
        "programs": programs_of(run.method),
    }
    for metric, group in by_label.groupby("metric"):
        content[f"{metric}_by_label"] = {
            k: _number(v) for k, v in zip(group["label"], group["value"], strict=True)
        }
    io.write_json(path, content)


def _checksums(inputs: Inputs, provenance: Mapping[str, object]) -> dict[str, str]:
    """Return the SHA-256 of each scan that was read from a file, and of a start that bends."""
    names = {"fixed": inputs.fixed_name, "moving": inputs.moving_name}
    if provenance.get(START_BENDS):
        names["init"] = str(provenance.get("init"))
    return {which: io.sha256(name) for which, name in names.items() if Path(name).is_file()}


def measured(result: Result, task: Task, inputs: Inputs, start_bends: bool = False) -> pd.DataFrame:
    """Return the rows of all metrics of a registration
    (:func:`diffeode.evaluation.evaluate.evaluate_pair`); with landmarks, also their mean error
    after the alignment alone, ``tre_before_mm``, where that is affine.

    Args:
        start_bends: whether the moving image of ``task`` was brought there by a map that is no
            affine, with which the mutual information before the registration is measured.
    """
    points = inputs.guides.landmarks
    rows = evaluate_pair(
        warp=result.warp,
        inverse_warp=result.inverse_warp,
        fixed_image=task.fixed,
        fixed_mask=task.pair().fixed_mask,
        moving_scan=task.moving_scan,
        moving_to_scan=task.moving_to_scan,
        fixed_labels=inputs.fixed_labels,
        moving_labels=inputs.moving_labels,
        label_table=every_label(inputs.fixed_labels, inputs.moving_labels),
        fixed_landmarks_mm=None if points is None else points.fixed_mm,
        moving_landmarks_mm=None if points is None else points.moving_mm,
    )
    if start_bends:
        pair = task.pair()
        shown = pair.fixed_mask | pair.moving_mask
        before = normalised_mutual_information(pair.fixed.data, pair.moving.data, shown)
        rows.loc[rows["metric"] == "nmi_before", "value"] = before
    if points is None or start_bends:
        return rows
    aligned = densify(task.moving_to_scan, task.fixed.grid)
    miss = target_registration_errors_mm(points.fixed_mm, points.moving_mm, aligned).mean()
    added = pd.DataFrame([("tre_before_mm", "", "", float(miss))], columns=list(ROW))
    return pd.concat([rows, added], ignore_index=True)


def every_label(fixed: Labels | None, moving: Labels | None) -> pd.DataFrame | None:
    """Return a label table of all ids of both maps, each named by its number.

    It is None unless both maps are given.
    """
    if fixed is None or moving is None:
        return None
    ids = [int(i) for i in np.union1d(fixed.data, moving.data) if i > 0]
    return pd.DataFrame({"id": ids, "name": [str(i) for i in ids]})


def _number(value: float) -> float | None:
    """Return ``value`` for JSON, which has no NaN and no infinity: these become None."""
    return round(float(value), 6) if math.isfinite(value) else None
