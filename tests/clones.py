"""Copies of the repository's files, the files of a tiny virtual cohort, and the comparison of
tables, for tests that run studies.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd

REPOSITORY = Path(__file__).resolve().parents[1]
_TAKEN = ("Snakefile", "config", "envs", "src", "workflow")
"""What a study needs of the repository."""
_COSTS = ("seconds", "cpu_seconds", "peak_memory_mb", "memory_mb")

EXPERIMENT = """\
title: Tiny
fixed: {dataset: tiny, modality: T2w}
moving: {dataset: tiny, modality: T1w}
alignment: none
pairs: 1
seed: 2
"""
"""One pair of the tiny cohort."""


def tiny_dataset(persons: int) -> str:
    """Return the file of a virtual cohort with the coarsest voxels that there are."""
    return f"""\
title: Tiny virtual cohort
population: virtual adults
kind: virtual
labels: virtual
prepare: {{bias: none, brain: nonzero, intensity: robust, spacing_mm: null}}
cohort: {{persons: {persons}, spacing_mm: 6.0, seed: 7}}
"""


def copy_files(to: Path, compiled: bool = False) -> None:
    """Copy the files that a study needs to the new folder ``to``.

    Args:
        compiled: also what was compiled of them, Python's modules and kernels.
    """
    to.mkdir(parents=True)
    # other processes may be compiling: these are files that they are about to rename
    left_out = ("*.pyc.*", "*.tmp.*") if compiled else ("__pycache__",)
    for name in _TAKEN:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, to / name, ignore=shutil.ignore_patterns(*left_out))
        else:
            shutil.copy2(source, to / name)


def without_costs(table: Path) -> list[tuple[str, ...]]:
    """Return the rows of a table apart from seconds and memory, which are never the same."""
    rows = pd.read_csv(table, sep="\t", dtype=str, keep_default_na=False)
    if "metric" in rows:
        rows = rows[~rows["metric"].isin(_COSTS)]
    kept = [name for name in rows.columns if not name.startswith(_COSTS)]
    return [tuple(row) for row in rows[kept].itertuples(index=False)]
