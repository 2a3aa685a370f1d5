"""Brains whose background is not exactly 0: they are accepted where rounding did it; otherwise the
message says so, and names no wrong reason.

The brain is a ball with detail in a larger field of view, which does not cut it off.
"""

import numpy as np
import pytest
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.prepare.scan import prepare_image

GRID = Grid((48, 48, 48), np.diag([4.0, 4, 4, 1]))
INSIDE = np.linalg.norm(GRID.points_mm() - GRID.centre_mm, axis=-1) < 60
CHANCE = np.random.default_rng(0)
BRAIN = np.where(INSIDE, CHANCE.uniform(200, 900, GRID.shape), 0)


def prepared(data: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image, mask = prepare_image(Image(data, GRID), "scan.nii.gz")
    return image.data, mask


def resampled(factor: float, order: int) -> np.ndarray:
    coarse = ndimage.zoom(BRAIN, factor, order=order)
    return ndimage.zoom(coarse, np.array(GRID.shape) / coarse.shape, order=order)


@pytest.mark.parametrize("noise", [1e-6, 1e-3, 1e-2])
@pytest.mark.parametrize("sign", ["both", "positive"])
def test_rounding_in_the_background_changes_nothing(noise, sign):
    grain = CHANCE.normal(0, noise, GRID.shape)
    image, mask = prepared(
        BRAIN + np.where(INSIDE, 0, np.abs(grain) if sign == "positive" else grain)
    )
    clean, clean_mask = prepared(BRAIN)
    assert np.array_equal(mask, clean_mask)
    assert np.array_equal(image, clean)


@pytest.mark.parametrize("factor", [0.7, 1.3, 2.0])
@pytest.mark.parametrize("order", [3, 5])
def test_ripples_of_splines_are_called_so(factor, order):
    with pytest.raises(InputError, match=r"background.* is not exactly 0") as error:
        prepared(resampled(factor, order))
    assert "scan.nii.gz" in str(error.value)
    assert "whole head" not in str(error.value)
    assert "z-scored" not in str(error.value)


def test_linear_resampling_is_taken():
    prepared(resampled(1.3, 1))


@pytest.mark.parametrize("noise", [1.0, 2.0])
def test_what_a_denoiser_leaves_is_not_taken_for_a_head(noise):
    with pytest.raises(
        InputError, match=r"background of scan.nii.gz is not exactly 0: 100% of all voxels"
    ):
        prepared(np.abs(BRAIN + CHANCE.normal(0, noise, GRID.shape)))


def test_z_scores_keep_their_own_sentence():
    scores = np.where(INSIDE, (BRAIN - BRAIN[INSIDE].mean()) / BRAIN[INSIDE].std(), 0)
    with pytest.raises(InputError, match=r"z-scored"):
        prepared(scores)
