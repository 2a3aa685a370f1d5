"""A diffeomorphism neither tears nor glues: shapes in the plane as in NODEO (Wu et al., CVPR 2022)
keep their topology.
"""

import numpy as np
import pytest
import torch
from ours import levels, neural_ode
from problems import least_determinant
from scipy import ndimage

from diffeode.datasets import shapes
from diffeode.geometry.warp import pull_back, resize, resize_displacement
from diffeode.registration.knobs import changed

SIDE = 64
FINER = 4
"""Factor by which the grid is finer on which shapes are judged, so that small holes are still seen.
"""
METHOD = neural_ode(
    {
        "similarity": {"squared_difference": {"weight": 5.0}},
        "penalties.gradient.weight": 0.02,
        "flow.steps": 7,
    },
    levels((4.0, 2.0, 1.0), (100, 100, 60)),
)


def components_and_holes(shape):
    """Return the number of components of ``shape > 1/2``, connected by edges, and the number of its
    holes.
    """
    inside = shape > 0.5
    return ndimage.label(inside)[1], ndimage.label(~inside, np.ones((3, 3)))[1] - 1


def overlap(a, b):
    a, b = a > 0.5, b > 0.5
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def registered(fixed, moving, method=METHOD):
    """Return ``moving`` pulled back to the finer grid, and the displacements there and back."""
    tensors = [torch.from_numpy(shape)[None, None] for shape in (fixed, moving)]
    found = method.velocity_between(*tensors, (1.0, 1.0))
    size = (FINER * SIDE,) * 2
    warped = pull_back(resize(tensors[1], size), resize_displacement(found.forward, size))
    return warped[0, 0].numpy(), found


SHAPES = {
    "circle to square": (shapes.square, shapes.circle, (1, 0)),
    "square to star": (shapes.star, shapes.square, (1, 0)),
    "star to cross": (shapes.cross, shapes.star, (1, 0)),
    "cross to circle": (shapes.circle, shapes.cross, (1, 0)),
    "donut to circle": (shapes.circle, shapes.donut, (1, 1)),
    "circle to donut": (shapes.donut, shapes.circle, (1, 0)),
    "two squares to one": (shapes.square, shapes.two_squares, (2, 0)),
    "square to two": (shapes.two_squares, shapes.square, (1, 0)),
}
"""Fixed shape, moving shape, components and holes of the moving one."""


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_keep_their_topology(name):
    fixed, moving, topology = (part(SIDE) if callable(part) else part for part in SHAPES[name])
    warped, found = registered(fixed, moving)
    target = resize(torch.from_numpy(fixed)[None, None], warped.shape)[0, 0].numpy()
    assert components_and_holes(moving) == components_and_holes(warped) == topology
    assert least_determinant(found.forward[0].numpy()) > 0
    assert least_determinant(found.inverse[0].numpy()) > 0
    assert overlap(warped, target) > (0.99 if components_and_holes(fixed) == topology else 0.92)


def test_the_learned_descriptor_serves_in_the_plane():
    fixed, moving = shapes.square(SIDE), shapes.circle(SIDE)
    learned = changed(
        METHOD, {"similarity": {"descriptor": {"weight": 20.0}}, "levels.iterations": [12, 12, 6]}
    )
    warped, found = registered(fixed, moving, learned)
    target = resize(torch.from_numpy(fixed)[None, None], warped.shape)[0, 0].numpy()
    assert components_and_holes(warped) == (1, 0)
    assert least_determinant(found.forward[0].numpy()) > 0
    assert overlap(warped, target) > 0.99
