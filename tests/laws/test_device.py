"""The engine works on the device its images lie on, all of it; seen on a device that only claims to be another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffeode.methods.runs import load_run, run_names

pytestmark = pytest.mark.slow

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

_REFUSED = {
    "avg_pool3d_backward",
    "bincount",
    "cumsum",
    "grid_sampler_2d_backward",
    "grid_sampler_3d_backward",
    "histc",
    "put_",
    "reflection_pad2d_backward",
    "reflection_pad3d_backward",
    "upsample_bilinear2d_backward",
    "upsample_trilinear3d_backward",
}
"""On CUDA, by ``torch.use_deterministic_algorithms`` (its documentation, 2.13). Not the gradient of replicated borders,
for which torch then has another way, on CUDA only."""


def _with_few_iterations(parameters: dict) -> dict:
    return {**parameters, "iterations": [3] * len(parameters.get("levels", (2, 1)))}


def _parameters() -> dict[str, dict]:
    runs = {name: load_run(name) for name in run_names()}
    ours = {name: run.parameters for name, run in runs.items() if run.method == "neural-ode"}
    shipped = {name: p for name, p in ours.items() if not p.get("descriptor_weights", "").startswith("results/")}
    return {name: _with_few_iterations(p) for name, p in (shipped | _WAYS).items()}


def _deterministic() -> dict[str, dict]:
    return {f"{name}, deterministic": {**p, "deterministic": True} for name, p in _parameters().items()}


def _in_half_precision() -> dict[str, dict]:
    forms = {"ssc": {}, "mind": {"mind_form": "mind"}, "masked": {"masked": True}}
    return {f"{name}, half": _with_few_iterations({**p, "mind_precision": "half"}) for name, p in forms.items()}


@pytest.fixture(scope="module")
def found() -> dict[str, dict]:
    """By run: how far the two maps lie apart and how far one of them leads, voxels; the operations there."""
    asked = _parameters() | _deterministic() | _in_half_precision()
    command = [sys.executable, "-W", "ignore", str(_SCRIPT), json.dumps(asked)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", _parameters())
def test_another_device_finds_the_map_of_the_cpu(found: dict[str, dict], name: str):
    assert found[name]["apart"] == 0 < 0.01 < found[name]["leads"]


def test_kernels_of_the_cpu_leave_another_device_alone(found: dict[str, dict]):
    single = found["single precision"]
    assert 0 < single["apart"] < 1e-3 < single["leads"]  # sums in another order, so not the kernels'


@pytest.mark.parametrize("name", _deterministic())
def test_a_deterministic_map_takes_no_operation_that_torch_refuses_then(found: dict[str, dict], name: str):
    assert set(found[name]["operations"]).isdisjoint(_REFUSED)
    assert found[name]["apart"] < 1e-9


def test_without_being_asked_torch_would_refuse_them(found: dict[str, dict]):
    usual = set(found["node"]["operations"]) & _REFUSED
    assert usual == {"avg_pool3d_backward", "grid_sampler_3d_backward", "upsample_trilinear3d_backward"}


@pytest.mark.parametrize("name", _in_half_precision())
def test_half_precision_finds_nearly_the_same_map(found: dict[str, dict], name: str):
    # At the one voxel where it differs most; Adam makes full steps of the smallest slopes too.
    assert 0 < found[name]["apart"] < 0.15 * found[name]["leads"]
