"""What the methods compute, so that it can be compared: maps, or the arguments with which programs,
packages and trainings are called.

Everything is tiny. Each ``by_...`` takes hyper-parameters and returns what was computed, part by
part.
"""

import dataclasses
import json
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import standins
import torch
import torch.nn.functional as F
from learned import SMALL
from ours import neural_ode
from scipy import ndimage
from torch import nn

from diffeode.descriptors import learned
from diffeode.descriptors.network import FeatureNetwork
from diffeode.errors import ToolError
from diffeode.files import io
from diffeode.geometry.image import Image, foreground
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField
from diffeode.learning import loop
from diffeode.learning import method_training as methods_training
from diffeode.learning.descriptor import lesson
from diffeode.learning.pairs import Example
from diffeode.losses import similarity
from diffeode.methods import dinoreg, multigradicon
from diffeode.registration.base import Machine, Pair
from diffeode.registration.registry import make_method
from diffeode.weights import checkpoint

SIZE = (18, 16, 20)
GRID = Grid(SIZE, np.array([[-1.0, 0, 0, 9], [0, 1.2, 0, -9], [0, 0, 0.9, -9], [0, 0, 0, 1]]))


def texture(seed, size=SIZE) -> np.ndarray:
    """Return an ellipsoid of smooth noise in (0, 1], background 0."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(size), 1.5)
    noise = (noise - noise.min()) / np.ptp(noise)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij")
    return np.where(sum(a**2 for a in axes) < 0.85**2, 0.05 + 0.95 * noise, 0).astype(np.float32)


def another_contrast(image) -> np.ndarray:
    """Return ``image`` shifted by two and three voxels along two axes, with its contrast inverted
    and not linear.
    """
    moved = np.roll(image, (2, -3), axis=(0, 1))
    return np.where(moved > 0, 1.05 - moved**1.5, 0).astype(np.float32)


FIXED, MOVING = Image(texture(0), GRID), Image(another_contrast(texture(0)), GRID)
PAIR = Pair(FIXED, MOVING, foreground(FIXED), foreground(MOVING))
ONE = torch.ones(())


@dataclass
class Place:
    """The place where a case works: a folder of its own, and the means to replace functions while
    it runs.
    """

    folder: Path
    patch: pytest.MonkeyPatch

    def with_files(self, parameters: dict[str, Any]) -> dict[str, Any]:
        """Return ``parameters`` with the paths of the files that they name; a weight map or weights
        are made here.
        """
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
_ONE_LEVEL = {
    "levels": {"factors": [1.0], "iterations": [3]},
    "descent.learning_rate": 0.05,
    "diffeomorphic": "penalised",
}


def as_ours(place, parameters):
    """Return the method, with the files that the parameters name."""
    if parameters.get("similarity.mind.precision"):
        # This is for GPUs; a CPU has enough operations in half precision for a patch of one voxel.
        place.patch.setattr(similarity, "_knows_halves", lambda image: True)
    return neural_ode(_ONE_LEVEL, place.with_files(parameters))


def by_our_kernels(place, parameters):
    """Return the map in three dimensions and single precision, which compiled kernels compute."""
    return {
        "map": as_ours(place, parameters).register(PAIR, Machine(seed=1)).forward.displacement_mm
    }


def by_our_formulas(place, parameters):
    """Return the velocity in the plane and double precision, which torch's formulas compute."""
    images = texture(2, (18, 20)), another_contrast(texture(2, (18, 20)))
    fixed, moving = (torch.from_numpy(image).double()[None, None] for image in images)
    torch.manual_seed(1)
    return {
        "velocity": as_ours(place, parameters)
        .velocity_between(fixed, moving, (1.0, 1.2))
        .velocity.numpy()
    }


def by_package(place, parameters, name):
    """Return the map that the package itself finds."""
    method = make_method(name, place.with_files(parameters))
    return {"map": method.register(PAIR, Machine(seed=1)).forward.displacement_mm}


class Vision(nn.Module):
    """A stand-in for DINOv2: the mean of each quarter of a patch, under random weights that depend
    on the file.
    """

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
    """Return the map that is found with another network in the place of DINOv2, whose package may
    not be here.
    """
    place.patch.setattr(dinoreg, "find_weights", Path)
    place.patch.setattr(dinoreg, "load_dinov2", Vision)
    return by_package(place, parameters, "dinoreg")


class Icon(nn.Module):
    """A stand-in for the package's network."""

    def __init__(self) -> None:
        super().__init__()
        self.regis_net = nn.Linear(1, 1)

    def forward(self, moving, fixed):
        return types.SimpleNamespace(
            **dict.fromkeys(("all_loss", "similarity_loss", "inverse_consistency_loss"), ONE)
        )


def by_multigradicon(place, parameters, machine=None):
    """Return the arguments with which the package is called; it need not be installed."""
    asked = {}

    def make_network(shape, include_last_step, loss_fn):
        asked.update(shape=shape, last_step=include_last_step, similarity=loss_fn)
        return Icon()

    def register_pair(network, moving, fixed, finetune_steps, learning_rate):
        asked.update(weights=network.regis_net.weight.item(), finetune_steps=finetune_steps)
        asked.update(images=(moving.data.sum(), fixed.data.sum()), learning_rate=learning_rate)
        asked.update(
            device=str(modules["icon_registration"].config.device), seed=torch.initial_seed()
        )
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
    place.patch.setattr(multigradicon, "find_weights", found)
    place.patch.setattr(multigradicon, "_to_itk", lambda itk, image: image)
    nowhere = DisplacementField(np.zeros((*SIZE, 3)), GRID)
    place.patch.setattr(multigradicon, "_dense", lambda itk, transform, fixed, grid: nowhere)
    registration = make_method("multigradicon", parameters).register(
        PAIR, machine or Machine(seed=1)
    )
    return {**asked, "trace": len(registration.trace)}


def by_program(place, parameters, name, executables):
    """Return the command line as values by option."""
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
    return {
        word: value for word, value in zip(arguments, values, strict=True) if word.startswith("-")
    }


@dataclass(frozen=True)
class Planned:
    """A pair to train on that lies in memory; all look alike."""

    folder: Path
    persons: frozenset[str]
    turned: bool = False

    def example(self, with_labels):
        images = [texture(10, (17, 16, 16)), another_contrast(texture(10, (17, 16, 16)))]
        labels = (
            [np.digitize(image, [0.01, 0.4, 0.6]) for image in images]
            if with_labels
            else [None, None]
        )
        return Example(*images, *labels)


def planned(folder) -> list[Planned]:
    """Return all pairs of seven persons, each once."""
    (folder / "receipt.json").write_text("{}", encoding="utf-8")
    return [Planned(folder, frozenset((a, b))) for a in "abcdefg" for b in "abcdefg" if a < b]


def by_training(place, parameters, name, seed=1):
    """Return the parts of a training: its network, its settings, the terms of its loss, and the
    maps of its network.
    """
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
    place.patch.setattr(
        type(method), "judge", lambda self, network, views: judged.append(views) or {"one": ONE}
    )
    kept["lesson"].validate(network)
    return {**parts, "validated": len(judged)}


def _stir(network):
    """Change the weights so that the network moves by voxels and all terms of the loss have values.

    An untrained network hardly moves anything.
    """
    torch.manual_seed(3)
    with torch.no_grad():
        for key, value in network.named_parameters():
            head = any(word in key for word in ("head", "mean", "log_variance"))
            value.add_(torch.randn_like(value), alpha=0.1 if head else 0.02)


def by_recipe(parameters):
    """Return the parts of the training of a descriptor."""
    image = texture(6, (36, 36, 36))
    specimen = lesson.Specimen("a/1", image, np.digitize(image, [0.01, 0.4, 0.6]))
    recipe = lesson.Recipe(**{"crop": 16, "locations": 64, "width": 2, "features": 3, **parameters})
    made = lesson.descriptor_lesson(
        [specimen], [(image, another_contrast(image))], recipe, {}, seed=1
    )
    parts = {"network": {key: value.clone() for key, value in made.network.state_dict().items()}}
    with torch.no_grad():
        draws = (np.random.default_rng(seed) for seed in range(3))
        parts["loss"] = [made.objective(made.network, draw)["loss"].item() for draw in draws]
        return {**parts, "validated": made.validate(made.network)["validation_loss"]}
