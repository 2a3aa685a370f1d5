"""Runs Snakemake in a job of Slurm, which ``slurm_executor.py`` submits.

Usage::

    slurm_job.py OPTION ...        # Snakemake's options, for the one job
    slurm_job.py array FILE ...    # FILE: a list in JSON of the options of all tasks of an array

The task of an array takes the options at its own place in the list. What the plugin for Slurm adds
behind FILE is not used: it would start Snakemake for the list alone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

ARRAY = "array"
_REPORT = "snakemake_executor_plugin_slurm.efficiency_report"


def main(arguments: list[str]) -> None:
    """Run the job; this process ends with its exit code."""
    if arguments[:1] == [ARRAY]:
        arguments = _of_task(Path(arguments[1]), int(os.environ["SLURM_ARRAY_TASK_ID"]))
    _leave_out_the_report_on_efficiency()
    from snakemake.cli import main as run_snakemake

    run_snakemake(arguments)


def _leave_out_the_report_on_efficiency() -> None:
    """Let the plugin for Slurm be imported without its report, which needs pandas and which no job
    writes.
    """
    module: Any = ModuleType(_REPORT)
    module.create_efficiency_report = None
    sys.modules[_REPORT] = module


def _of_task(file: Path, task: int) -> list[str]:
    """Return Snakemake's options for the task with this number; the first one is 1."""
    options: list[list[str]] = json.loads(file.read_text(encoding="utf-8"))
    return options[task - 1]


if __name__ == "__main__":
    main(sys.argv[1:])
