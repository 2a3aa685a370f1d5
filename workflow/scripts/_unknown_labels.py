"""Evaluates a registration without its label maps where one of them holds none of the structures to
evaluate. They serve metrics of labels alone, so they cost no other metric.

:mod:`_registration_unit` looks for such a map only where the evaluation failed. So label maps that
are in order are read once.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _evaluating import evaluate

from diffeode.errors import InputError, reason_of
from diffeode.evaluation.labels import read_known_labels, read_label_table
from diffeode.process.watch import watched
from diffeode.units.scan import ScanUnit

SIDES = ("fixed_labels", "moving_labels")
"""The names of the inputs of an evaluation that are the receipts of label maps."""


def evaluate_what_can_be(step: Mapping[str, Any]) -> dict[str, str]:
    """Write the metrics of a registration, and return why label maps were left out, by the names of
    the inputs; empty where all were used.

    Each evaluation works in a process of its own, as its threads would not survive the next fork.

    Args:
        step: the file of the metrics, and the inputs by name.

    Raises:
        InputError: the registration cannot be evaluated.
        KilledError: the process of the evaluation was killed.
    """
    try:
        watched(lambda: evaluate(step))
    except InputError:
        left_out = _left_out(step["inputs"])
        if not left_out:
            raise
        watched(lambda: evaluate(without_labels(step)))
        return left_out
    return {}


def without_labels(step: Mapping[str, Any]) -> dict[str, Any]:
    """Return the step of an evaluation without the table of structures, so that it writes no
    metrics of labels.
    """
    return {**step, "inputs": {**step["inputs"], "label_table": []}}


def _left_out(inputs: Mapping[str, Any]) -> dict[str, str]:
    reasons = {}
    for path in inputs["label_table"]:
        table = read_label_table(path)
        for side in SIDES:
            file = ScanUnit(Path(inputs[side]).parent).labels_file
            try:
                if file.is_file():
                    read_known_labels(file, table, path)
            except InputError as error:
                reasons[side] = reason_of(error)
    return reasons
