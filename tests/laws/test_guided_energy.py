"""The energy with guidance: exact values on tiny grids, in two and three dimensions."""

import numpy as np
import pytest
import torch
from ours import levels, neural_ode

from diffeode.flows.smoothing import gaussian
from diffeode.geometry.warp import pull_back
from diffeode.losses.label_overlap import partial_volumes
from diffeode.methods.neural_ode.energy import PairTensors, energy_on
from diffeode.methods.neural_ode.guided import (
    ContrastTensors,
    GuidedTensors,
    LabelNumbers,
    LandmarkPlaces,
    guided_energy,
    guided_motion,
)
from diffeode.optimise.pyramid import Lattice

SIZE, SPACING = (12, 16), (1.0, 1.5)
SSD = {
    "similarity": {"squared_difference": {"weight": 3.0}},
    "penalties": {"gradient": {"weight": 0.2}},
}
METHODS = {
    "of intensities": SSD,
    "of several terms": {
        "similarity": {"mind": {"weight": 2.0}, "mutual_information": {"weight": 0.5}},
        "penalties": {"gradient": {"weight": 0.2}, "jacobian": {"weight": 0.1}},
    },
}


def texture(seed, size=SIZE):
    """Smooth noise, ``(1, 1, *size)`` in double precision."""
    generator = torch.Generator().manual_seed(seed)
    return gaussian(torch.rand(1, 1, *size, generator=generator, dtype=torch.float64), 1.2)


def pair(seed, mask=None):
    return PairTensors(texture(seed), texture(seed + 50), mask, None)


def lattices(method, level=1.0, size=SIZE, spacing=SPACING):
    whole = Lattice(size, spacing)
    return whole.coarser(level), whole.coarser(level * method.velocity.spacing)


def shift(fields, by):
    """A velocity whose flow moves everything by ``by`` voxels of its own grid."""
    size = fields.size
    return torch.tensor(by, dtype=torch.float64).view(1, -1, *[1] * len(size)).repeat(1, 1, *size)


def bumps(fields):
    generator = torch.Generator().manual_seed(9)
    noise = torch.randn(1, len(fields.size), *fields.size, generator=generator, dtype=torch.float64)
    return 0.4 * gaussian(noise, 1.0)


# ---------------------------------------------------------------------------------------- contrasts


@pytest.mark.parametrize("level", [1.0, 2.0])
@pytest.mark.parametrize("settings", METHODS.values(), ids=METHODS)
def test_similarities_are_the_mean_by_shares_and_penalties_are_those_of_one_pair(settings, level):
    method = neural_ode(settings)
    images, fields = lattices(method, level)
    pairs, shares = [pair(1), pair(2), pair(3)], (0.5, 0.3, 0.2)
    contrasts = tuple(map(ContrastTensors, pairs, shares))
    velocity = bumps(fields)
    found = guided_energy(GuidedTensors(contrasts), images, fields, method)(velocity)
    alone = [
        energy_on(one.reduced(images.size, fields.size), images, fields, method)(velocity)
        for one in pairs
    ]
    penalties = {term.column for term in method.penalties}
    assert found.keys() == alone[0].keys() > penalties
    for name, value in found.items():
        expected = sum(share * terms[name] for share, terms in zip(shares, alone, strict=True))
        assert value.item() == pytest.approx(expected.item(), rel=1e-12), name
    similarity = next(iter(found.keys() - penalties))
    assert alone[0][similarity] != alone[1][similarity]


def test_the_same_contrast_twice_is_the_contrast_once():
    method = neural_ode(SSD)
    images, fields = lattices(method)
    velocity = bumps(fields)
    energies = [
        guided_energy(
            GuidedTensors(tuple(ContrastTensors(pair(4), share) for share in shares)),
            images,
            fields,
            method,
        )(velocity)
        for shares in ((1.0,), (0.25, 0.75))
    ]
    for name, value in energies[0].items():
        assert energies[1][name].item() == pytest.approx(value.item(), rel=1e-12)


def test_one_contrast_without_guidance_is_the_registration_of_a_pair_to_the_bit():
    size = (14, 13, 12)
    method = neural_ode(SSD, levels((2.0, 1.0), (6, 4)))
    fixed, moving = (texture(seed, size).float() for seed in (1, 2))
    spacing = (1.0, 1.0, 2.0)
    plain = method.velocity_between(fixed, moving, spacing)
    tensors = GuidedTensors((ContrastTensors(PairTensors(fixed, moving, None, None)),))
    assert torch.equal(guided_motion(method, tensors, spacing).velocity, plain.velocity)
    assert plain.velocity.abs().max() > 0.1


# ------------------------------------------------------------------------------------------- a mask


def test_the_mask_of_the_moving_image_follows_the_map():
    """The lesion of the moving image lies elsewhere after the map, and is left out there."""
    method = neural_ode(SSD, {"velocity.spacing": 1.0})
    images, fields = lattices(method)
    lesion = torch.zeros(1, 1, *SIZE, dtype=torch.float64)
    lesion[..., 4:7, 5:9] = 1
    clean = pair(5)
    spoiled = PairTensors(clean.fixed, clean.moving + 7 * lesion, None, None)
    velocity = shift(fields, (2.0, -3.0))

    def similarity(one, follows=None, mask=None):
        tensors = PairTensors(one.fixed, one.moving, mask, None)
        contrast = GuidedTensors((ContrastTensors(tensors, 1.0, follows),))
        return guided_energy(contrast, images, fields, method)(velocity)["ssd"].item()

    counts = 1 - lesion
    assert similarity(spoiled, counts) == pytest.approx(similarity(clean, counts), rel=1e-12)
    there = pull_back(counts, velocity, padding="border")
    assert similarity(clean, counts) == pytest.approx(similarity(clean, mask=there), rel=1e-12)
    assert similarity(spoiled, mask=counts) > 2 * similarity(clean, mask=counts)
    left = torch.ones_like(counts)
    left[..., 8:] = 0
    both = similarity(clean, counts, left)
    assert both == pytest.approx(similarity(clean, mask=there * left), rel=1e-12)
    assert both != pytest.approx(similarity(clean, counts), rel=1e-3)


# --------------------------------------------------------------------------------------- landmarks


@pytest.mark.parametrize("level", [1.0, 2.0])
@pytest.mark.parametrize("size", [(12, 16), (8, 12, 10)])
def test_landmarks_cost_their_mean_squared_distance_in_mm(size, level):
    method = neural_ode(SSD)
    spacing = (1.0, 1.0, 1.0)[: len(size)]
    images, fields = lattices(method, level, size, spacing)
    chance = np.random.default_rng(3)
    here, there = (chance.uniform(0, 7, (len(size), 5)) for _ in range(2))
    to_mm = chance.normal(size=(3, len(size)))
    image = texture(1, size)
    tensors = GuidedTensors(
        (ContrastTensors(PairTensors(image, image, None, None)),),
        landmarks=LandmarkPlaces(here, there, to_mm, 0.7),
    )
    by = np.array([0.75, -1.5, 0.5][: len(size)])
    ratio = np.array(fields.size) / size
    velocity = shift(fields, tuple(by * ratio))
    found = guided_energy(tensors, images, fields, method)(velocity)["landmarks"].item()
    missed = to_mm @ (here + by[:, None] - there)
    assert found == pytest.approx(0.7 * (missed**2).sum(0).mean(), rel=1e-9)


# ------------------------------------------------------------------------------------------- labels


def test_labels_cost_one_minus_their_mean_dice():
    """The flow carries the moving labels by whole voxels, so that every Dice is exact."""
    method = neural_ode(SSD, {"velocity.spacing": 1.0})
    images, fields = lattices(method)
    fixed, moving = np.zeros(SIZE, int), np.zeros(SIZE, int)
    fixed[3:6, 4:8], fixed[7:9, 4:8] = 1, 2
    moving[4:7, 4:8], moving[9:11, 4:8] = 1, 2
    image = texture(1)
    tensors = GuidedTensors(
        (ContrastTensors(PairTensors(image, image, None, None)),),
        LabelNumbers(fixed, moving, 2, 0.5),
    )
    energy = guided_energy(tensors, images, fields, method)
    for rows, dice in ((0.0, (2 / 3, 0)), (1.0, (1, 0.5)), (2.0, (2 / 3, 1))):
        found = energy(shift(fields, (rows, 0.0)))["labels"].item()
        assert found == pytest.approx(0.5 * (1 - np.mean(dice)), abs=1e-6)


@pytest.mark.parametrize("size", [(5, 6), (4, 3), (3, 8)])
def test_partial_volumes_keep_every_label_and_its_place(size):
    labels = np.random.default_rng(1).integers(0, 4, (10, 12))
    shares = partial_volumes(labels, 3, size)
    background = partial_volumes((labels == 0).astype(int), 1, size)
    np.testing.assert_allclose(shares.sum(axis=0) + background[0], 1, atol=1e-6)
    alone = np.zeros((10, 12), int)
    alone[6, 9] = 3
    (place,) = np.argwhere(partial_volumes(alone, 3, size)[2])
    np.testing.assert_array_equal(place, [6 * size[0] // 10, 9 * size[1] // 12])
