"""Aligns one pair of prepared scans, as a job of rule align does for each pair of its chunk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffeode.prepare.pair import write_aligned_pair, write_failed_pair


def align(step: Mapping[str, Any], names: Mapping[str, str], threads: int) -> None:
    """Align a pair and write its unit.

    Args:
        step: the receipt to write, the inputs and the parameters.
        names: experiment and pair.
    """
    fixed, moving = (Path(step["inputs"][name]).parent for name in ("fixed", "moving"))
    write_aligned_pair(
        fixed,
        moving,
        Path(step["file"]).parent,
        threads=threads,
        provenance={**names, **step["parameters"]["datasets"]},
        **step["parameters"]["alignment"],
    )


def note_failure(step: Mapping[str, Any], names: Mapping[str, str], reason: str) -> None:
    """Write the receipt of a pair that could not be aligned; no file lies beside it."""
    provenance = {**names, **step["parameters"]["datasets"]}
    write_failed_pair(Path(step["file"]).parent, reason, provenance)
