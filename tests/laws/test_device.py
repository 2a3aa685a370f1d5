"""The whole engine computes on the device of the images, as is seen on a pretended device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from diffeode.registration.knobs import as_parameters, changed
from diffeode.registration.registry import make_method
from diffeode.registration.runs import load_run, run_names

pytestmark = pytest.mark.slow

_SCRIPT = Path(__file__).with_name("another_device.py")
_WAYS = {
    "adjoint": {
        "similarity": {"mind": {"form": "mind", "moving": "warped"}},
        "velocity": {"knots": 2, "border": "fixed"},
        "flow": {"solver": "rk4", "gradient": "adjoint"},
    },
    "checkpoint": {
        "similarity": {"mind": {}, "squared_difference": {}},
        "penalties": {"gradient": {"weight": 0.2}, "bending": {"weight": 0.1}, "jacobian": {}},
        "velocity": {"kernel": {"box": {"width": 3}}},
        "flow": {"gradient": "checkpoint"},
    },
    "operator": {
        "penalties": {
            "gradient": {"weight": 0.2},
            "operator": {"weight": 0.001, "boundary": "periodic"},
        },
        "velocity": {"kernel": {"operator": {"boundary": "periodic"}}},
        "flow": {"solver": "heun"},
    },
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
"""Operations whose gradient torch refuses on CUDA when it must be deterministic (documentation of
``torch.use_deterministic_algorithms`` in torch 2.13). The gradient of replicated borders is not
among them: torch has a deterministic form of it, on CUDA only.
"""


_MORE_ITERATIONS = {"paper-lmi": 8}
"""Iterations of runs whose first three find no energy below that of the start."""


def _shortened(parameters: dict, iterations: int = 3) -> dict:
    """Return the parameters with this many iterations a level, and two steps of the flow at most,
    the second of which begins where the first one ended as every further one does.
    """
    method = make_method("neural-ode", parameters)
    short = {
        "levels.iterations": [iterations] * len(method.levels.factors),
        "flow.steps": min(method.flow.steps, 2),
    }
    return _changed(parameters, short)


def _changed(parameters: dict, by: dict) -> dict:
    return as_parameters(changed(make_method("neural-ode", parameters), by))


def _parameters() -> dict[str, dict]:
    runs = {name: load_run(name) for name in run_names()}
    ours = {name: run.parameters for name, run in runs.items() if run.method == "neural-ode"}
    shipped = {
        name: p
        for name, p in ours.items()
        if not runs[name].build().descriptor_weights.startswith("results/")
    }
    return {
        name: _shortened(p, _MORE_ITERATIONS.get(name, 3)) for name, p in (shipped | _WAYS).items()
    }


def _deterministic() -> dict[str, dict]:
    return {
        f"{name}, deterministic": _changed(p, {"deterministic": True})
        for name, p in _parameters().items()
    }


def _in_half_precision() -> dict[str, dict]:
    forms = {"ssc": {}, "mind": {"similarity.mind.form": "mind"}, "masked": {"masked": True}}
    half = {"similarity.mind.precision": "half"}
    return {f"{name}, half": _shortened(_changed({}, form | half)) for name, form in forms.items()}


@pytest.fixture(scope="module")
def found() -> dict[str, dict]:
    """For each run the distance between the two maps, the length of one of them, in voxels, and the
    operations.
    """
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
    assert (
        0 < single["apart"] < 1e-3 < single["leads"]
    )  # sums in another order, so not the kernels'


@pytest.mark.parametrize("name", _deterministic())
def test_a_deterministic_map_takes_no_operation_that_torch_refuses_then(
    found: dict[str, dict], name: str
):
    assert set(found[name]["operations"]).isdisjoint(_REFUSED)
    assert found[name]["apart"] < 1e-9


def test_without_being_asked_torch_would_refuse_them(found: dict[str, dict]):
    usual = set(found["node"]["operations"]) & _REFUSED
    assert usual == {
        "avg_pool3d_backward",
        "grid_sampler_3d_backward",
        "upsample_trilinear3d_backward",
    }


@pytest.mark.parametrize("name", _in_half_precision())
def test_half_precision_finds_nearly_the_same_map(found: dict[str, dict], name: str):
    # At the one voxel where it differs most; Adam makes full steps of the smallest slopes too.
    assert 0 < found[name]["apart"] < 0.15 * found[name]["leads"]
