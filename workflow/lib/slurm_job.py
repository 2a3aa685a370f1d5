"""Runs Snakemake in a job of Slurm, which ``slurm_executor.py`` submits.

Usage::

    slurm_job.py OPTION ...        # Snakemake's options, for the one job
    slurm_job.py array FILE ...    # FILE: the commands of all tasks of an array, as a list in JSON

The task of an array takes the command at its own place in the list. What the plugin for Slurm adds
behind FILE is not used: it would start Snakemake for the list alone.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

ARRAY = "array"
_REPORT = "snakemake_executor_plugin_slurm.efficiency_report"


def main(arguments: list[str]) -> None:
    """Run the job; this process ends with its exit code."""
    if arguments[:1] == [ARRAY]:
        _become(_command(Path(arguments[1]), int(os.environ["SLURM_ARRAY_TASK_ID"])))
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


def _command(file: Path, task: int) -> str:
    """Return the command of the task with this number; the first one is 1."""
    commands: list[str] = json.loads(file.read_text(encoding="utf-8"))
    return commands[task - 1]


def _become(command: str) -> NoReturn:
    """Replace this process by that of a shell's command, whose exit code is then the job's."""
    os.execv("/bin/sh", ["/bin/sh", "-c", command])


if __name__ == "__main__":
    main(sys.argv[1:])
