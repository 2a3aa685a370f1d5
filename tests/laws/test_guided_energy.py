"""The energy with guidance: exact values on tiny grids, in two and three dimensions."""

import numpy as np
import pytest
import torch
from ours import levels, neural_ode
from scipy.spatial.transform import Rotation

from diffeode.flows.smoothing import gaussian
from diffeode.geometry.image import Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.geometry.warp import pull_back
from diffeode.losses.label_overlap import LabelBorders, border_of
from diffeode.methods.neural_ode import guided
from diffeode.methods.neural_ode.energy import PairTensors, energy_on
from diffeode.methods.neural_ode.guided import (
    ContrastTensors,
    GuidedTensors,
    GuidingLabels,
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
@pytest.mark.parametrize("voxel_mm", [1.0, 0.15])
def test_each_landmark_costs_its_squared_distance_in_a_block_of_voxels(size, level, voxel_mm):
    """The distance is that in the moving scan, in voxels of the velocity."""
    method = neural_ode(SSD)
    spacing = (voxel_mm,) * len(size)
    images, fields = lattices(method, level, size, spacing)
    chance = np.random.default_rng(3)
    here, there = (chance.uniform(0, 7, (len(size), 5)) for _ in range(2))
    to_mm = voxel_mm * chance.normal(size=(3, len(size)))
    image = texture(1, size)
    tensors = GuidedTensors(
        (ContrastTensors(PairTensors(image, image, None, None)),),
        landmarks=LandmarkPlaces(here, there, to_mm, 0.7),
    )
    by = np.array([0.75, -1.5, 0.5][: len(size)])
    ratio = np.array(fields.size) / size
    velocity = shift(fields, tuple(by * ratio))
    found = guided_energy(tensors, images, fields, method)(velocity)["landmarks"].item()
    missed = to_mm @ (here + by[:, None] - there) / np.prod(fields.spacing) ** (1 / len(size))
    block = 3 ** len(size) / np.prod(fields.size)
    assert found == pytest.approx(0.7 * block * (missed**2).sum(), rel=1e-6)


# ------------------------------------------------------------------------------------------- labels


def guided_by(fixed, moving, box, to_moving=None, reach=6.0, weight=0.5):
    """Guidance by labels whose ids are the same in both maps; the images show no difference."""
    ids = np.intersect1d(fixed.data[fixed.data > 0], moving.data[moving.data > 0])
    size = box.shape if box.shape[2] > 1 else box.shape[:2]
    borders = LabelBorders.between(
        (fixed, moving), ids, to_moving or Affine(), box, len(size), reach
    )
    image = texture(1, size)
    contrast = ContrastTensors(PairTensors(image, image, None, None))
    return GuidedTensors((contrast,), GuidingLabels(borders, weight))


BOX = Grid((*SIZE, 1), np.diag([1.0, 1.5, 1.0, 1.0]))


def flat(rows, box=BOX):
    """Labels 1 and 2 in the given rows of a slice, and its whole width."""
    ids = np.zeros(box.shape, int)
    for label, (first, last) in enumerate(rows, start=1):
        ids[first:last] = label
    return Labels(ids, box)


def test_labels_cost_their_squared_difference_of_distances_in_the_band():
    """The borders are straight, so that every distance is known; the flow moves whole voxels."""
    method = neural_ode(SSD, {"velocity.spacing": 1.0})
    images, fields = lattices(method)
    tensors = guided_by(flat([(2, 4), (8, 9)]), flat([(4, 6), (8, 9)]), BOX)
    energy = guided_energy(tensors, images, fields, method)
    inside = {1: lambda row: abs(row - 2.5) - 1, 2: lambda row: abs(row - 8) - 0.5}
    shifts = {1: 2, 2: 0}
    for moved in (0, 1, 2):
        expected = 0.0
        for label, distance in inside.items():
            row = np.arange(SIZE[0])
            here = np.clip(distance(row), -1, 1)
            there = np.clip(distance(row + moved - shifts[label]), -1, 1)
            expected += ((here - there) ** 2).mean()
        found = energy(shift(fields, (float(moved), 0.0)))["labels"].item()
        assert found == pytest.approx(0.5 * expected, abs=1e-6)


def test_the_band_of_coarse_levels_is_wider():
    """Structures whose borders lie 5 voxels apart pull each other on the coarse level alone: its
    bands are 4 voxels of the finest grid wide on either side.
    """
    fixed, moving = flat([(2, 3)]), flat([(8, 9)])
    slopes = []
    for level in (2.0, 1.0):
        method = neural_ode(SSD)
        images, fields = lattices(method, level)
        velocity = shift(fields, (0.0, 0.0)).requires_grad_()
        guided_energy(guided_by(fixed, moving, BOX), images, fields, method)(velocity)[
            "labels"
        ].backward()
        slopes.append(-velocity.grad[0, 0].sum().item())
    assert slopes[0] > 0.01
    assert abs(slopes[1]) < 1e-6


@pytest.mark.parametrize("size", [(10, 12, 1), (8, 10, 6)], ids=["slice", "volume"])
def test_the_slope_of_the_term_of_labels_is_that_of_finite_differences(size):
    """Noise of labels, many of one voxel, under a map that bends."""
    chance = np.random.default_rng(5)
    box = Grid(size, np.diag([-1.0, 1.2, 1.1, 1.0]))
    maps = (Labels(chance.integers(0, 5, size), box) for _ in range(2))
    method = neural_ode(SSD, {"velocity.spacing": 1.0})
    spacing = tuple(box.spacing[: 3 if size[2] > 1 else 2])
    images, fields = lattices(method, 1.0, size[: len(spacing)], spacing)
    energy = guided_energy(guided_by(*maps, box), images, fields, method)
    velocity = bumps(fields).requires_grad_()
    energy(velocity)["labels"].backward()
    way, step = bumps(fields).flip(2), 1e-6
    with torch.no_grad():
        ends = [energy(velocity + sign * step * way)["labels"].item() for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / (2 * step)
    assert slope == pytest.approx((velocity.grad * way).sum().item(), rel=1e-4)
    assert abs(slope) > 1e-3


def test_label_maps_keep_their_own_grids():
    """A moving map that lies elsewhere, on finer voxels, costs next to nothing where the alignment
    undoes that.
    """
    turn = np.array([[0.0, -2, 0, 5], [2, 0, 0, -3], [0, 0, 2, 1], [0, 0, 0, 1]])
    box = Grid((14, 12, 10), np.diag([-1.0, 1.0, 1.0, 1.0]))
    centre = box.centre_mm

    def ball(points):
        return (np.linalg.norm(points - centre, axis=-1) < 3.3).astype(int)

    other = Grid((60, 60, 52), turn @ box.affine @ np.diag([0.5, 0.5, 0.5, 1]))
    moved = np.eye(4)
    moved[:3, 3] = Affine(turn)(centre) - other.centre_mm
    other = Grid(other.shape, moved @ other.affine)
    maps = (
        Labels(ball(box.points_mm()), box),
        Labels(ball(Affine(turn).inverse()(other.points_mm())), other),
    )
    method = neural_ode(SSD)
    images, fields = lattices(method, 1.0, box.shape, (1.0, 1.0, 1.0))
    rest = shift(fields, (0.0, 0.0, 0.0))
    tensors = guided_by(*maps, box, Affine(turn))
    found = guided_energy(tensors, images, fields, method)(rest)["labels"].item()
    apart = guided_energy(guided_by(*maps, box, Affine(moved @ turn)), images, fields, method)
    assert found < 0.006
    assert apart(rest)["labels"].item() > 0.06


@pytest.mark.parametrize("size", [(17, 14, 11), (9, 7, 6)], ids=["finest", "coarse"])
def test_labels_are_compared_in_boxes_as_on_the_whole_grid(size, monkeypatch):
    """Both grids are oblique, of other handedness, and the moving structures lie 8 mm away."""
    turn = Rotation.from_euler("xyz", (12, -20, 31), degrees=True).as_matrix()

    def balls(shape, spacing_mm, shift_mm):
        affine = np.eye(4)
        affine[:3, :3] = turn @ np.diag(spacing_mm)
        affine[:3, 3] = -affine[:3, :3] @ (np.array(shape) - 1) / 2
        grid, ids = Grid(shape, affine), np.zeros(shape, int)
        for label, across in enumerate((-7.0, 7.0), start=1):
            centre = turn @ (across, shift_mm, 0)
            ids[np.linalg.norm(grid.points_mm() - centre, axis=-1) < 2.5] = label
        return Labels(ids, grid)

    fixed = balls((17, 14, 11), (1.5, 2.0, 1.8), -4.0)
    moving = balls((40, 38, 30), (-0.9, 0.8, 0.7), 4.0)
    borders = LabelBorders.between((fixed, moving), (1, 2), Affine(), fixed.grid, 3, 4.0)
    count = 3 * int(np.prod(size))
    bent = 0.5 * torch.sin(torch.arange(count, dtype=torch.float64) / 40).reshape(1, 3, *size)
    inside = borders.misfit_on(size, 3.0, bent)(bent).item()
    whole = tuple(slice(0, n) for n in size)
    assert whole not in borders.windows(size)
    monkeypatch.setattr(LabelBorders, "windows", lambda self, size: (whole, whole))
    everywhere = borders.misfit_on(size, 3.0, bent)(bent).item()
    assert inside == pytest.approx(everywhere, rel=1e-12)
    assert inside > 0.01


@pytest.mark.parametrize("thickness", [0.02, 30.0])
def test_the_thickness_of_a_slice_has_no_say_in_distances(thickness):
    thin = Grid(BOX.shape, BOX.affine @ np.diag([1, 1, thickness, 1]))
    rows = [(3, 7)]
    here, there = (border_of(flat(rows, box), 1, 4.0) for box in (BOX, thin))
    np.testing.assert_array_equal(there.distance_mm, here.distance_mm)


def test_a_structure_that_fills_its_map_has_no_border():
    whole = Labels(np.ones((4, 5, 6), int), Grid((4, 5, 6), np.eye(4)))
    assert border_of(whole, 1, 3.0).distance_mm.max() < -1000


def test_many_labels_are_compared_on_the_coarser_grid_of_the_velocity(monkeypatch):
    labels = flat([(2, 4), (8, 9)]), flat([(4, 6), (8, 9)])
    method = neural_ode(SSD)
    images, fields = lattices(method)
    rest = shift(fields, (0.0, 0.0))

    def costs():
        tensors = guided_by(*labels, BOX)
        return guided_energy(tensors, images, fields, method)(rest)["labels"].item()

    fine = costs()
    monkeypatch.setattr(guided, "MOST_VOXELS", 10)
    borders = guided_by(*labels, BOX).labels.borders
    coarse = borders.misfit_on(fields.size, min(fields.spacing), rest)(rest).item()
    assert costs() == pytest.approx(0.5 * coarse)
    assert costs() != pytest.approx(fine, rel=1e-3)


@pytest.mark.parametrize("levels_of", [(2.0, 1.0), (1.0,), (4.0, 2.0)])
def test_distances_reach_as_far_as_every_level_needs(levels_of):
    method = neural_ode(SSD, levels(levels_of, (1,) * len(levels_of)))
    whole = Lattice(SIZE, SPACING)
    reach = guided.reach_of(method, whole)
    for level in levels_of:
        images, fields = lattices(method, level)
        for lattice in (images, fields) if level == 1 else (images,):
            times = 1 if level == 1 else guided.COARSE_BAND
            assert reach >= times * min(lattice.spacing)
