"""Evaluates one registration, as a job of rule register does for each pair of its chunk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffeode.evaluation.evaluate import evaluate_unit
from diffeode.statistics.tidy import write_tidy

_UNITS = ("registration", "pair", "fixed", "moving", "fixed_labels", "moving_labels")


def evaluate(step: Mapping[str, Any]) -> None:
    """Write the metrics of a registration; ``step`` holds their file and the inputs by name."""
    given = step["inputs"]
    folders = (Path(given[name]).parent for name in _UNITS)
    table = Path(given["label_table"][0]) if given["label_table"] else None
    write_tidy(Path(step["file"]), evaluate_unit(*folders, table))
