"""How a registration did: the metrics that the tables of the benchmarks hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
from _cases import Case

from diffeode.errors import RegistrationError
from diffeode.evaluation.evaluate import evaluate_pair
from diffeode.geometry.image import foreground
from diffeode.geometry.transform import DisplacementField
from diffeode.registration.base import Machine
from diffeode.registration.harness import Result, register
from diffeode.registration.runs import Run

_METRICS = {
    "dice": "dice",
    "folds_percent": "folds_central_grid_percent",
    "sdlogj": "sdlogj",
    "min_jacobian": "min_jacobian",
}
"""Columns of a row and the metrics that they hold (docs/metrics.md)."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The metrics of a map (docs/metrics.md).

    Attributes:
        whole: the metrics of the whole image, by name.
        dice: the Dice of each label, by the label's number as text.
    """

    whole: pd.Series
    dice: pd.Series

    def metrics(self, names: Iterable[str]) -> dict[str, float]:
        """Return the metrics of the whole image that are called ``names``."""
        return {name: float(self.whole[name]) for name in names}

    def mean_dice(self, scores: Mapping[str, Sequence[int]]) -> dict[str, float]:
        """Return, for each of ``scores``, the mean Dice over its labels."""
        means = {}
        for name, labels in scores.items():
            means[name] = float(self.dice[[str(label) for label in labels]].mean())
        return means


def evaluated(
    case: Case,
    warp: DisplacementField,
    labels: Sequence[int],
    inverse_warp: DisplacementField | None = None,
) -> Evaluation:
    """Return the metrics of ``warp``, which sends the fixed grid of ``case`` to the moving image.

    Args:
        labels: the labels whose Dice is taken.
    """
    table = pd.DataFrame({"id": labels, "name": [str(label) for label in labels]})
    rows = evaluate_pair(
        warp=warp,
        inverse_warp=inverse_warp,
        fixed_image=case.fixed,
        moving_scan=case.moving_scan,
        fixed_mask=foreground(case.fixed),
        moving_to_scan=case.moving_to_scan,
        fixed_labels=case.fixed_labels,
        moving_labels=case.moving_labels,
        label_table=table,
    )
    whole = rows[rows["label"] == ""].set_index("metric")["value"]
    dice = rows[(rows["metric"] == "dice") & (rows["label"] != "")].set_index("label")["value"]
    return Evaluation(whole, dice)


def judged(case: Case, result: Result, labels: Sequence[int]) -> dict[str, float]:
    """Return the columns of a row that say how a registration did, in the few numbers that a choice
    needs; Dice is the mean over ``labels``.
    """
    whole = evaluated(case, result.warp, labels).whole
    return {column: float(whole[metric]) for column, metric in _METRICS.items()}


def outcome(run: Run, case: Case, labels: Sequence[int], machine: Machine) -> dict[str, object]:
    """Register ``case`` by ``run``; return the columns of :func:`judged` and the CPU seconds, or
    why the registration failed.
    """
    try:
        result = register(run.build(), case, machine)
    except RegistrationError as error:
        return {"failed": str(error).splitlines()[0]}
    return {"failed": "", "cpu_seconds": result.cpu_seconds} | judged(case, result, labels)
