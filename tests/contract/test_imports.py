"""``load`` imports all that a registration uses, so that no clock counts an import and the pairs of
a job share it. Each run is tried in a process of its own, which has imported nothing before.
"""

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import numpy as np
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.registration.base import Machine
from diffeode.registration.harness import Task, load, register
from diffeode.registration.registry import make_method

name, parameters = json.loads(sys.argv[1])
grid = Grid((40, 44, 40), np.diag([4.0, 4.0, 4.0, 1.0]))
place = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in grid.shape], indexing="ij"))
ball = np.where((place**2).sum(axis=0) < 0.6, 0.5 + 0.4 * np.sin(7 * place).prod(axis=0), 0)
image = Image(ball.astype(np.float32), grid)
method = make_method(name, parameters)
load(method)
before = set(sys.modules)
register(method, Task(image, image, image, Affine()), Machine())
print(json.dumps(sorted(set(sys.modules) - before)))
"""
BRIEF = {"levels": {"factors": [2], "iterations": [2]}}
ALL_TERMS = {
    "mind": {"weight": 1},
    "mutual_information": {"weight": 1},
    "gradient_fields": {"weight": 1},
    "local_correlation": {"weight": 1},
}
RUNS = {
    "neural-ode": {"similarity": ALL_TERMS, **BRIEF},
    "convexadam": {"selected_niter": 2, "grid_sp": 4},
    "affine": {},
    "ants-syn": {"iterations": [2]},
    "greedy": {"iterations": [2]},
}
# The pool of threads of the kernels and the profiler of torch's optimiser: a few milliseconds.
SMALL = ("diffeode.", "multiprocessing.", "numba.np.ufunc.", "torch.profiler")


@pytest.mark.parametrize("name", RUNS)
def test_a_registration_imports_no_package(name):
    given = json.dumps([name, RUNS[name]])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, given], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    late = json.loads(done.stdout.splitlines()[-1])
    assert [module for module in late if not module.startswith(SMALL)] == []
