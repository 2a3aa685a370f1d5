"""Every hyper-parameter of every method changes what is computed, or is said here to change nothing, and why.

Each case registers or trains with a ``base`` setting under which a parameter matters, and with
another value of it; what was computed is compared to the bit. Where a program or a package that is
not here does the work, what it is asked for is compared. A parameter without a case fails; so does
one that is ignored, fixed, or taken from its default.

That each value arrives in its own place and unit is asked in test_handing_on.py.
"""

import dataclasses
import json
import sys
import types
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standins
import torch
import torch.nn.functional as F
from learned import LEARNED, SMALL, moving_all_by
from scipy import ndimage
from torch import nn

from diffeode import io
from diffeode.descriptors import learned
from diffeode.descriptors.learning import lesson
from diffeode.descriptors.network import FeatureNetwork
from diffeode.errors import InputError, ToolError
from diffeode.image import Image, foreground
from diffeode.losses import similarity
from diffeode.methods import dinoreg, multigradicon
from diffeode.methods import training as methods_training
from diffeode.methods.base import Machine, Pair
from diffeode.methods.registry import make_method, method_class, method_names
from diffeode.space import Grid
from diffeode.training import checkpoint, loop
from diffeode.training.pairs import Example
from diffeode.transform import DisplacementField

SIZE = (18, 16, 20)
GRID = Grid(SIZE, np.array([[-1.0, 0, 0, 9], [0, 1.2, 0, -9], [0, 0, 0.9, -9], [0, 0, 0, 1]]))


def texture(seed, size=SIZE) -> np.ndarray:
    """An ellipsoid of smooth noise in (0, 1], background 0."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(size), 1.5)
    noise = (noise - noise.min()) / np.ptp(noise)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij")
    return np.where(sum(a**2 for a in axes) < 0.85**2, 0.05 + 0.95 * noise, 0).astype(np.float32)


def another_contrast(image) -> np.ndarray:
    """``image`` two and three voxels further along two axes, its contrast turned and bent."""
    moved = np.roll(image, (2, -3), axis=(0, 1))
    return np.where(moved > 0, 1.05 - moved**1.5, 0).astype(np.float32)


FIXED, MOVING = Image(texture(0), GRID), Image(another_contrast(texture(0)), GRID)
PAIR = Pair(FIXED, MOVING, foreground(FIXED), foreground(MOVING))


@dataclass(frozen=True)
class Change:
    """A parameter at ``other`` instead of what ``base`` or its default says.

    Attributes:
        parts: what of the computed changes by it, and nothing else does; empty: anything.
        times: by how much each of ``parts`` is multiplied; None: not said.
    """

    other: Any
    base: dict[str, Any] = field(default_factory=dict)
    parts: tuple[str, ...] = ()
    times: float | None = None


@dataclass
class Place:
    """Where a case works: a folder of its own, and what it may replace for its time."""

    folder: Path
    patch: pytest.MonkeyPatch

    def with_files(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """``parameters`` with the paths of the files that they name, a weight map or weights, which are made here."""
        paths = {}
        for name, value in parameters.items():
            if isinstance(value, str) and value in _FILES:
                paths[name] = str(self.folder / value)
                _FILES[value](self.folder / value)
        return {**parameters, **paths}


def _weight_map(path):
    io.write_image(path, Image(np.where(GRID.voxels()[..., 0] < 9, 0.2, 5.0), GRID))


def _descriptor_weights(path):
    torch.manual_seed(4)
    shape = {"width": 2, "features": 3}
    made = learned.LearnedDescriptor(FeatureNetwork(**shape))
    about = checkpoint.About(learned.ARCHITECTURE, learned.VERSION, {"network": shape})
    checkpoint.write_checkpoint(path, made.state_dict(), about)


_FILES = {"map.nii.gz": _weight_map, "descriptor.safetensors": _descriptor_weights}


@pytest.fixture
def place(tmp_path, monkeypatch):
    return Place(tmp_path, monkeypatch)


# ------------------------------------------------------------------------------------------------ ours

_ONE_LEVEL = {"levels": [1.0], "iterations": [3], "learning_rate": 0.05, "diffeomorphic": "penalised"}
_ALONE = {"weight_mind": 0.0}
_STEPS = {"solver": "heun", "steps": 2, "step_size": 0.5}
_BARRIER = {"weight_jacobian": 1.0, "barrier": 1.0}
_FOLDING = {"weight_gradient": 0.0, "smoothing": 0.4, "learning_rate": 3.0, "iterations": [6]}
_NETWORK = {"field": "network", "learning_rate": 0.005, "levels": [2.0, 1.0], "iterations": [2, 3]}

NEURAL_ODE = {
    "weight_mind": [Change(2.0)],
    "weight_lmi": [Change(1.0)],
    "weight_mi": [Change(1.0)],
    "weight_nmi": [Change(1.0)],
    "weight_ngf": [Change(1.0)],
    "weight_ncc": [Change(1.0)],
    "weight_ssd": [Change(1.0)],
    "weight_descriptor": [Change(1.0, {"descriptor": "gradient"})],
    "masked": [Change(True, {**_ALONE, weight: 1.0}) for weight in ("weight_mind", "weight_ngf", "weight_ncc")]
    + [Change(True, {**_ALONE, weight: 1.0}) for weight in ("weight_mi", "weight_nmi", "weight_lmi", "weight_ssd")]
    + [Change(True, {**_ALONE, "weight_descriptor": 1.0, "descriptor": "gradient"})],
    "field": [Change("network")],
    "levels": [Change([2.0])],
    "iterations": [Change([4])],
    "velocity_spacing": [Change(1.5)],
    "smoother": [Change("box", {"smoothing": 3.0}), Change("operator")],
    "smoothing": [Change(1.4), Change(5.0, {"smoother": "box", "smoothing": 3.0})],
    "operator_alpha": [Change(0.01, {"smoother": "operator"}), Change(0.01, {"weight_operator": 0.1})],
    "operator_power": [Change(1.0, {"smoother": "operator"}), Change(1.0, {"weight_operator": 0.1})],
    "operator_boundary": [Change("periodic", {"smoother": "operator"}), Change("periodic", {"weight_operator": 0.1})],
    "knots": [Change(2, _STEPS)],
    "border": [Change("fixed")],
    "solver": [Change(s, {"steps": 2, "step_size": 0.5}) for s in ("euler", "midpoint", "heun", "rk4")],
    "steps": [Change(5), Change(3, _STEPS)],
    "step_size": [Change(0.4, _STEPS)],
    "gradient": [Change("adjoint", _STEPS)],
    "learning_rate": [Change(0.03)],
    "schedule": [Change("constant")],
    "damping": [Change(0.03)],
    "tolerance": [Change(1.0, {"iterations": [14]})],
    "weight_jacobian": [Change(1.0, {"barrier": 1.0})],
    "barrier": [Change(0.97, _BARRIER)],
    "barrier_squared": [Change(True, _BARRIER)],
    "weight_gradient": [Change(0.4)],
    "weight_bending": [Change(1.0)],
    "weight_map": [Change("map.nii.gz"), Change("map.nii.gz", {"weight_gradient": 0.0, "weight_bending": 1.0})],
    "weight_magnitude": [Change(1.0)],
    "weight_operator": [Change(0.1)],
    "mind_form": [Change("mind")],
    "mind_radius": [Change(2), Change(2, {"mind_form": "mind"}), Change(2, {"descriptors": "warped"})],
    "mind_dilation": [Change(1), Change(1, {"mind_form": "mind"}), Change(1, {"descriptors": "warped"})],
    "mind_precision": [Change("half", {"mind_form": "mind", "mind_radius": 0, "learning_rate": 0.01})],
    "descriptor": [Change("gradient", {**_ALONE, "weight_descriptor": 1.0})],
    "descriptor_weights": [Change("descriptor.safetensors", {**_ALONE, "weight_descriptor": 1.0})],
    "descriptors": [
        Change("warped"),
        Change("warped", {**_ALONE, "weight_descriptor": 1.0, "descriptor": "gradient"}),
    ],
    "mi_bins": [Change(9, {**_ALONE, weight: 1.0}) for weight in ("weight_mi", "weight_nmi", "weight_lmi")],
    "mi_patch": [Change(4, {**_ALONE, "weight_lmi": 1.0})],
    "ngf_eta": [Change(2.0, {**_ALONE, "weight_ngf": 1.0})],
    "ncc_window": [Change(5, {**_ALONE, "weight_ncc": 1.0})],
    "ncc_squared": [Change(False, {**_ALONE, "weight_ncc": 1.0})],
    "network_reductions": [Change(0, _NETWORK)],
    "diffeomorphic": [Change("guaranteed", _FOLDING)],
}
_GIVEN_AS_TENSORS = {"masked", "weight_map"}
"""``velocity_between`` takes them as tensors; only :meth:`register` reads these parameters."""


def as_ours(place, parameters):
    """The method, with the files that the parameters name."""
    if parameters.get("mind_precision"):  # half precision is for GPUs; a CPU knows enough of it for one voxel's patch
        place.patch.setattr(similarity, "_knows_halves", lambda image: True)
    return make_method("neural-ode", {**_ONE_LEVEL, **place.with_files(parameters)})


def by_our_kernels(place, parameters):
    """The map in three dimensions and single precision, where the compiled kernels serve."""
    return {"map": as_ours(place, parameters).register(PAIR, Machine(seed=1)).forward.displacement_mm}


def by_our_formulas(place, parameters):
    """The velocity in the plane and double precision, where torch computes by the formulas."""
    images = texture(2, (18, 20)), another_contrast(texture(2, (18, 20)))
    fixed, moving = (torch.from_numpy(image).double()[None, None] for image in images)
    torch.manual_seed(1)
    return {"velocity": as_ours(place, parameters).velocity_between(fixed, moving, (1.0, 1.2)).velocity.numpy()}


# ------------------------------------------------------------------------------------------------ packages

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


def by_package(place, parameters, name):
    """The map that the package itself finds."""
    method = make_method(name, place.with_files(parameters))
    return {"map": method.register(PAIR, Machine(seed=1)).forward.displacement_mm}


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


class Vision(nn.Module):
    """In the place of DINOv2: the mean of each quarter of a patch under random weights that depend on the file."""

    config = types.SimpleNamespace(patch_size=14)

    def __init__(self, path: Path) -> None:
        super().__init__()
        drawn = torch.randn(12, 8, generator=torch.Generator().manual_seed(len(path.name)))
        self.register_buffer("weights", drawn)

    def forward(self, pixel_values):
        quarters = F.pixel_unshuffle(F.avg_pool2d(pixel_values, 7), 2)
        tokens = torch.tanh(quarters.flatten(2).mT @ self.weights)
        return types.SimpleNamespace(last_hidden_state=tokens)


def by_dinoreg(place, parameters):
    """The map found with another network in the place of DINOv2; the package that brings it may not be here."""
    place.patch.setattr(dinoreg, "find", Path)
    place.patch.setattr(dinoreg, "load_dinov2", Vision)
    return by_package(place, parameters, "dinoreg")


_ICON = {"io_iterations": 2}
MULTIGRADICON = {
    "weights_name": [Change("unigradicon", _ICON, ("weights",))],
    "io_iterations": [Change(3, _ICON, ("finetune_steps", "trace")), Change(0, _ICON, ("finetune_steps", "trace"))],
    "io_sim": [Change("lncc2", _ICON, ("similarity",))],
    "io_lr": [Change(3e-5, _ICON, ("learning_rate",))],
    "size": [Change(96, _ICON, ("shape",))],
}


class Icon(nn.Module):
    """In the place of the package's network."""

    def __init__(self) -> None:
        super().__init__()
        self.regis_net = nn.Linear(1, 1)

    def forward(self, moving, fixed):
        return types.SimpleNamespace(**dict.fromkeys(("all_loss", "similarity_loss", "inverse_consistency_loss"), one))


one = torch.ones(())


def by_multigradicon(place, parameters, machine=None):
    """What the package, which may not be here, is asked for."""
    asked = {}

    def make_network(shape, include_last_step, loss_fn):
        asked.update(shape=shape, last_step=include_last_step, similarity=loss_fn)
        return Icon()

    def register_pair(network, moving, fixed, finetune_steps, learning_rate):
        asked.update(weights=network.regis_net.weight.item(), finetune_steps=finetune_steps)
        asked.update(images=(moving.data.sum(), fixed.data.sum()), learning_rate=learning_rate)
        asked.update(device=str(modules["icon_registration"].config.device), seed=torch.initial_seed())
        for _ in range((finetune_steps or 0) + 1):
            network(moving, fixed)
        return None, None

    def found(name):
        path = place.folder / name
        torch.save({"weight": torch.full((1, 1), float(len(name))), "bias": torch.zeros(1)}, path)
        return path

    modules = {name: types.ModuleType(name) for name in ("itk", "unigradicon", "icon_registration")}
    modules["icon_registration"].config = types.SimpleNamespace(device="none")
    modules["icon_registration.itk_wrapper"] = types.ModuleType("icon_registration.itk_wrapper")
    modules["icon_registration.itk_wrapper"].register_pair = register_pair
    modules["unigradicon"].make_network = make_network
    modules["unigradicon"].make_sim = lambda name: f"similarity {name}"
    modules["unigradicon"].preprocess = lambda image, modality: image
    for name, module in modules.items():
        place.patch.setitem(sys.modules, name, module)
    place.patch.setattr(multigradicon, "find", found)
    place.patch.setattr(multigradicon, "_to_itk", lambda itk, image: image)
    nowhere = DisplacementField(np.zeros((*SIZE, 3)), GRID)
    place.patch.setattr(multigradicon, "_dense", lambda itk, transform, fixed, grid: nowhere)
    registration = make_method("multigradicon", parameters).register(PAIR, machine or Machine(seed=1))
    return {**asked, "trace": len(registration.trace)}


# ------------------------------------------------------------------------------------------------ programs

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


def by_program(place, parameters, name, executables):
    """The command line, values by option."""
    folder = place.folder / "bin"
    standins.only_these(place.patch, folder)
    for executable in executables:
        into = standins.recorder(folder, executable)
    into.unlink(missing_ok=True)
    with pytest.raises(ToolError, match="exit status 7"):
        make_method(name, parameters).register(PAIR, Machine())
    ((_, *arguments), *_) = json.loads(into.read_text(encoding="utf-8"))
    after = [*arguments[1:], ""]
    values = (Path(value).name for value in after)
    return {word: value for word, value in zip(arguments, values, strict=True) if word.startswith("-")}


# ------------------------------------------------------------------------------------------------ trained

_TRAINING = {
    "steps": [Change(77, parts=("settings",))],
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
"""Not of the training: which trained network maps the pair; see below."""


@dataclass(frozen=True)
class Planned:
    """A pair to train on that lies in memory; all look alike."""

    folder: Path
    persons: frozenset[str]
    turned: bool = False

    def example(self, with_labels):
        images = [texture(10, (17, 16, 16)), another_contrast(texture(10, (17, 16, 16)))]
        labels = [np.digitize(image, [0.01, 0.4, 0.6]) for image in images] if with_labels else [None, None]
        return Example(*images, *labels)


def planned(folder) -> list[Planned]:
    (folder / "receipt.json").write_text("{}", encoding="utf-8")
    return [Planned(folder, frozenset((a, b))) for a in "abcdefg" for b in "abcdefg" if a < b]


def by_training(place, parameters, name, seed=1):
    """What a training is made of: its network, its settings, the terms of its loss, and the maps of its network."""
    kept, said = {}, []

    def keep(lesson, settings, folder, device, say):
        kept.update(lesson=lesson, settings=settings)
        return folder

    place.patch.setattr(loop, "train_by_content", keep)
    method = make_method(name, {**SMALL[name], **parameters})
    pairs = planned(place.folder)
    methods_training.train(method, pairs, place.folder, Machine(seed=seed), said.append)
    network, settings = kept["lesson"].network, kept["settings"]
    parts = {"network": {key: value.clone() for key, value in network.state_dict().items()}}
    parts |= {"settings": dataclasses.asdict(settings), "said": said}
    _stir(network)
    torch.manual_seed(5)
    generator = np.random.default_rng(5)
    terms = [kept["lesson"].objective(network.train(), generator) for _ in range(3)]
    parts |= {key: [term[key].item() for term in terms] for key in terms[0]}
    views = method.views(pairs[0].example(False), "cpu")
    with torch.no_grad():
        maps = method.maps(network.eval(), views.fixed, views.moving)
    parts |= {"map": maps.forward} | ({} if maps.inverse is None else {"inverse": maps.inverse})
    judged = []
    place.patch.setattr(type(method), "judge", lambda self, network, views: judged.append(views) or {"one": one})
    kept["lesson"].validate(network)
    return {**parts, "validated": len(judged)}


def _stir(network):
    """Untrained networks hardly move anything; here they move by voxels, so that every term of the loss has a value."""
    torch.manual_seed(3)
    with torch.no_grad():
        for key, value in network.named_parameters():
            head = any(word in key for word in ("head", "mean", "log_variance"))
            value.add_(torch.randn_like(value), alpha=0.1 if head else 0.02)


# ------------------------------------------------------------------------------------------------ a descriptor

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


def by_recipe(parameters):
    """What the training of a descriptor is made of."""
    image = texture(6, (36, 36, 36))
    specimen = lesson.Specimen("a/1", image, np.digitize(image, [0.01, 0.4, 0.6]))
    recipe = lesson.Recipe(**{"crop": 16, "locations": 64, "width": 2, "features": 3, **parameters})
    made = lesson.descriptor_lesson([specimen], [(image, another_contrast(image))], recipe, {}, seed=1)
    parts = {"network": {key: value.clone() for key, value in made.network.state_dict().items()}}
    with torch.no_grad():
        draws = (np.random.default_rng(seed) for seed in range(3))
        parts["loss"] = [made.objective(made.network, draw)["loss"].item() for draw in draws]
        return {**parts, "validated": made.validate(made.network)["validation_loss"]}


def test_every_choice_of_a_descriptors_recipe_has_a_case():
    assert {field.name for field in dataclasses.fields(lesson.Recipe)} == set(RECIPE)


@pytest.mark.parametrize("parameter", RECIPE)
def test_a_choice_of_a_descriptors_recipe_changes_its_training(parameter):
    compare(by_recipe, "recipe", parameter, RECIPE[parameter])


# ------------------------------------------------------------------------------------------------ all

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
    ("neural-ode", "deterministic"): Change(True),  # a CPU always finds the same map; test_device.py has the GPU
    ("neural-ode", "gradient"): Change("checkpoint", _STEPS),  # the same gradient, kept in less memory
    ("neural-ode", "mi_bins"): Change(9),  # no information is asked for: parameters of what has no weight do nothing
}
"""By contract; compared to the bit. The reason stands beside each."""


def every_case(cases, names):
    return [
        pytest.param(name, parameter, change, id=f"{name}-{parameter}-{number}")
        for name in names
        for parameter, changes in cases[name].items()
        for number, change in enumerate(changes)
    ]


@pytest.mark.parametrize("name", method_names())
def test_every_parameter_has_a_case(name):
    parameters = {f.name for f in dataclasses.fields(method_class(name))}
    unchanging = {parameter for method, parameter in CHANGES_NOTHING if method == name}
    told = set(CASES[name]) | (_REFERS_TO_WEIGHTS if name in LEARNED else set())
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
"""What was computed with a base, by what computes and the base: many parameters share one."""


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
            np.testing.assert_allclose(after[part], np.multiply(before[part], change.times), rtol=1e-5)


def alike(one, other) -> bool:
    """The same to the bit."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    return np.array_equal(np.asarray(one), np.asarray(other))


@pytest.mark.parametrize(("name", "parameter"), CHANGES_NOTHING)
def test_a_parameter_that_should_change_nothing_does_not(name, parameter, place):
    change = CHANGES_NOTHING[name, parameter]
    before, after = (
        COMPUTED_BY[name](place, given) for given in (change.base, {**change.base, parameter: change.other})
    )
    assert alike(before, after)
    assert np.any(before["map"])


@pytest.mark.parametrize("name", LEARNED)
def test_the_weights_named_map_the_pair_and_others_are_refused(name, tmp_path):
    folders = [tmp_path / "one", tmp_path / "other"]
    methods = [moving_all_by(name, by, folder) for by, folder in zip(((1, 0, 0), (0, 2, 0)), folders, strict=True)]
    found = [method.register(PAIR, Machine()).forward.displacement_mm for method in methods]
    assert not np.allclose(*found, atol=0.1)
    (own, others) = (io.sha256(method.weights) for method in methods)
    named = dataclasses.replace(methods[0], weights_sha256=own).register(PAIR, Machine()).forward
    np.testing.assert_array_equal(named.displacement_mm, found[0])
    with pytest.raises(InputError, match="SHA-256 differs"):
        dataclasses.replace(methods[0], weights_sha256=others).register(PAIR, Machine())
