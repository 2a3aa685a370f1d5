"""Raw scans that cannot be heads are refused before expensive work; whole heads are distinguished
from brains.
"""

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from diffeode.datasets.virtual import make_cohort
from diffeode.errors import DamagedFileError, InputError
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.prepare.brain import stripped_brain, without_negatives
from diffeode.prepare.plausible import read_plausible

SHAPE = (40, 44, 36)
AFFINE = np.array([[-4.0, 0, 0, 80], [0, 4, 0, -90], [0, 0, 4, -70], [0, 0, 0, 1]])
NOISE = np.random.default_rng(0).random(SHAPE)


def written(path, data=NOISE, affine=AFFINE, codes=(1, 1)):
    """A NIfTI with these sform and qform codes."""
    nifti = nib.Nifti1Image(data.astype(np.float32), affine)
    nifti.set_sform(affine, codes[0])
    if codes[1] or not codes[0]:
        nifti.header["qform_code"] = codes[1]
    nib.save(nifti, path)
    return path


def scaled(factor: float) -> np.ndarray:
    return AFFINE @ np.diag([factor, factor, factor, 1])


def moved(millimetres: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 3] += millimetres
    return affine


def sheared() -> np.ndarray:
    affine = AFFINE.copy()
    affine[0, 1] = 1.5
    return affine


@pytest.mark.parametrize("codes", [(1, 1), (1, 0), (4, 0), (2, 1)])
def test_a_usual_header_passes(tmp_path, codes):
    assert read_plausible(written(tmp_path / "scan.nii.gz", codes=codes)).grid.shape == SHAPE


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"data": NOISE[:, :, 0]}, r"scan.nii.gz is 2-D with shape"),
        ({"data": np.stack([NOISE, NOISE], axis=-1)}, r"scan.nii.gz is 4-D with shape"),
        ({"data": np.full(SHAPE, 5.0)}, r"scan.nii.gz is constant \(5 everywhere\)"),
        (
            {"data": np.where(NOISE > 0.99, np.nan, NOISE)},
            r"scan.nii.gz has \d+ voxels that are NaN",
        ),
        ({"codes": (0, 0)}, r"Nothing in the header of .*scan.nii.gz tells how the head lies"),
        (
            {"affine": scaled(0.02)},
            r"scan.nii.gz has voxels of 0.08 x 0.08 x 0.08 mm, outside 0.1 to 10 mm",
        ),
        ({"affine": scaled(3)}, r"scan.nii.gz has voxels of 12 x 12 x 12 mm, outside 0.1 to 10 mm"),
        ({"affine": scaled(0.25)}, r"scan.nii.gz covers 40 x 44 x 36 mm, .* 60 to 500 mm"),
        ({"data": NOISE[:, :, :10]}, r"scan.nii.gz covers 160 x 176 x 40 mm"),
        ({"data": np.tile(NOISE, (1, 1, 4))}, r"scan.nii.gz covers 160 x 176 x 576 mm"),
        ({"affine": moved(5000)}, r"scan.nii.gz lies 5.0 m from the origin of its coordinates"),
        (
            {"affine": sheared(), "codes": (1, 0)},
            r"scan.nii.gz: The image's axes are not perpendicular",
        ),
    ],
)
def test_what_no_head_has_is_refused(tmp_path, parts, message):
    with pytest.raises(InputError, match=message) as error:
        read_plausible(written(tmp_path / "scan.nii.gz", **parts))
    assert "\n" not in str(error.value)


def test_files_that_are_no_scans(tmp_path):
    with pytest.raises(InputError, match="There is no file"):
        read_plausible(tmp_path / "absent.nii.gz")
    whole = written(tmp_path / "scan.nii.gz").read_bytes()
    (tmp_path / "scan.nii.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFileError, match="truncated or damaged"):
        read_plausible(tmp_path / "scan.nii.gz")


def test_real_scans_are_plausible_and_brains_told_from_heads(real_data_root):
    heads = [
        *sorted((real_data_root / "ixi2mm").rglob("*_T1w.nii.gz")),
        *(real_data_root / "ds000247").rglob("T1.mgz"),
    ]
    brains = [
        next((real_data_root / folder).rglob(pattern))
        for folder in ("albert", "openms", "oasistrt", "neuriteoasis", "stroke", "icbm152")
        for pattern in ("*_T1w.nii.gz", "*_T2w.nii.gz")
        if list((real_data_root / folder).rglob(pattern))
    ]
    assert len(heads) == 7
    assert len(brains) == 10
    for path in heads:
        with pytest.raises(
            InputError, match=r"looks like a whole head, not a skull-stripped brain"
        ):
            stripped_brain(without_negatives(read_plausible(path), path.name), path.name)
    for path in brains:
        brain = without_negatives(read_plausible(path), path.name)
        for part in (brain, *coarse_and_cropped(brain)):
            stripped_brain(part, path.name)


def coarse_and_cropped(brain: Image) -> list[Image]:
    """Return a brain in the box that just fits it, the same with voxels four times as large, and
    slabs of the latter.
    """
    data = brain.data[::4, ::4, ::4]
    coarse = cropped(Image(data, Grid(data.shape, brain.grid.affine @ np.diag([4, 4, 4, 1]))))
    return [cropped(brain), coarse, *(cropped(middle_third(coarse, axis)) for axis in range(3))]


def middle_third(image: Image, axis: int) -> Image:
    length = image.grid.shape[axis]
    data = np.take(image.data, range(length // 3, 2 * length // 3), axis)
    return Image(data, Grid(data.shape, image.grid.affine))


def cropped(image: Image) -> Image:
    data = image.data[ndimage.find_objects((image.data > 0).astype(int))[0]]
    return Image(data, Grid(data.shape, image.grid.affine))


def test_heads_as_small_as_brains_are_told_by_how_the_field_of_view_cuts_them(real_data_root):
    """Adults' heads at 65 % of their size have the volume of a brain."""
    heads = sorted((real_data_root / "ixi2mm").rglob("*_T1w.nii.gz"))
    assert len(heads) == 6
    for path in heads:
        head = read_plausible(path)
        small = Image(
            head.data, Grid(head.grid.shape, head.grid.affine @ np.diag([0.65, 0.65, 0.65, 1]))
        )
        with pytest.raises(InputError, match=r"\(1\d\d\d ml above zero, cut off by [23] faces"):
            stripped_brain(small, path.name)


@pytest.mark.slow
def test_virtual_persons_are_brains(tmp_path):
    make_cohort(tmp_path, persons=2, spacing_mm=6.0, seed=0)
    scans = [*tmp_path.rglob("*_T?w.nii.gz")]
    assert len(scans) == 4
    for path in scans:
        stripped_brain(read_plausible(path), path.name)


def test_a_small_head_is_told_by_where_it_leaves_the_field_of_view():
    grid = Grid((60, 60, 60), np.diag([2.0, 2, 2, 1]))
    points = grid.points_mm() - grid.centre_mm
    ball = np.linalg.norm(points, axis=-1) < 50
    neck = (np.linalg.norm(points[..., :2], axis=-1) < 25) & (points[..., 2] < 0)
    shoulder = np.linalg.norm(points[..., 1:], axis=-1) < 20
    stripped_brain(Image((ball | neck).astype(float), grid), "brain with its stem cut")
    with pytest.raises(InputError, match=r"cut off by 3 faces of the field of view"):
        stripped_brain(Image((ball | neck | shoulder).astype(float), grid), "head")


def test_a_box_that_noise_fills_is_no_brain():
    with pytest.raises(InputError, match="cut off by 6 faces"):
        stripped_brain(Image(NOISE, Grid(SHAPE, np.diag([2.0, 2, 2, 1]))), "noise")


def test_what_resampling_leaves_below_zero_becomes_zero():
    data = np.where(NOISE > 0.5, NOISE, 0).astype(np.float32)
    data[0] = -0.009  # all over one side, but close to 0
    data[1, :10, :20] = -0.2  # far below 0, but only 0.8 % of the non-zero voxels
    assert 0.005 < 200 / np.count_nonzero(data) < 0.01
    found = without_negatives(Image(data, Grid(SHAPE, AFFINE)), "scan").data
    np.testing.assert_array_equal(found, np.where(data > 0, data, 0))


def test_a_standardised_brain_is_refused_instead_of_ruined():
    brain = np.where(NOISE > 0.5, (NOISE - 0.7) / 0.1, 0)
    with pytest.raises(
        InputError,
        match=r"scan.nii.gz is negative in \d\d % of .*; add a constant inside the brain",
    ):
        without_negatives(Image(brain, Grid(SHAPE, AFFINE)), "scan.nii.gz")
