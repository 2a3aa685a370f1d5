"""One virtual person who ages: the same anatomy at every visit, and a known way between them."""

from dataclasses import replace

import numpy as np
import pytest

from diffeode.datasets.virtual_ageing import RATINGS, ageing_person, true_map
from diffeode.datasets.virtual_contrast import acquire
from diffeode.datasets.virtual_deformation import ATROPHY, person_map
from diffeode.errors import InputError
from diffeode.geometry.image import sample

SEED = 7
PERSON = 2
"""At rating 3 this one's map has to be scaled down."""
VENTRICLES = (4, 43)


@pytest.fixture(scope="module")
def visits():
    return ageing_person(PERSON, SEED)


def landmarks_mm(visit):
    return visit.landmarks()[["x", "y", "z"]].to_numpy()


def test_every_rating_is_visited_once_in_the_order_of_time(visits):
    assert [visit.time for visit in visits] == sorted(RATINGS) == [0, 0.25, 0.5, 0.75, 1]
    assert [visit.cdr for visit in visits] == sorted(ATROPHY)


def test_visits_differ_by_atrophy_alone(visits):
    """Scaled down each by itself, they would be of different persons: by 0.4 mm here."""
    first, last = visits[0].to_template, visits[-1].to_template
    alone = [person_map(PERSON, cdr, SEED).deformation.displacement_mm for cdr in (0.0, 3.0)]
    assert np.array_equal(last.deformation.displacement_mm, alone[1])
    assert np.abs(first.deformation.displacement_mm - alone[0]).max() > 0.3
    assert np.array_equal(first.affine.matrix, last.affine.matrix)
    far = np.array([[0, 0, 120.0]])
    assert np.abs(first(far) - last(far)).max() < 0.5


def test_the_true_map_leads_from_landmark_to_landmark_and_through_the_times(visits):
    first, second, *_, last = visits
    points = landmarks_mm(first)
    there = true_map(first, last, points)
    assert np.abs(there - landmarks_mm(last)).max() < 5e-3
    assert np.linalg.norm(there - points, axis=1).max() > 2
    through = true_map(second, last, true_map(first, second, points))
    assert np.abs(there - through).max() < 5e-3
    assert list(first.landmarks()["name"]) == list(last.landmarks()["name"])


def test_ventricles_grow_and_lie_on_each_other_under_the_true_map(visits):
    grid = visits[0].grid(3.0)
    found = [np.isin(visit.labels(grid).data, VENTRICLES) for visit in visits]
    volumes = [int(where.sum()) for where in found]
    assert volumes == sorted(set(volumes))
    assert volumes[-1] > 1.5 * volumes[0]
    voxels = grid.to_voxel(true_map(visits[0], visits[-1], grid.points_mm()))
    moved = sample(found[-1].astype(np.uint8), voxels, order=0) > 0
    assert overlap(found[0], moved) > overlap(found[0], found[-1]) + 0.05


def overlap(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def test_every_visit_is_scanned_anew(visits):
    """Noise, bias and scale of one visit tell nothing of those of another."""
    whole = visits[0].grid(6.0)
    grid = whole.crop(np.array(whole.shape) // 2 - 4, np.array(whole.shape) // 2 + 4)
    same = visits[0].to_template
    first = visits[0].scans(grid)["T1w"].data
    second = replace(visits[1], to_template=same).scans(grid)["T1w"].data
    assert np.array_equal(first, acquire(same, grid, PERSON, SEED)["T1w"].data)
    brain = (first > 0) & (second > 0)
    ratio = second[brain] / first[brain]
    assert abs(np.median(ratio) - 1) > 0.01
    assert ratio.std() / ratio.mean() > 0.04


@pytest.mark.parametrize(("person", "seed"), [(0, 7), (-1, 7), (1, -1)])
def test_persons_that_cannot_be_made_are_refused(person, seed):
    with pytest.raises(InputError, match="A virtual person needs"):
        ageing_person(person, seed)
