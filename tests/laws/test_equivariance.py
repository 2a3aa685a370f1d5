"""A registration must not depend on some things, and must find others exactly.

Tolerances are in voxels. What must not matter is tested in double precision, where only rounding is
left. In single precision local correlation differs by up to 0.05 voxels, because it divides by
small variances where the image is flat.
"""

from functools import cache

import numpy as np
import pytest
import torch
from ours import levels, neural_ode
from problems import least_determinant
from scipy import ndimage

from diffeode.geometry.image import Image, foreground
from diffeode.geometry.space import Grid
from diffeode.methods.neural_ode import NeuralODE
from diffeode.registration.base import Machine, Pair
from diffeode.registration.runs import load_run

QUICK = levels((2.0, 1.0), (20, 10))
SIZE = (28, 31, 25)
SPACING = (1.0, 0.8, 1.3)
SAME_CONTRAST = {
    "mind": {},
    "ncc": {"similarity": {"local_correlation": {"squared": False}}},
    "ssd": {"similarity": {"squared_difference": {"weight": 20.0}}},
}
"""Parameters for pairs of one contrast."""
SIMILARITIES = SAME_CONTRAST | {
    "lmi": {"similarity": {"local_mutual_information": {}}},
    "nmi": {"similarity": {"mutual_information": {"normalised": True}}},
    "ngf": {"similarity": {"gradient_fields": {}}},
}
"""The same, and similarities that are not best where two images are equal."""
ROUNDING = 1e-7
EVERY_SIMILARITY = pytest.mark.parametrize("similarity", SAME_CONTRAST)


def texture(size=SIZE, seed=0) -> np.ndarray:
    """A ball of smooth noise in (0, 1], background 0."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(size), 2.2)
    noise = (noise - noise.min()) / np.ptp(noise)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij")
    return np.where(sum(a**2 for a in axes) < 0.8**2, 0.05 + 0.95 * noise, 0).astype(np.float32)


def shifted(data: np.ndarray, by: tuple[int, ...]) -> np.ndarray:
    return np.roll(data, by, axis=tuple(range(data.ndim)))


def bent(data: np.ndarray, seed=5) -> np.ndarray:
    """Return ``data`` moved by a smooth random displacement of up to 1.5 voxels."""
    noise = np.random.default_rng(seed).standard_normal((data.ndim, *data.shape))
    noise = np.stack([ndimage.gaussian_filter(component, 4) for component in noise])
    places = np.indices(data.shape) + 1.5 * noise / np.abs(noise).max()
    return ndimage.map_coordinates(data, places, order=1).astype(np.float32)


def motion(similarity: str, fixed, moving, spacing=SPACING) -> np.ndarray:
    """Displacement ``(d, *size)`` in double precision, on the grid of the two arrays."""
    tensors = (
        torch.from_numpy(np.array(image, dtype=np.float64))[None, None] for image in (fixed, moving)
    )
    return (
        neural_ode(SIMILARITIES[similarity], QUICK)
        .velocity_between(*tensors, spacing)
        .forward[0]
        .numpy()
    )


@cache
def straight(similarity: str) -> np.ndarray:
    """Return the motion of a texture that was bent, which the tests share and must not change."""
    found = motion(similarity, texture(), bent(texture()))
    found.setflags(write=False)
    assert np.abs(found).max() > 0.9
    return found


def displacement_vox(method: NeuralODE, fixed, moving, affine=None) -> np.ndarray:
    """Displacement on the grid of the two arrays, voxels, ``(X, Y, Z, 3)``."""
    grid = Grid(fixed.shape, np.diag([-1.0, 1, 1, 1]) if affine is None else affine)
    images = [Image(np.ascontiguousarray(data), grid) for data in (fixed, moving)]
    found = method.register(Pair(*images, *(foreground(image) for image in images)), Machine())
    return grid.to_voxel(found.forward(grid.points_mm())) - grid.voxels()


# ----------------------------------------------------------------------------- what does not matter


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("axes", [(2, 1, 0), (1, 2, 0)])
def test_swapping_axes_commutes_with_registration(similarity, axes):
    fixed, moving = texture(), bent(texture())
    turned = motion(
        similarity, fixed.transpose(axes), moving.transpose(axes), [SPACING[axis] for axis in axes]
    )
    expected = straight(similarity).transpose(0, *(axis + 1 for axis in axes))[list(axes)]
    assert np.abs(expected - turned).max() < ROUNDING


@pytest.mark.parametrize("similarity", SIMILARITIES)
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_flipping_an_axis_commutes_with_registration(similarity, axis):
    fixed, moving = texture(), bent(texture())
    mirrored = motion(similarity, np.flip(fixed, axis), np.flip(moving, axis))
    mirrored[axis] *= -1
    assert np.abs(np.flip(straight(similarity), axis + 1) - mirrored).max() < ROUNDING


def test_the_default_commutes_with_a_flip_in_single_precision():
    """Rounding errors in flat regions must not become motion."""
    fixed = texture((34, 37, 31))
    moving = bent(fixed)
    straight, mirrored = (
        displacement_vox(load_run("node").build(), np.flip(fixed, axis), np.flip(moving, axis))
        for axis in ((), 0)
    )
    mirrored[..., 0] *= -1
    away = np.abs(np.flip(straight, 0) - mirrored)
    assert np.abs(straight).max() > 0.9
    assert away.max() < 0.1
    assert away.mean() < 0.002


@EVERY_SIMILARITY
def test_the_unit_of_length_does_not_matter(similarity):
    small = motion(similarity, texture(), bent(texture()), [0.3 * side for side in SPACING])
    assert np.abs(small - straight(similarity)).max() < ROUNDING


def test_flipping_an_axis_of_scans_commutes_with_registration():
    """Flipping the arrays flips the map, also in single precision and with the box around the
    brains; the grid's affine stays.
    """
    fixed, moving = texture((34, 36, 32)), bent(texture((34, 36, 32)))
    straight = displacement_vox(neural_ode(QUICK), fixed, moving)
    mirrored = displacement_vox(neural_ode(QUICK), fixed[::-1], moving[::-1])
    assert np.abs(straight[::-1] * [-1, 1, 1] - mirrored).max() < 0.01


@pytest.mark.parametrize("field", ["grid", "network"])
def test_same_seed_same_result_to_the_last_bit(field):
    results = []
    for _ in range(2):
        torch.manual_seed(5)
        results.append(
            displacement_vox(
                neural_ode({"velocity.field": field}, QUICK), texture(), bent(texture())
            )
        )
    assert np.array_equal(*results)


# ------------------------------------------------------------------------------- what must be found


@EVERY_SIMILARITY
def test_identical_images_give_the_identity(similarity):
    """Equal images are not moved at all, except by local correlation, whose floor of the variance
    leaves a small gradient.
    """
    found = np.abs(motion(similarity, texture(), texture())).max()
    assert found < 1e-3 if similarity == "ncc" else found == 0


@EVERY_SIMILARITY
@pytest.mark.parametrize("shift", [(1, 0, 0), (0, -1, 0), (0, 0, 1)])
def test_a_shift_by_one_voxel_is_found(similarity, shift):
    """With enough iterations a shift is found four voxels inside the ball, within 0.02 voxels on
    average and 0.05 nearly everywhere.
    """
    data = texture()
    method = neural_ode(
        SAME_CONTRAST[similarity], {"descent.damping": 1e-4, "levels.iterations": [100, 100]}
    )
    errors = np.abs(displacement_vox(method, data, shifted(data, shift)) - shift)
    errors = errors[ndimage.binary_erosion(data > 0, iterations=4)]
    assert errors.mean() < 0.02
    assert np.quantile(errors, 0.95) < 0.05


def test_anisotropic_scans_are_matched_in_millimetres():
    """A shift of 3 mm is found on voxels of 1 x 1 x 3 mm, across the slices as well as
    within them.
    """
    fine = texture((36, 36, 72), seed=3)
    thick = ndimage.zoom(ndimage.gaussian_filter(fine, (0, 0, 1.2)), (1, 1, 1 / 3), order=1)
    moving = shifted(thick, (3, 0, 1))
    found = displacement_vox(
        neural_ode({"penalties.gradient.weight": 0.02}), thick, moving, np.diag([1.0, 1, 3, 1])
    )
    assert np.abs(np.median(found[thick > 0.05], axis=0) - [3, 0, 1]).max() < 0.25


# ----------------------------------------------------------------------------------------- any size


@EVERY_SIMILARITY
@pytest.mark.parametrize(
    ("size", "spacing"),
    [
        ((5, 6, 7), (1, 1, 1)),
        ((17, 23, 19), (1, 1, 1)),
        ((41, 23, 17), (1, 1, 1)),
        ((32, 40, 9), (1, 1, 5)),
        ((3, 40, 40), (4, 1, 1)),
        ((16, 21), (1, 1)),
        ((5, 7), (1, 3)),
    ],
)
def test_any_size_and_spacing(similarity, size, spacing):
    """On grids that are tiny, odd, anisotropic, of three slices or of two axes the map is finite
    and does not fold, and its inverse inverts it.
    """
    data = texture(size)
    fixed, moving = (
        torch.from_numpy(image)[None, None]
        for image in (data, shifted(data, (0, 1, 0)[: len(size)]))
    )
    found = neural_ode(SAME_CONTRAST[similarity], QUICK).velocity_between(fixed, moving, spacing)
    assert found.forward.shape == (1, len(size), *size)
    assert least_determinant(found.forward[0].numpy()) > 0
    assert least_determinant(found.inverse[0].numpy()) > 0
    forward, back = (field[0].numpy() for field in (found.forward, found.inverse))
    places = np.indices(size) + forward
    returned = [ndimage.map_coordinates(b, places, order=1, mode="nearest") for b in back] + forward
    assert np.abs(returned).max() < 0.25
