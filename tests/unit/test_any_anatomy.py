"""Scans of any anatomy in a study: small crops full of tissue, of any size and sign."""

from pathlib import Path

import numpy as np
import pytest

from diffeode.datasets.scan import Scan
from diffeode.errors import DamagedFileError, InputError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.prepare.correct import correct
from diffeode.prepare.pair import write_aligned_pair
from diffeode.prepare.recipe import Recipe
from diffeode.prepare.scan import prepare_scan
from diffeode.prepare.strip import strip
from diffeode.prepare.units import Before
from diffeode.provenance.receipt import read_receipt
from diffeode.registration.harness import read_task
from diffeode.units.pair import PairUnit

SPACING_MM = 0.05
"""Finer than any head's scan, so that the whole crop is smaller than a head, too."""
SHIFT_VOXELS = 4


def tissue(shift: int = 0) -> Image:
    """Tissue up to every border, in CT units: half of it is negative. ``shift`` voxels further
    along the first axis.
    """
    x, y, z = np.indices((30, 26, 22)).astype(float)
    x += shift
    data = 400 * np.sin(x / 3) * np.cos(y / 4) + 200 * np.sin(z / 5 + x / 7)
    affine = np.diag([SPACING_MM, SPACING_MM, SPACING_MM, 1.0])
    affine[0, 3] = SPACING_MM * shift
    return Image(data.astype(np.float32), Grid(data.shape, affine))


def scan_of(image: Image, folder: Path, name: str) -> Scan:
    io.write_image(folder / f"{name}.nii.gz", image)
    return Scan("study", name, None, "CT", folder / f"{name}.nii.gz", None, None, None)


def prepared(image: Image, folder: Path, name: str) -> Path:
    """The unit of ``image``, prepared as a scan of anything."""
    scan, before = scan_of(image, folder, name), Before(brain=folder / f"{name}-brain")
    strip(scan, "foreground", Before(), before.brain)
    prepare_scan(scan, before, folder / f"unit-{name}")
    return folder / f"unit-{name}"


def test_a_crop_of_tissue_keeps_every_voxel_and_the_order_of_its_intensities(tmp_path):
    original = tissue()
    unit = prepared(original, tmp_path, "a")
    image = io.read_image(unit / "image.nii.gz")
    assert io.read_labels(unit / "mask.nii.gz").data.all()
    assert image.data.min() > 0
    assert image.data.max() == 1
    order = np.argsort(original.data, axis=None)
    assert (np.diff(image.data.ravel()[order]) >= -1e-6).all()
    assert read_receipt(unit / "receipt.json")["recipe"]["brain"] == "foreground"


def test_the_same_crop_is_refused_as_a_brain(tmp_path):
    with pytest.raises(InputError, match=r"a\.nii\.gz has voxels of 0\.05 x 0\.05 x 0\.05 mm"):
        prepare_scan(scan_of(tissue(), tmp_path, "a"), Before(), tmp_path / "unit")


def test_a_bias_field_is_not_looked_for_in_negative_intensities(tmp_path):
    scan, brain = scan_of(tissue(), tmp_path, "a"), tmp_path / "brain"
    strip(scan, "foreground", Before(), brain)
    with pytest.raises(InputError, match=r"a\.nii\.gz is negative in \d+ %"):
        correct(scan, "n4", "robust", Before(brain=brain), tmp_path / "corrected")
    assert not (tmp_path / "corrected").exists()


def test_nothing_counts_beyond_a_field_of_view_that_cuts_tissue_off(tmp_path):
    """The moving crop lies further along the first axis, so it does not reach as far back."""
    fixed, moving = (
        prepared(tissue(shift), tmp_path, name) for name, shift in (("a", 0), ("b", SHIFT_VOXELS))
    )
    write_aligned_pair(fixed, moving, tmp_path / "pair", "none", "resample", 1, 0)
    task = read_task(tmp_path / "pair", moving)
    counted = np.zeros(task.fixed.grid.shape, dtype=bool)
    counted[SHIFT_VOXELS:] = True
    np.testing.assert_array_equal(task.counts, counted)
    np.testing.assert_array_equal(task.pair().counts, counted)
    assert task.moving.data.min() > 0
    assert "counts.nii.gz" in read_receipt(tmp_path / "pair/receipt.json")["outputs"]


def test_a_damaged_mask_of_what_counts_stops_the_registration(tmp_path):
    fixed, moving = (prepared(tissue(s), tmp_path, name) for name, s in (("a", 0), ("b", 2)))
    write_aligned_pair(fixed, moving, tmp_path / "pair", "none", "resample", 1, 0)
    PairUnit(tmp_path / "pair").counts_file.unlink()
    with pytest.raises(DamagedFileError, match=r"counts\.nii\.gz"):
        read_task(tmp_path / "pair", moving)


def test_everything_counts_where_both_crops_show_the_same(tmp_path):
    unit = prepared(tissue(), tmp_path, "a")
    write_aligned_pair(unit, unit, tmp_path / "pair", "none", "refuse", 1, 0)
    assert read_task(tmp_path / "pair", unit).counts is None
    assert not PairUnit(tmp_path / "pair").counts_file.exists()


@pytest.mark.parametrize("step", [{"template": "icbm152"}, {"labels": "synthseg"}])
def test_tools_for_brains_are_refused_for_other_anatomies(step):
    with pytest.raises(InputError, match="brain is foreground, for scans of any anatomy"):
        Recipe(brain="foreground", **step)
    assert Recipe(brain="foreground", template={"t1w": "mouse.nii.gz"}).finds_brain
