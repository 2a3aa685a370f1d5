"""The catalogue of metrics: name in the tidy table, title, unit, rounding, and the better
direction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ROW = ("metric", "label", "label_name", "value")
"""Columns of the table of one registration's metrics."""


@dataclass(frozen=True)
class Metric:
    """A metric of the tidy table.

    Attributes:
        unit: empty for pure numbers.
        better: whether larger or smaller values are better, or neither.
        decimals: number of decimals that tables show; None for three significant digits.
    """

    name: str
    title: str
    unit: str
    better: Literal["larger", "smaller", "neither"]
    decimals: int | None = None

    @property
    def heading(self) -> str:
        """Return the title with the unit, as a heading of a column or an axis."""
        return f"{self.title} ({self.unit})" if self.unit else self.title


_ALL = (
    Metric("dice", "Dice", "", "larger", 3),
    Metric("dice_subset", "Dice, subset", "", "larger", 3),
    Metric("hd95_mm", "HD95", "mm", "smaller", 2),
    Metric("folds_central_percent", "|J| ≤ 0, central", "% of foreground", "smaller"),
    Metric("folds_onesided_percent", "|J| ≤ 0, one-sided", "% of foreground", "smaller"),
    Metric("folds_central_grid_percent", "|J| ≤ 0, central", "% of grid", "smaller"),
    Metric("folds_onesided_grid_percent", "|J| ≤ 0, one-sided", "% of grid", "smaller"),
    Metric("folds_central_grid_sum", "Sum of -|J| where |J| ≤ 0, central", "", "smaller"),
    Metric("ndv_percent", "NDV", "% of foreground", "smaller"),
    Metric("sdlogj", "SD of log|J|", "", "smaller", 3),
    Metric("min_jacobian", "minimum |J|", "", "larger", 3),
    Metric("inverse_consistency_mm", "Inverse consistency", "mm", "smaller"),
    Metric("inverse_consistency_p95_mm", "Inverse consistency, 95th percentile", "mm", "smaller"),
    Metric("tre_mm", "TRE", "mm", "smaller", 2),
    Metric("tre_max_mm", "largest TRE", "mm", "smaller", 2),
    Metric("nmi", "NMI", "", "larger", 4),
    Metric("nmi_before", "NMI before", "", "neither", 4),
    Metric("seconds", "Time", "s", "smaller", 1),
    Metric("cpu_seconds", "CPU time", "s", "smaller", 1),
    Metric("peak_memory_mb", "Peak memory", "MB", "smaller", 0),
    Metric("suspect", "Suspect", "", "smaller", 0),
    Metric("failed", "Failed", "", "smaller", 0),
)

METRICS: dict[str, Metric] = {metric.name: metric for metric in _ALL}
"""Metrics by name, in the order in which tables show them."""
