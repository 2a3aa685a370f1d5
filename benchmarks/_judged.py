"""How a registration did, in the few numbers that a choice needs."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from _cases import Case

from diffeode.evaluation.evaluate import evaluate_pair
from diffeode.geometry.image import foreground
from diffeode.registration.harness import Result

_METRICS = {
    "dice": "dice",
    "folds_percent": "folds_central_grid_percent",
    "sdlogj": "sdlogj",
    "min_jacobian": "min_jacobian",
}
"""Columns of a row and the metrics that they hold (docs/metrics.md)."""


def judged(case: Case, result: Result, labels: Sequence[int]) -> dict[str, float]:
    """The columns of a row that say how a registration did; Dice is the mean over ``labels``."""
    table = pd.DataFrame({"id": labels, "name": [str(label) for label in labels]})
    rows = evaluate_pair(
        warp=result.warp,
        fixed_image=case.fixed,
        moving_scan=case.moving_scan,
        fixed_mask=foreground(case.fixed),
        moving_to_scan=case.moving_to_scan,
        fixed_labels=case.fixed_labels,
        moving_labels=case.moving_labels,
        label_table=table,
    )
    whole = rows[rows["label"] == ""].set_index("metric")["value"]
    return {column: float(whole[metric]) for column, metric in _METRICS.items()}
