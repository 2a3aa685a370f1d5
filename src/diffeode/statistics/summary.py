"""Summaries of the tidy table: by experiment and run, and by structure."""

from __future__ import annotations

import pandas as pd

from diffeode.evaluation.catalogue import METRICS
from diffeode.statistics.tidy import counts, missing_pairs, whole_image

_COSTS = ("seconds", "cpu_seconds", "peak_memory_mb")
_NOT_SUMMARISED = ("failed", "suspect", "nmi_before")


def summarise(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return one row for each experiment and run: counts, and each metric over pairs.

    Metrics have the columns ``<metric>_mean``, ``<metric>_sd`` and ``<metric>_missing``, the number
    of pairs without a value, which the mean leaves out. The SD is that of a sample (n - 1), and NaN
    for one pair. Costs have the column ``<metric>_median``, too, because one busy minute of the
    machine moves a mean. A metric that no pair has (landmarks, labels) has no column.

    Args:
        metrics: the tidy table (:func:`diffeode.statistics.tidy.collect`).

    Returns:
        Columns ``experiment run pairs n suspect failed missing ...``. A run without a value of a
        metric has NaN there.
    """
    table = counts(metrics)
    for name in METRICS:
        values = whole_image(metrics, name)
        if name in _NOT_SUMMARISED or values.empty:
            continue
        grouped = values.groupby(["experiment", "run"])["value"]
        table[f"{name}_mean"], table[f"{name}_sd"] = grouped.mean(), grouped.std()
        table[f"{name}_missing"] = missing_pairs(table["pairs"], values)
        if name in _COSTS:
            table[f"{name}_median"] = grouped.median()
    return table.reset_index()


def absent_labels(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the labels that no scan of an experiment has: columns ``experiment label
    label_name``.
    """
    rows = metrics[(metrics["metric"] == "dice") & (metrics["label"] != "")]
    keys = ["experiment", "label", "label_name"]
    found = rows.groupby(keys, sort=False)["value"].count()
    return found[found == 0].reset_index()[keys]


def dice_by_label(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the Dice of each structure over pairs.

    Its columns are ``experiment run label label_name n dice_mean dice_sd``.
    """
    rows = metrics[
        (metrics["metric"] == "dice") & (metrics["label"] != "") & metrics["value"].notna()
    ]
    grouped = rows.groupby(["experiment", "run", "label", "label_name"], sort=False)["value"]
    return grouped.agg(n="size", dice_mean="mean", dice_sd="std").reset_index()
