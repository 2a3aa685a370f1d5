"""MIND in half precision has nearly the value and the gradient of double precision, whatever the
intensities.

Images are planes here, because a CPU averages volumes over windows in single and double precision
only.
"""

from functools import partial

import nibabel
import pytest
import torch

from diffeode.descriptors.mind import mind, mind_ssc
from diffeode.losses.half_precision import half_precision_difference
from diffeode.losses.similarity import Warped, descriptor_similarity

FORMS = {
    "ssc": partial(mind_ssc, radius=1, dilation=2),
    "mind": partial(mind, radius=1, dilation=1),
}


@pytest.fixture(scope="module")
def planes(data_root) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """T2w and T1w of a newborn, in [0, 1], and the brain mask, ``(1, 1, X, Y)`` in double
    precision.
    """
    anat = data_root / "albert" / "sub-01" / "anat"
    t2w, t1w, labels = (
        torch.from_numpy(nibabel.load(anat / f"sub-01_{kind}.nii.gz").get_fdata())
        for kind in ("T2w", "T1w", "dseg")
    )
    middle = labels.shape[2] // 2
    t2w, t1w, mask = (
        image[None, None, :, :, middle] for image in (t2w, t1w, (labels > 0).double())
    )
    return t2w / t2w.max(), t1w / t1w.max(), mask


def value_and_gradient(loss, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    image = image.clone().requires_grad_()
    value = loss(image)
    return value.detach(), torch.autograd.grad(value, image)[0]


def in_double_precision(describe, fixed: torch.Tensor, mask: torch.Tensor | None):
    similarity = descriptor_similarity(describe, fixed, None, mask)
    return lambda image: similarity(Warped(image, image.new_zeros(1, 2, *image.shape[2:])))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("brightness", [1.0, 1e4, 1e-5])
def test_nearly_the_value_and_the_gradient_of_double_precision(planes, form, masked, brightness):
    fixed, moving, mask = planes
    mask = mask if masked else None
    expected, slope = value_and_gradient(in_double_precision(FORMS[form], fixed, mask), moving)
    found = half_precision_difference(
        partial(FORMS[form], dtype=torch.half), fixed * brightness, mask
    )
    value, found_slope = value_and_gradient(found, moving * brightness)
    assert value.dtype == found_slope.dtype == torch.float64
    assert 0 < abs(value / expected - 1) < 2e-4
    assert (found_slope * brightness - slope).norm() < 0.05 * slope.norm()


def test_images_without_contrast_have_no_slope():
    for level in (0.0, 0.7):
        flat = torch.full((1, 1, 12, 14), level)
        difference = half_precision_difference(partial(FORMS["ssc"], dtype=torch.half), flat)
        value, slope = value_and_gradient(difference, flat)
        assert value == 0
        assert not slope.any()
