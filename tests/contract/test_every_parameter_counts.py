"""Every hyper-parameter of every method changes what is computed, or stands here with the reason
why it does not.

Each case registers or trains with a ``base`` setting under which a parameter matters, and again
with another value of it, and compares the results to the bit. Where a program or a package does the
work that may not be here, its arguments are compared. A parameter without a case fails; so does one
that is ignored, fixed, or taken from its default.

Whether each value arrives in its own place and unit is tested in test_handing_on.py.
"""

import dataclasses
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
from computed import (
    PAIR,
    Place,
    by_dinoreg,
    by_multigradicon,
    by_our_formulas,
    by_our_kernels,
    by_package,
    by_program,
    by_recipe,
    by_training,
)
from learned import LEARNED, moving_all_by

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.learning.descriptor import lesson
from diffeode.registration.base import Machine
from diffeode.registration.knobs import leaves_of
from diffeode.registration.registry import method_class, method_names


@dataclass(frozen=True)
class Change:
    """A parameter with the value ``other`` instead of that of ``base`` or its default.

    Attributes:
        parts: the only parts of the result that change; if empty, any part may change.
        times: the factor by which each of ``parts`` changes; None where it is not known.
    """

    other: Any
    base: dict[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    times: float | None = None


@pytest.fixture
def place(tmp_path, monkeypatch):
    return Place(tmp_path, monkeypatch)


# --------------------------------------------------------------------------------------------- ours

_STEPS = {"flow": {"solver": "heun", "steps": 2, "step_size": 0.5}}
_BARRIER = {"penalties.jacobian": {"weight": 1.0, "barrier": 1.0}}
_FOLDING = {
    "penalties.gradient.weight": 0.0,
    "velocity.kernel.gaussian.width": 0.4,
    "descent.learning_rate": 3.0,
    "levels.iterations": [6],
}
_NETWORK = {
    "velocity.field": "network",
    "descent.learning_rate": 0.005,
    "levels": {"factors": [2.0, 1.0], "iterations": [2, 3]},
}
_KERNEL = {"velocity.kernel": "operator"}
_OPERATOR = {"penalties.operator.weight": 0.1}
_PLAIN = {"similarity.mind.form": "mind"}
_WARPED = {"similarity.mind.moving": "warped"}


def alone(name, **settings):
    """Return settings with this similarity and no other."""
    return {"similarity": {name: settings}}


_GRADIENT = alone("descriptor", kind="gradient")
_LMI, _MI = alone("local_mutual_information"), alone("mutual_information")
_NMI = alone("mutual_information", normalised=True)
_NGF, _NCC = alone("gradient_fields"), alone("local_correlation")

NEURAL_ODE = {
    "similarity": [Change({"gradient_fields": {}})],
    "similarity.mind.weight": [Change(2.0)],
    "similarity.mind.form": [Change("mind")],
    "similarity.mind.radius": [Change(2), Change(2, _PLAIN), Change(2, _WARPED)],
    "similarity.mind.dilation": [Change(1), Change(1, _PLAIN), Change(1, _WARPED)],
    "similarity.mind.precision": [
        Change("half", {**_PLAIN, "similarity.mind.radius": 0, "descent.learning_rate": 0.01})
    ],
    "similarity.mind.moving": [Change("warped")],
    "similarity.local_mutual_information.weight": [Change(1.0)],
    "similarity.local_mutual_information.bins": [Change(9, _LMI)],
    "similarity.local_mutual_information.patch": [Change(4, _LMI)],
    "similarity.mutual_information.weight": [
        Change(1.0),
        Change(2.0, {"similarity.mutual_information.weight": 1.0}),
    ],
    "similarity.mutual_information.bins": [Change(9, _MI), Change(9, _NMI)],
    "similarity.mutual_information.normalised": [Change(True, _MI)],
    "similarity.gradient_fields.weight": [Change(1.0)],
    "similarity.gradient_fields.eta": [Change(2.0, _NGF)],
    "similarity.local_correlation.weight": [Change(1.0)],
    "similarity.local_correlation.window": [Change(5, _NCC)],
    "similarity.local_correlation.squared": [Change(False, _NCC)],
    "similarity.squared_difference.weight": [Change(1.0)],
    "similarity.descriptor.weight": [
        Change(1.0),
        Change(2.0, {"similarity.descriptor.kind": "gradient"}),
    ],
    "similarity.descriptor.kind": [Change("gradient", alone("descriptor"))],
    "similarity.descriptor.weights": [Change("descriptor.safetensors", alone("descriptor"))],
    "similarity.descriptor.moving": [Change("warped", _GRADIENT)],
    "penalties": [Change({"gradient": {"weight": 0.4}}), Change({})],
    "penalties.gradient.weight": [Change(0.4)],
    "penalties.bending.weight": [Change(1.0)],
    "penalties.jacobian.weight": [Change(0.5, _BARRIER)],
    "penalties.jacobian.barrier": [Change(0.97, _BARRIER)],
    "penalties.jacobian.squared": [Change(True, _BARRIER)],
    "penalties.magnitude.weight": [Change(1.0)],
    "penalties.operator.weight": [Change(0.1)],
    "penalties.operator.alpha": [Change(0.01, _OPERATOR)],
    "penalties.operator.power": [Change(1.0, _OPERATOR)],
    "penalties.operator.boundary": [Change("periodic", _OPERATOR)],
    "velocity.field": [Change("network")],
    "velocity.field.network.reductions": [Change(0, _NETWORK)],
    "velocity.field.network.cloud": [Change("fixed", {**_NETWORK, **_STEPS})],
    "velocity.field.network.timed": [Change(True, {**_NETWORK, **_STEPS})],
    "velocity.spacing": [Change(1.5)],
    "velocity.kernel": [Change("box"), Change("operator")],
    "velocity.kernel.gaussian.width": [Change(1.4)],
    "velocity.kernel.box.width": [Change(5, {"velocity.kernel.box.width": 3})],
    "velocity.kernel.operator.alpha": [Change(0.01, _KERNEL)],
    "velocity.kernel.operator.power": [Change(1.0, _KERNEL)],
    "velocity.kernel.operator.boundary": [Change("periodic", _KERNEL)],
    "velocity.knots": [Change(2, _STEPS)],
    "velocity.border": [Change("fixed")],
    "flow.solver": [
        Change(s, {"flow": {"steps": 2, "step_size": 0.5}})
        for s in ("euler", "midpoint", "heun", "rk4")
    ],
    "flow.steps": [Change(5), Change(3, _STEPS)],
    "flow.step_size": [Change(0.4, _STEPS)],
    "flow.gradient": [Change("adjoint", _STEPS)],
    "descent.learning_rate": [Change(0.03)],
    "descent.schedule": [Change("constant")],
    "descent.damping": [Change(0.03)],
    "descent.tolerance": [Change(1.0, {"levels.iterations": [14]})],
    "levels.factors": [Change([2.0])],
    "levels.iterations": [Change([4])],
    "masked": [
        Change(True, base)
        for base in (
            *map(alone, ("mind", "squared_difference")),
            _NGF,
            _NCC,
            _MI,
            _NMI,
            _LMI,
            _GRADIENT,
        )
    ],
    "weight_map": [
        Change("map.nii.gz"),
        Change("map.nii.gz", {"penalties": {"bending": {"weight": 1.0}}}),
    ],
    "diffeomorphic": [Change("guaranteed", _FOLDING)],
}
_OF_SEVERAL = {"similarity", "penalties", "velocity.field", "velocity.kernel"}
"""Parameters without a value of their own: they choose one of several terms."""
_GIVEN_AS_TENSORS = {"masked", "weight_map"}
"""Parameters that only :meth:`register` reads; ``velocity_between`` receives tensors in their
place.
"""


# ----------------------------------------------------------------------------------------- packages

_SYN = {"iterations": [4, 3]}
ANTS_SYN = {
    "iterations": [Change([4, 4], _SYN), Change([3, 3], _SYN)],
    "bins": [Change(16, _SYN)],
    "gradient_step": [Change(0.4, _SYN)],
    "flow_sigma": [Change(1.5, _SYN)],
    "total_sigma": [Change(1.0, _SYN)],
}
_GREEDY = {"iterations": [3, 2]}
GREEDY = {
    "metric": [Change(metric, _GREEDY) for metric in ("MI", "NCC", "SSD")],
    "radius": [Change(2, {**_GREEDY, "metric": "NCC"})],
    "iterations": [Change([3, 3], _GREEDY), Change([2, 2], _GREEDY)],
    "gradient_sigma": [Change(2.0, _GREEDY)],
    "warp_sigma": [Change(0.5, _GREEDY)],
}
_CONVEX = {"grid_sp": 3, "disp_hw": 2, "selected_niter": 3}
CONVEXADAM = {
    "descriptor": [Change("gradient", _CONVEX)],
    "descriptor_weights": [Change("descriptor.safetensors", {**_CONVEX, "descriptor": "learned"})],
    "mind_r": [Change(2, _CONVEX)],
    "mind_d": [Change(1, _CONVEX)],
    "lambda_weight": [Change(2.5, _CONVEX)],
    "grid_sp": [Change(4, _CONVEX)],
    "disp_hw": [Change(1, {**_CONVEX, "grid_sp": 2})],
    "selected_niter": [Change(4, _CONVEX)],
    "selected_smooth": [Change(3, _CONVEX)],
    "grid_sp_adam": [Change(3, _CONVEX)],
}


_DINO = {"every": 3, "patch": 2.0, "components": 4, "grid_sp": 3, "disp_hw": 2, "selected_niter": 3}
DINOREG = {
    "weights_name": [Change("dinov2-vitl14", _DINO)],
    "every": [Change(2, _DINO)],
    "patch": [Change(3.0, _DINO)],
    "components": [Change(3, _DINO)],
    "lambda_weight": [Change(2.5, _DINO)],
    "grid_sp": [Change(4, _DINO)],
    "disp_hw": [Change(1, _DINO)],
    "selected_niter": [Change(4, _DINO)],
    "grid_sp_adam": [Change(3, _DINO)],
}


_ICON = {"io_iterations": 2}
MULTIGRADICON = {
    "weights_name": [Change("unigradicon", _ICON, ("weights",))],
    "io_iterations": [
        Change(3, _ICON, ("finetune_steps", "trace")),
        Change(0, _ICON, ("finetune_steps", "trace")),
    ],
    "io_sim": [Change("lncc2", _ICON, ("similarity",))],
    "io_lr": [Change(3e-5, _ICON, ("learning_rate",))],
    "size": [Change(96, _ICON, ("shape",))],
}


# ----------------------------------------------------------------------------------------- programs

_NIFTYREG = ("reg_f3d", "reg_transform")
NIFTYREG = {
    "spacing_mm": [Change(7.5, parts=("-sx",))],
    "bending_weight": [Change(0.03, parts=("-be",))],
    "linear_weight": [Change(0.2, parts=("-le",))],
    "levels": [Change(2, parts=("-ln",))],
    "iterations": [Change(33, parts=("-maxit",))],
}
DEEDSBCV = {
    "alpha": [Change(2.3, parts=("-a",))],
    "grid_spacing": [Change([6, 5, 4, 3, 1], parts=("-G",))],
    "search_radius": [Change([7, 5, 4, 3, 2], parts=("-L",))],
    "quantisation": [Change([4, 3, 2, 1, 1], parts=("-Q",))],
}
SYNTHMORPH = {
    "weight": [Change(0.3, parts=("-r",))],
    "extent": [Change(192, parts=("-e",))],
}


# ------------------------------------------------------------------------------------------ trained

_TRAINING = {
    "steps": [Change(77, parts=("settings",))],
    "epochs": [Change(5, parts=("settings",))],
    "learning_rate": [Change(0.003, parts=("settings",))],
    "interval": [Change(55, parts=("settings",))],
    "validation_persons": [Change(3, parts=("said", "validated"))],
}
_OF_NETWORK = ("network",)
TRAINED = {
    "symnet": {
        "channels": [Change(3, parts=_OF_NETWORK)],
        "squarings": [Change(3, parts=("map", "inverse", "middle", "ends", "magnitude", "folds"))],
        "window": [Change(3, parts=("middle", "ends"))],
        "weight_magnitude": [Change(0.3, parts=("magnitude",), times=3)],
        "weight_folds": [Change(200.0, parts=("folds",), times=2)],
        "weight_gradient": [Change(6.0, parts=("gradient",), times=2)],
    },
    "voxelmorph": {
        "window": [Change(5, parts=("similarity",))],
        "weight_gradient": [Change(3.0, parts=("gradient",), times=3)],
    },
    "dif-voxelmorph": {
        "squarings": [Change(3, parts=("map", "inverse", "similarity"))],
        "window": [Change(5, parts=("similarity",))],
        "weight_similarity": [Change(300.0, parts=("similarity",), times=3)],
        "prior": [Change(2.0, parts=("divergence",))],
    },
    "otmorph": {
        "transport_features": [Change(3, parts=_OF_NETWORK)],
        "critic_features": [Change(3, parts=_OF_NETWORK)],
        "critic_reductions": [Change(2, parts=_OF_NETWORK)],
        "critic_interval": [Change(3, {"critic_interval": 2}, ("critic",))],
        "squarings": [Change(3, parts=("map", "inverse", "similarity", "gradient"))],
        "window": [Change(5, parts=("similarity",))],
        "weight_registration": [Change(30.0, parts=("similarity", "gradient"), times=3)],
        "weight_gradient": [Change(6.0, parts=("gradient",), times=3)],
    },
    "transmatch": {
        "embedding": [Change(16, parts=_OF_NETWORK)],
        "depths": [Change([1, 1, 1, 1], parts=_OF_NETWORK)],
        "heads": [Change([1, 1, 2, 4], parts=_OF_NETWORK)],
        "window": [Change([4, 4, 2], parts=_OF_NETWORK)],
        "dropped": [Change(0.9, {"dropped": 0.0}, ("overlap", "gradient"))],
        "weight_gradient": [Change(0.3, parts=("gradient",), times=3)],
    },
}
_REFERS_TO_WEIGHTS = {"weights", "weights_sha256"}
"""Parameters that do not belong to the training: they name the trained network that maps the pair;
see below.
"""


# ------------------------------------------------------------------------------------- a descriptor

RECIPE = {
    "crop": Change(18, parts=("loss", "validated")),
    "locations": Change(50, parts=("loss", "validated")),
    "temperature": Change(0.1, parts=("loss", "validated")),
    "control_points": Change(7, {"synthetic": 0.0}, ("loss",)),
    "shift": Change(0.0, {"synthetic": 0.0}, ("loss",)),
    "inversion": Change(1.0, {"synthetic": 0.0}, ("loss",)),
    "synthetic": Change(0.0, {"synthetic": 1.0}, ("loss",)),
    "halving": Change(1.0, {"halving": 0.0}, ("loss",)),
    "width": Change(3, parts=("network", "loss", "validated")),
    "features": Change(4, parts=("network", "loss", "validated")),
}


def test_every_choice_of_a_descriptors_recipe_has_a_case():
    assert {field.name for field in dataclasses.fields(lesson.Recipe)} == set(RECIPE)


@pytest.mark.parametrize("parameter", RECIPE)
def test_a_choice_of_a_descriptors_recipe_changes_its_training(parameter):
    compare(by_recipe, "recipe", parameter, RECIPE[parameter])


# ---------------------------------------------------------------------------------------------- all

COMPUTED_BY = {
    "ants-syn": partial(by_package, name="ants-syn"),
    "greedy": partial(by_package, name="greedy"),
    "convexadam": partial(by_package, name="convexadam"),
    "dinoreg": by_dinoreg,
    "multigradicon": by_multigradicon,
    "niftyreg": partial(by_program, name="niftyreg", executables=_NIFTYREG),
    "deedsbcv": partial(by_program, name="deedsbcv", executables=("deedsBCV",)),
    "synthmorph": partial(by_program, name="synthmorph", executables=("mri_synthmorph",)),
    "neural-ode": by_our_kernels,
    **{name: partial(by_training, name=name) for name in LEARNED},
}
CASES = {
    "affine": {},
    "identity": {},
    "ants-syn": ANTS_SYN,
    "greedy": GREEDY,
    "convexadam": CONVEXADAM,
    "dinoreg": DINOREG,
    "multigradicon": MULTIGRADICON,
    "niftyreg": NIFTYREG,
    "deedsbcv": DEEDSBCV,
    "synthmorph": SYNTHMORPH,
    "neural-ode": NEURAL_ODE,
    **{name: {**_TRAINING, **own} for name, own in TRAINED.items()},
}
CHANGES_NOTHING = {
    ("neural-ode", "deterministic"): Change(
        True
    ),  # a CPU always finds the same map; test_device.py has the GPU
    ("neural-ode", "flow.gradient"): Change(
        "checkpoint", _STEPS
    ),  # the same gradient, kept in less memory
    ("neural-ode", "similarity.mutual_information.bins"): Change(
        9, {"similarity.mutual_information.weight": 0.0}
    ),
    # Settings of a term without a weight change nothing.
}
"""Parameters that change nothing, by contract; results are compared to the bit. The reason stands
beside each.
"""


def every_case(cases, names):
    return [
        pytest.param(name, parameter, change, id=f"{name}-{parameter}-{number}")
        for name in names
        for parameter, changes in cases[name].items()
        for number, change in enumerate(changes)
    ]


@pytest.mark.parametrize("name", method_names())
def test_every_parameter_has_a_case(name):
    parameters = set(leaves_of(method_class(name)))
    unchanging = {parameter for method, parameter in CHANGES_NOTHING if method == name}
    told = set(CASES[name]) - _OF_SEVERAL | (_REFERS_TO_WEIGHTS if name in LEARNED else set())
    assert parameters == told | unchanging, (
        f"say in CASES, or in CHANGES_NOTHING, what changes by a parameter of {name}"
    )


@pytest.mark.parametrize(("name", "parameter", "change"), every_case(CASES, CASES))
def test_a_parameter_changes_what_is_computed(name, parameter, change, place):
    compare(partial(COMPUTED_BY[name], place), name, parameter, change)


@pytest.mark.parametrize(
    ("name", "parameter", "change"),
    [case for case in every_case(CASES, ["neural-ode"]) if case.values[1] not in _GIVEN_AS_TENSORS],
)
def test_a_parameter_of_ours_changes_what_the_formulas_compute(name, parameter, change, place):
    compare(partial(by_our_formulas, place), "formulas", parameter, change)


_BEFORE: dict[tuple[str, str], dict[str, Any]] = {}
"""Results with a base, by the function that computes them and the base, because many parameters
share one.
"""


def compare(computed, by_whom, parameter, change):
    key = by_whom, repr(change.base)
    if key not in _BEFORE:
        _BEFORE[key] = computed(change.base)
    before, after = _BEFORE[key], computed({**change.base, parameter: change.other})
    assert before.keys() == after.keys()
    for part in {"map", "velocity"} & before.keys():
        assert np.any(np.asarray(before[part])), "nothing moves, so that this is no case"
    changed = {part for part in before if not alike(before[part], after[part])}
    if change.parts == _OF_NETWORK:
        assert "network" in changed
        assert not changed & {"settings", "said", "validated"}
    else:
        assert changed == (set(change.parts) or set(before))
    if change.times is not None:
        for part in change.parts:
            assert any(before[part]), f"{part} is 0, so that no factor shows"
            np.testing.assert_allclose(
                after[part], np.multiply(before[part], change.times), rtol=1e-5
            )


def alike(one, other) -> bool:
    """Return whether two results are the same to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize(("name", "parameter"), CHANGES_NOTHING)
def test_a_parameter_that_should_change_nothing_does_not(name, parameter, place):
    change = CHANGES_NOTHING[name, parameter]
    before, after = (
        COMPUTED_BY[name](place, given)
        for given in (change.base, {**change.base, parameter: change.other})
    )
    assert alike(before, after)
    assert np.any(before["map"])


@pytest.mark.parametrize("name", LEARNED)
def test_the_weights_named_map_the_pair_and_others_are_refused(name, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    methods = [
        moving_all_by(name, by, folder)
        for by, folder in zip(((1, 0, 0), (0, 2, 0)), folders, strict=True)
    ]
    found = [method.register(PAIR, Machine()).forward.displacement_mm for method in methods]
    assert not np.allclose(*found, atol=0.1)
    (own, others) = (io.sha256(method.weights) for method in methods)
    named = dataclasses.replace(methods[0], weights_sha256=own).register(PAIR, Machine()).forward
    np.testing.assert_array_equal(named.displacement_mm, found[0])
    with pytest.raises(InputError, match="SHA-256 differs"):
        dataclasses.replace(methods[0], weights_sha256=others).register(PAIR, Machine())
