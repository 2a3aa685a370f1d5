"""Training of the learned descriptor (arXiv 2512.22689, sections III-B2 and III-D3).

Each step takes a scan, makes a second contrast of it, and compares the tokens of both at many
places. Tokens of one place should be alike, and tokens of different places different.

The text of the paper has lost the learning rate, the number of places, the number of control points
and the probabilities. The defaults are our choice.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from diffeode.descriptors.learned import ARCHITECTURE, VERSION, LearnedDescriptor
from diffeode.descriptors.network import FeatureNetwork
from diffeode.errors import InputError
from diffeode.geometry.image import bounding_box
from diffeode.learning.descriptor.contrastive import alignment, info_nce, retrieval, uniformity
from diffeode.learning.descriptor.contrasts import noisy, random_texture, shifted, synthetic
from diffeode.learning.loop import Lesson
from diffeode.provenance.source import code_hash

_TRIES = 20
"""Largest number of crops that are drawn until one holds enough brain."""
_LEAST_BRAIN = 0.2
"""Fraction of a crop that must be brain."""
_VALIDATION_CROPS = 8
"""Number of crops of each pair of contrasts in the validation."""
_VALIDATION_SEED = 20
"""Seed of those crops, so that every validation sees the same ones."""


@final
@dataclass(frozen=True)
class Recipe:
    """The settings of the contrasts, of the comparison and of the network.

    Attributes:
        crop: the side of the cube that a step sees, voxels.
        locations: the number of places in the brain that a step compares.
        temperature: the temperature of the contrastive loss.
        control_points: the number of control points of the map of intensities.
        shift: the probability that the second contrast differs from the first by such a map.
        inversion: the probability that the map is applied to the inverted image.
        synthetic: the probability of two synthetic contrasts, where the specimen has labels.
        halving: the probability that the crop has twice the side and is reduced by 2, as images on
            the coarser levels of a registration are.
        width, features: see :class:`diffeode.descriptors.network.FeatureNetwork`.
    Raises:
        InputError: a value is out of range.
    """

    crop: int = 48
    locations: int = 1024
    temperature: float = 0.05
    control_points: int = 5
    shift: float = 0.9
    inversion: float = 0.5
    synthetic: float = 0.5
    halving: float = 0.25
    width: int = 8
    features: int = 8

    def __post_init__(self) -> None:
        least = {"crop": 16, "locations": 2, "control_points": 2, "width": 1, "features": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise InputError(
                    f"The {name} of a descriptor's training is {getattr(self, name)}; at least "
                    f"{low}."
                )
        for name in ("shift", "inversion", "synthetic", "halving"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(
                    f"The {name} of a descriptor's training is a probability, not "
                    f"{getattr(self, name)}."
                )
        if not self.temperature > 0:
            raise InputError(
                f"The temperature of a descriptor's training is {self.temperature}; it must be "
                "above 0."
            )


@final
@dataclass(frozen=True, eq=False)
class Specimen:
    """A scan, a label map or both, from which the descriptor is trained.

    Attributes:
        person: the name of the person, ``dataset/sub-name``.
        image: a prepared scan ``(X, Y, Z)`` in [0, 1], background 0; None where there is only a
            label map.
        labels: a label map on the same grid, background 0; None where there is only a scan.
    Raises:
        InputError: neither is given, they differ in shape, or they hold no brain or no contrast.
    """

    person: str
    image: np.ndarray | None
    labels: np.ndarray | None

    def __post_init__(self) -> None:
        given = [array for array in (self.image, self.labels) if array is not None]
        if not given or len({array.shape for array in given}) > 1:
            raise InputError(
                f"{self.person} needs a scan or a label map to train on, both of one shape."
            )
        if self.image is not None and (
            not np.isfinite(self.image).all() or len(np.unique(self.image[self.brain])) < 2
        ):
            raise InputError(
                f"The scan of {self.person} is empty, constant or not finite; leave it out or "
                "repair it."
            )
        if not self.brain.any():
            raise InputError(f"The label map of {self.person} is empty; leave it out or repair it.")

    @property
    def brain(self) -> np.ndarray:
        """The voxels of the brain, ``(X, Y, Z)`` bool."""
        return (self.image if self.image is not None else self.labels) > 0

    def crop(self, corner: np.ndarray, side: int) -> Specimen | None:
        """Return the cube of ``side`` voxels at ``corner``; None where it cannot be used."""
        window = tuple(slice(a, a + side) for a in corner)
        image, labels = (None if a is None else a[window] for a in (self.image, self.labels))
        try:
            return Specimen(self.person, image, labels)
        except InputError:
            return None


@final
@dataclass(frozen=True, eq=False)
class TwoContrasts:
    """Two contrasts of one cube, ``(X, Y, Z)`` each, and the places to compare, ``(N, 3)``."""

    first: np.ndarray
    second: np.ndarray
    places: np.ndarray


def descriptor_lesson(
    specimens: Sequence[Specimen],
    validation: Sequence[tuple[np.ndarray, np.ndarray]],
    recipe: Recipe,
    data: dict[str, str],
    seed: int = 0,
) -> Lesson:
    """Return the lesson with which :func:`diffeode.learning.loop.train` trains a descriptor.

    Args:
        specimens: what the descriptor is trained from; one contrast of a person is enough.
        validation: pairs of prepared scans ``(X, Y, Z)``. Each pair shows one person in two
            contrasts on one grid, and none of these persons is trained on.
        data: the SHA-256 of each file that was read, by name.
        seed: the seed of the network's first weights.
    Raises:
        InputError: there is nothing to train or to validate on, or a scan is smaller than the crop.
    """
    if not specimens or not validation:
        raise InputError(
            "A descriptor needs scans or label maps to train on, and a person in two contrasts to "
            "validate."
        )
    for specimen in specimens:
        if min(specimen.brain.shape) < recipe.crop:
            raise InputError(
                f"The scan of {specimen.person} has {specimen.brain.shape} voxels, less than the "
                f"crop of {recipe.crop}; lower crop or leave it out."
            )
    torch.manual_seed(seed)
    shape = {"width": recipe.width, "features": recipe.features}
    material = _Material(tuple(specimens), recipe)
    kept: list[TwoContrasts] = []
    for number, pair in enumerate(validation):
        kept += validation_views(*pair, recipe, [_VALIDATION_SEED, number])
    return Lesson(
        network=LearnedDescriptor(FeatureNetwork(**shape)),
        objective=material.loss,
        architecture=ARCHITECTURE,
        version=VERSION,
        code=code_hash(descriptor_lesson),
        validate=lambda network: _validated(network, kept, recipe.temperature),
        configuration={"network": shape, "recipe": asdict(recipe), "seed": seed},
        data=data,
    )


@final
@dataclass(frozen=True, eq=False)
class _Material:
    """The specimens, and what a step makes of them."""

    specimens: tuple[Specimen, ...]
    recipe: Recipe

    def loss(self, network: nn.Module, generator: np.random.Generator) -> dict[str, Tensor]:
        """Return the contrastive loss of one step."""
        views = self.views(generator)
        first, second = described(network, views)
        return {"loss": info_nce(first, second, self.recipe.temperature)}

    def views(self, generator: np.random.Generator) -> TwoContrasts:
        """Return two contrasts of a random crop, and random places of its brain."""
        part = self._crop(generator)
        first, second = self._contrasts(part, generator)
        first, second, brain = _turned((first, second, part.brain), generator)
        if len(first) > self.recipe.crop:
            first, second, brain = _halved(first), _halved(second), _halved(brain) > 0.5
        return TwoContrasts(first, second, drawn_places(brain, self.recipe.locations, generator))

    def _crop(self, generator: np.random.Generator) -> Specimen:
        specimen = self.specimens[generator.integers(len(self.specimens))]
        shape = np.array(specimen.brain.shape)
        double = generator.random() < self.recipe.halving and shape.min() >= 2 * self.recipe.crop
        side = self.recipe.crop * (2 if double else 1)
        for _ in range(_TRIES):
            part = specimen.crop(generator.integers(0, shape - side + 1), side)
            if part is not None and part.brain.mean() > _LEAST_BRAIN:
                return part
        raise InputError(
            f"{specimen.person} shows too little brain in cubes of {side} voxels; leave it out."
        )

    def _contrasts(
        self, part: Specimen, generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        recipe = self.recipe
        if part.image is None or (
            part.labels is not None and generator.random() < recipe.synthetic
        ):
            texture = (
                random_texture(part.labels.shape, generator) if part.image is None else part.image
            )
            # Brain without a label counts as a structure of its own.
            labels = np.where(part.brain, part.labels + 1, 0)
            return synthetic(labels, texture, generator), synthetic(labels, texture, generator)
        second = part.image
        if generator.random() < recipe.shift:
            second = shifted(part.image, recipe.control_points, recipe.inversion, generator)
        grained = (
            np.where(part.brain, np.clip(noisy(i, generator), 0.001, 1), 0)
            for i in (part.image, second)
        )
        return tuple(image.astype(np.float32) for image in grained)


def described(network: nn.Module, views: TwoContrasts) -> tuple[Tensor, Tensor]:
    """Return the descriptors of both contrasts at the places, ``(N, C)`` each."""
    device = next(network.parameters()).device
    images = torch.from_numpy(np.stack([views.first, views.second])).float()[:, None].to(device)
    where = torch.from_numpy(np.ravel_multi_index(views.places.T, views.first.shape)).to(device)
    return tuple(network(images[i : i + 1])[0].flatten(1)[:, where].T.float() for i in (0, 1))


def drawn_places(brain: np.ndarray, count: int, generator: np.random.Generator) -> np.ndarray:
    """Return ``count`` different voxels of ``brain``, or all where there are fewer, ``(N, 3)``."""
    places = np.argwhere(brain)
    return places[generator.choice(len(places), min(count, len(places)), replace=False)]


def validation_views(
    first: np.ndarray, second: np.ndarray, recipe: Recipe, seed: Sequence[int]
) -> Iterator[TwoContrasts]:
    """Yield random cubes of the brain that both contrasts show, the same ones for one ``seed``."""
    generator = np.random.default_rng(seed)
    brain = (first > 0) & (second > 0)
    lower, upper = bounding_box(brain)
    side = np.minimum(recipe.crop, upper - lower)
    for _ in range(_VALIDATION_CROPS):
        centre = drawn_places(brain, 1, generator)[0]
        corner = np.clip(centre - side // 2, lower, upper - side)
        window = tuple(slice(a, a + n) for a, n in zip(corner, side, strict=True))
        places = drawn_places(brain[window], recipe.locations, generator)
        yield TwoContrasts(first[window], second[window], places)


def _validated(
    network: nn.Module, kept: Sequence[TwoContrasts], temperature: float
) -> dict[str, float]:
    """Return the means over the validation views of the loss and of three other measures."""
    rows = []
    for views in kept:
        first, second = (tokens.cpu() for tokens in described(network, views))
        rows.append(
            {
                "validation_loss": info_nce(first, second, temperature).item(),
                "validation_alignment": alignment(first, second).item(),
                "validation_uniformity": uniformity(torch.cat([first, second])).item(),
                "validation_retrieval": retrieval(first, second),
            }
        )
    means = {}
    for name in rows[0]:
        means[name] = float(np.mean([row[name] for row in rows]))
    return means


def _turned(arrays: Sequence[np.ndarray], generator: np.random.Generator) -> list[np.ndarray]:
    """Return ``arrays`` with axes permuted and flipped at random, all in the same way.

    Scans come in every orientation, and a descriptor should not depend on it.
    """
    axes = generator.permutation(3)
    flips = tuple(np.flatnonzero(generator.random(3) < 0.5))
    return [np.ascontiguousarray(np.flip(array.transpose(axes), flips)) for array in arrays]


def _halved(array: np.ndarray) -> np.ndarray:
    """Return the means over cubes of 2 voxels an axis."""
    corners = itertools.product((0, 1), repeat=3)
    return np.mean([array[i::2, j::2, k::2] for i, j, k in corners], axis=0, dtype=np.float32)
