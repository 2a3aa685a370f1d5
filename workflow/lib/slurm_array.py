"""Runs the job of one task of an array of Slurm, which ``slurm_executor.py`` submits.

Usage::

    slurm_array.py FILE ...

FILE is a list in JSON of Snakemake's options for each task; a task takes those at its own place.
What the plugin for Slurm adds behind FILE is not used: it would start Snakemake for the list alone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from snakemake.cli import main


def options_of(file: Path, task: int) -> list[str]:
    """Return Snakemake's options for the task with this number; the first one is 1."""
    options: list[list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return options[task - 1]


if __name__ == "__main__":
    main(options_of(Path(sys.argv[1]), int(os.environ["SLURM_ARRAY_TASK_ID"])))
