"""Measure one iteration of our method: ``python _iterate.py REQUEST ANSWER``, both JSON files.

The request names the folder of the pair, the run, and the numbers of iterations and threads. As in
the reference, only the finest level is iterated, from a velocity of zero, on the whole grid and not
only on the box of the brain.
"""

from __future__ import annotations

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from _cases import SEED, read_case

from diffeode.registration.base import Machine, Pair
from diffeode.registration.runs import load_run

WARM_UP = 2
"""Number of first iterations that are not counted: they get memory from the system, which the
others reuse.
"""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the medians over the iterations after the warm-up."""
    run, case = load_run(request["run"]), read_case(Path(request["case"]))
    finest = min(run.build().levels.factors)
    levels = {"factors": [finest], "iterations": [request["iterations"] + WARM_UP]}
    method = run.changed({"levels": levels, "diffeomorphic": "penalised"}).build()
    everywhere = np.ones(case.fixed.grid.shape, dtype=bool)
    clock = Clock()
    machine = Machine(request["threads"], SEED, progress=lambda fraction, message: clock.tick())
    method.register(Pair(case.fixed, case.moving, everywhere, everywhere), machine)
    return clock.medians()


class Clock:
    """Measures CPU and wall seconds between ticks; every finished iteration is a tick."""

    def __init__(self) -> None:
        self.ticks: list[tuple[float, float]] = []

    def tick(self) -> None:
        """Note that an iteration is done."""
        self.ticks.append((time.process_time(), time.perf_counter()))

    def medians(self) -> dict[str, float]:
        """Return the median seconds of an iteration after the warm-up, and the peak memory so
        far.
        """
        steps = np.diff(np.array(self.ticks), axis=0)[WARM_UP - 1 :]
        return {
            "cpu_seconds": statistics.median(steps[:, 0].tolist()),
            "seconds": statistics.median(steps[:, 1].tolist()),
            "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            "repeats": len(steps),
        }


if __name__ == "__main__":
    asked, answered = map(Path, sys.argv[1:])
    answered.write_text(
        json.dumps(answer(json.loads(asked.read_text(encoding="utf-8")))), encoding="utf-8"
    )
