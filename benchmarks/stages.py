"""Print the CPU seconds that each stage of ``diffeode register`` takes on one thread, beside what
its plan says (``src/diffeode/desk/stages.py``): ``python benchmarks/stages.py FIXED MOVING``.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from diffeode.cli.register import DEFAULT_RUN
from diffeode.desk.inputs import read_inputs
from diffeode.desk.registration import register_at_desk
from diffeode.desk.stages import READING, Stages
from diffeode.registration.base import Machine
from diffeode.registration.runs import load_run


class Watch:
    """Hears of stages, and notes the CPU seconds of each."""

    def __init__(self) -> None:
        self.planned: dict[str, float | None] = {}
        self.took: dict[str, float] = {}
        self._stage, self._begun = "", 0.0

    def plan(self, seconds: dict[str, float | None]) -> None:
        self.planned = seconds

    def begin(self, stage: str) -> None:
        now = time.process_time()
        if self._stage:
            self.took[self._stage] = now - self._begun
        self._stage, self._begun = stage, now

    def __call__(self, share: float, message: str) -> None:
        """Shares are of no interest here."""


def main(fixed: Path, moving: Path) -> None:
    """Register ``moving`` to ``fixed`` and print a row for each stage."""
    watch = Watch()
    stages = Stages(watch, {})
    stages.begin(READING)
    inputs = read_inputs(fixed, moving, None, None)
    machine = Machine(threads=1, progress=stages)
    with tempfile.TemporaryDirectory() as folder:
        run = load_run(DEFAULT_RUN)
        register_at_desk(run, inputs, Path(folder), machine, "affine", {}, report=True)
    stages.begin("")
    print(f"{inputs.fixed.data.size:,} and {inputs.moving.data.size:,} voxels")
    for stage, seconds in watch.took.items():
        print(f"{stage:20} {seconds:6.1f} s, planned {watch.planned[stage] or 0:6.1f} s")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
