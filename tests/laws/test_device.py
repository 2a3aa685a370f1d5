"""The engine works on the device its images lie on, all of it; seen on a device that only claims to be another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffeode.methods.runs import load_run, run_names

_SCRIPT = Path(__file__).with_name("another_device.py")
_WAYS = {
    "adjoint": {
        "solver": "rk4",
        "gradient": "adjoint",
        "knots": 2,
        "border": "fixed",
        "descriptors": "warped",
        "mind_form": "mind",
    },
    "checkpoint": {
        "gradient": "checkpoint",
        "smoother": "box",
        "smoothing": 3,
        "weight_ssd": 1.0,
        "weight_bending": 0.1,
        "weight_jacobian": 1.0,
        "diffeomorphic": "guaranteed",
    },
    "operator": {"smoother": "operator", "operator_boundary": "periodic", "weight_operator": 0.001, "solver": "heun"},
}


def _parameters() -> dict[str, dict]:
    runs = {name: load_run(name) for name in run_names()}
    ours = {name: run.parameters for name, run in runs.items() if run.method == "neural-ode"}
    shipped = {name: p for name, p in ours.items() if not p.get("descriptor_weights", "").startswith("results/")}
    named = shipped | _WAYS
    return {name: {**p, "iterations": [3] * len(p.get("levels", (2, 1)))} for name, p in named.items()}


@pytest.fixture(scope="module")
def apart() -> dict[str, list[float]]:
    """By run: how far the two maps lie apart and how far one of them leads, voxels."""
    command = [sys.executable, "-W", "ignore", str(_SCRIPT), json.dumps(_parameters())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", _parameters())
def test_another_device_finds_the_map_of_the_cpu(apart: dict[str, list[float]], name: str):
    distance, length = apart[name]
    assert distance == 0 < 0.01 < length


def test_kernels_of_the_cpu_leave_another_device_alone(apart: dict[str, list[float]]):
    distance, length = apart["single precision"]
    assert 0 < distance < 1e-3 < length  # sums in another order, so not the kernels'
