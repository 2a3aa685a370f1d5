"""Register one pair: ``python _register.py REQUEST ANSWER``, both JSON files.

The request names the folder of the pair, the run, hyper-parameters that differ from the run's, the
number of threads, and the task whose labels judge the result (null for costs alone). The answer
holds costs and metrics, or ``failed`` with the reason. Threads are set by the environment in which
the process is started, before any library counts them. The time that it takes to import the method
and its packages stands apart (``import_cpu_seconds``), and the harness does not count it.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

from _cases import SEED, Case, read_case
from _comparisons import comparison_named

from diffeode.errors import InputError, RegistrationError
from diffeode.registration.base import Machine
from diffeode.registration.harness import Result, register
from diffeode.registration.runs import load_run

_COSTS = ("cpu_seconds", "seconds", "peak_memory_mb")
_METRICS = (
    "hd95_mm",
    "folds_central_percent",
    "folds_onesided_percent",
    "ndv_percent",
    "sdlogj",
    "min_jacobian",
    "inverse_consistency_mm",
)


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Register as ``request`` says; return costs and metrics, or why it failed."""
    before = time.process_time()
    run = load_run(request["run"])
    method = run.changed(request["parameters"]).build()
    for name in method.needs.packages:
        importlib.import_module(name)
    imports = time.process_time() - before
    case = read_case(Path(request["case"]))
    try:
        result = register(method, case, Machine(request["threads"], SEED))
    except (InputError, RegistrationError) as error:
        return {"failed": str(error).splitlines()[0]}
    costs = {cost: getattr(result, cost) for cost in _COSTS} | {"import_cpu_seconds": imports}
    return costs | (_metrics(case, result, request["task"]) if request["task"] else {})


def _metrics(case: Case, result: Result, task: str) -> dict[str, float]:
    """Return the mean Dice over each of the task's sets of labels, and measures of the map."""
    # Imported here so that the memory and the time of its packages do not count for the method.
    from _judged import evaluated

    comparison = comparison_named(task)
    found = evaluated(case, result.warp, comparison.labels(), result.inverse_warp)
    return found.mean_dice(comparison.scores) | found.metrics(_METRICS)


if __name__ == "__main__":
    asked, answered = map(Path, sys.argv[1:])
    answered.write_text(
        json.dumps(answer(json.loads(asked.read_text(encoding="utf-8")))), encoding="utf-8"
    )
