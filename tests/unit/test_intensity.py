"""White stripe brings white matter to one level, whatever the scanner's scale, and intensities to
[0, 1] as the other normalisation does.
"""

import numpy as np
import pytest
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.prepare.brain import without_negatives
from diffeode.prepare.intensity import robust, without_outliers
from diffeode.prepare.scan import prepare_image
from diffeode.prepare.step_tool import Resources
from diffeode.prepare.steps.n4 import n4
from diffeode.prepare.steps.white_stripe import white_stripe

GRID = Grid((40, 40, 40), np.eye(4))
LEVELS = {"T1w": (30, 70, 110), "T2w": (200, 90, 60)}
WHITE = {"T1w": 0.8, "T2w": 0.25}


def tissues() -> np.ndarray:
    """1 fluid, 2 grey, 3 white matter in a ball; 0 outside."""
    radius = np.linalg.norm(GRID.voxels() - 19.5, axis=-1)
    return np.select([radius < 4, radius < 14, radius < 18, radius < 19], [1, 3, 2, 1], 0)


def scan(modality: str, seed: int = 0, spread: float = 4.0) -> Image:
    """Return tissues with noise; another seed stands for another person."""
    rng = np.random.default_rng(seed)
    means = np.array([0, *LEVELS[modality]])[tissues()]
    return Image(np.where(tissues() > 0, means + rng.normal(0, spread, GRID.shape), 0), GRID)


MASK = tissues() > 0


@pytest.mark.parametrize("modality", LEVELS)
def test_white_matter_lies_at_its_level_and_tissues_keep_their_order(modality):
    image = white_stripe(scan(modality), MASK, modality, "it").data
    means = [image[tissues() == tissue].mean() for tissue in (1, 2, 3)]
    assert means[2] == pytest.approx(WHITE[modality], abs=0.02)
    assert np.argsort(means).tolist() == np.argsort(LEVELS[modality]).tolist()


@pytest.mark.parametrize("modality", LEVELS)
def test_range_and_background_are_those_of_the_robust_normalisation(modality):
    image = white_stripe(scan(modality), MASK, modality, "it").data
    assert (image[~MASK] == 0).all()
    assert image[MASK].min() >= 1e-3
    assert image.max() <= 1


@pytest.mark.parametrize("modality", LEVELS)
def test_the_scanner_s_scale_does_not_matter(modality):
    image = scan(modality)
    other = Image(np.where(MASK, 3.7 * image.data + 250, 0), GRID)
    expected = white_stripe(image, MASK, modality, "it").data
    np.testing.assert_allclose(white_stripe(other, MASK, modality, "it").data, expected, atol=2e-3)


def test_a_bright_vessel_does_not_move_white_matter():
    image = scan("T1w")
    bright = Image(np.where((tissues() == 1) & (np.arange(40) < 3), 400, image.data), GRID)
    bright.data[19, 19, 15:24] = 900
    found = white_stripe(bright, MASK, "T1w", "it").data
    assert found[tissues() == 3].mean() == pytest.approx(0.8, abs=0.02)


def test_two_persons_white_matter_coincides(real_data_root):
    """White matter of OASIS-TRT-20 is the part of the brain without labels, which the white stripe
    does not use.
    """
    medians = []
    for person in ("sub-01", "sub-02"):
        stem = real_data_root / "oasistrt" / person / "anat" / person
        image, labels = io.read_image(f"{stem}_T1w.nii.gz"), io.read_labels(f"{stem}_dseg.nii.gz")
        mask = image.data > 0
        deep = ndimage.binary_erosion(mask & (labels.data == 0), iterations=3)
        medians.append(float(np.median(white_stripe(image, mask, "T1w", person).data[deep])))
    assert medians == pytest.approx([0.8, 0.8], abs=0.02)


def every_fourth_voxel(image: Image | Labels) -> Image:
    """Return every fourth voxel, and not averages, so that tissues do not mix."""
    data = image.data[::4, ::4, ::4]
    return Image(data, Grid(data.shape, image.grid.affine @ np.diag([4, 4, 4, 1])))


@pytest.mark.slow
def test_white_matter_coincides_once_the_bias_is_gone(real_data_root):
    """The voxels are those of DLMUSE's white matter of the lobes. With the bias field, no white
    matter is found.
    """
    medians = []
    for person in ("sub-IXI013", "sub-IXI034"):
        stem = real_data_root / "ixi2mm" / person / "anat" / person
        image = every_fourth_voxel(io.read_image(f"{stem}_T1w.nii.gz"))
        labels = every_fourth_voxel(io.read_labels(f"{stem}_dseg.nii.gz")).data
        mask, white = labels > 0, np.isin(labels, range(81, 89))
        with pytest.raises(InputError, match=r"white matter of .* was not found"):
            white_stripe(image, mask, "T1w", person)
        medians.append(
            float(
                np.median(
                    white_stripe(n4(image, mask, "T1w", Resources()), mask, "T1w", person).data[
                        white
                    ]
                )
            )
        )
    assert medians == pytest.approx([0.8, 0.8], abs=0.04)
    assert abs(medians[0] - medians[1]) < 0.03


def test_adult_t2w(real_data_root):
    path = real_data_root / "openms/sub-07/anat/sub-07_T2w.nii.gz"
    image = without_negatives(io.read_image(path), path.name)
    scaled = white_stripe(image, image.data > 0, "T2w", "it").data
    assert np.median(scaled[scaled > 0]) == pytest.approx(0.27, abs=0.03)
    assert (scaled >= 1).sum() < 0.01 * (scaled > 0).sum()


def test_a_contrast_without_white_stripe():
    with pytest.raises(InputError, match="no level for modality 'FLAIR'"):
        white_stripe(scan("T1w"), MASK, "FLAIR", "it")


def test_a_constant_brain():
    with pytest.raises(InputError, match=r"brain of it is constant \(4 everywhere\)"):
        white_stripe(Image(MASK * 4.0, GRID), MASK, "T1w", "it")


def test_white_matter_that_is_not_found():
    """A fifth of the brain far brighter than its tallest mode, as a strong bias field leaves it."""
    image = scan("T1w").data
    bright = MASK & (np.arange(40) > 25)
    image[bright] *= np.random.default_rng(0).uniform(1.5, 9, int(bright.sum()))
    with pytest.raises(
        InputError, match=r"white matter of it was not found: \d+% of the brain .*bias: n4"
    ):
        white_stripe(Image(image, GRID), MASK, "T1w", "it")


# ----------------------------------------------------------------------------------------- outliers

OUTLIERS = [(1e6, 0.005), (1e6, 0.05), (2e4, 0.02), (1e30, 0.005)]


def spoiled(image: Image, value: float, share: float) -> Image:
    data = image.data.copy()
    brain = np.flatnonzero(MASK)
    data.flat[np.random.default_rng(1).choice(brain, int(share * len(brain)), replace=False)] = (
        value
    )
    return Image(data, image.grid)


def agree(one: Image, two: Image, at: np.ndarray) -> bool:
    """Whether two scaled images differ by no more than 0.02 in nearly all of the voxels ``at``."""
    return bool((np.abs(one.data - two.data)[at] < 0.02).mean() > 0.99)


@pytest.mark.parametrize("modality", LEVELS)
@pytest.mark.parametrize(("value", "share"), OUTLIERS)
def test_outliers_do_not_flatten_the_others(modality, value, share):
    image = scan(modality)
    bad = spoiled(image, value, share)
    others = MASK & (bad.data == image.data)
    assert agree(robust(bad, MASK, "it"), robust(image, MASK, "it"), others)
    assert agree(
        white_stripe(without_outliers(bad, MASK), MASK, modality, "it"),
        white_stripe(image, MASK, modality, "it"),
        others,
    )


def test_nor_do_dark_ones_under_a_bright_brain():
    image = Image(np.where(MASK, scan("T1w").data + 1e4, 0), GRID)
    bad = spoiled(image, 1.0, 0.01)
    assert agree(
        robust(bad, MASK, "it"), robust(image, MASK, "it"), MASK & (bad.data == image.data)
    )


def test_outliers_are_clipped_before_they_can_smear():
    image = scan("T1w")
    coarse, mask = prepare_image(image, "it", MASK, spacing_mm=2.0)
    bad, _ = prepare_image(spoiled(image, 1e6, 0.005), "it", MASK, spacing_mm=2.0)
    assert (np.abs(bad.data - coarse.data)[mask] < 0.15).mean() > 0.97


@pytest.mark.parametrize("modality", LEVELS)
def test_an_image_without_outliers_is_not_touched(modality):
    image = scan(modality)
    assert without_outliers(image, MASK) is image
    low, high = np.percentile(image.data[MASK], (0.1, 99.9))
    expected = np.where(MASK, np.clip((image.data - low) / (high - low), 1e-3, 1), 0).astype(
        np.float32
    )
    np.testing.assert_array_equal(robust(image, MASK, "it").data, expected)


def test_a_few_bright_vessels_are_no_outliers():
    image = scan("T1w")
    bright = spoiled(image, 250, 0.005)
    assert without_outliers(bright, MASK) is bright


def test_a_brain_of_two_values_has_no_outliers():
    image = Image(np.where(MASK, 1.0, 0) + spoiled(Image(0 * MASK, GRID), 1.0, 0.05).data, GRID)
    assert without_outliers(image, MASK) is image
