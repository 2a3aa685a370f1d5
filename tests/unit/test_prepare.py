"""From a scan to a prepared scan, and from two of them to a pair."""

import gzip
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from diffeode.datasets.bids import list_scans
from diffeode.datasets.scan import Scan
from diffeode.errors import AlignmentError, DamagedFileError, InputError
from diffeode.files import io
from diffeode.files.landmarks import read_landmarks
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import Grid
from diffeode.prepare.brain import nonzero, without_negatives
from diffeode.prepare.intensity import robust
from diffeode.prepare.pair import align_pair, write_aligned_pair, write_failed_pair
from diffeode.prepare.recipe import Recipe
from diffeode.prepare.resolution import resample_brain
from diffeode.prepare.scan import prepare_image, prepare_scan
from diffeode.prepare.step_tool import Resources
from diffeode.prepare.steps.n4 import n4
from diffeode.prepare.strip import strip
from diffeode.prepare.units import Before
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.receipt import damage, read_receipt
from diffeode.registration.harness import read_task

GRID = Grid((20, 22, 24), [[-4.5, 0, 0, 36], [0, 4.5, 0, -45], [0, 0, 4.5, -27], [0, 0, 0, 1]])


def ball(radius: float = 8) -> np.ndarray:
    """Return a ball that stands for a brain, ``(20, 22, 24)`` bool."""
    return np.linalg.norm(GRID.voxels() - (np.array(GRID.shape) - 1) / 2, axis=-1) < radius


def brain_image(seed: int = 0) -> Image:
    """Intensities around 500 in a ball, smooth but not constant."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=GRID.shape), 1.5)
    return Image(np.where(ball(), 500 + 800 * noise, 0), GRID)


@pytest.fixture
def scan(tmp_path) -> Scan:
    """A scan on disk with labels and landmarks."""
    folder = tmp_path / "study/sub-01/anat"
    io.write_image(folder / "sub-01_T1w.nii.gz", brain_image())
    io.write_labels(folder / "sub-01_dseg.nii.gz", Labels(ball(4) * 17, GRID))
    (folder / "sub-01_landmarks.tsv").write_text("name\tx\ty\tz\ttold by\ntip\t1.5\t-2\t3\tme\n")
    return list_scans("study", tmp_path / "study")[0]


# -------------------------------------------------------------------------------------------- steps


def test_the_brain_of_a_labelled_head_is_what_has_a_label(scan, tmp_path):
    """A head without a voxel of value 0 is accepted; voxels without a label become background."""
    head = Image(brain_image().data + 300, GRID)
    io.write_image(scan.image, head)
    with pytest.raises(InputError, match="head"):
        prepare_scan(scan, Before(), tmp_path / "refused")
    strip(scan, "labels", Before(), tmp_path / "brain")
    mask = io.read_labels(tmp_path / "brain" / "mask.nii.gz").data > 0
    np.testing.assert_array_equal(mask, ball(4))
    prepare_scan(scan, Before(brain=tmp_path / "brain"), tmp_path / "prepared")
    image = io.read_image(tmp_path / "prepared" / "image.nii.gz")
    np.testing.assert_array_equal(image.data > 0, ball(4))
    assert read_receipt(tmp_path / "brain" / "receipt.json")["choice"] == "labels"


def test_a_brain_cannot_be_found_by_labels_that_are_not_there(scan, tmp_path):
    with pytest.raises(InputError, match=r"has no label map, by which its brain is to be found"):
        strip(replace(scan, labels=None), "labels", Before(), tmp_path / "brain")
    io.write_labels(scan.labels, Labels(np.zeros(GRID.shape, int), GRID))
    with pytest.raises(InputError, match="dseg"):
        strip(scan, "labels", Before(), tmp_path / "brain")
    with pytest.raises(InputError, match="needs the label maps that come with the scans, and step"):
        Recipe(brain="labels", labels="synthseg")


def test_intensities_reach_from_0_to_1_inside_and_are_0_outside():
    data = np.zeros(GRID.shape)
    data[ball()] = np.linspace(100, 200, ball().sum())
    outside = data + np.where(ball(), 0, 50)
    scaled = robust(Image(outside, GRID), ball(), "it").data
    assert (scaled[~ball()] == 0).all()
    assert scaled[ball()].min() > 0
    assert scaled.max() == 1
    middle = np.abs(data - 150) < 20
    np.testing.assert_allclose(scaled[middle], (data[middle] - 100.1) / 99.8, atol=2e-3)


def test_intensities_do_not_depend_on_the_scanner_s_scale_or_on_one_spike():
    image, mask = brain_image(), ball()
    expected = robust(image, mask, "it").data
    np.testing.assert_allclose(
        robust(Image(image.data * 7, GRID), mask, "it").data, expected, atol=1e-5
    )
    spiked = image.data.copy()
    spiked[10, 11, 12] = 1e6
    assert np.abs(robust(Image(spiked, GRID), mask, "it").data - expected)[mask].mean() < 0.02


def test_negatives_are_no_brain_but_dark_voxels_inside_are():
    data = np.where(ball(), 10.0, -0.05)
    data[10, 11, 12] = -2
    image = without_negatives(Image(data, GRID), "it")
    assert image.data.min() == 0
    np.testing.assert_array_equal(nonzero(image, "it"), ball())


def test_empty_brain_mask():
    data = np.zeros_like(brain_image().data)
    with pytest.raises(
        InputError, match=r"brain mask of scan.nii is empty .*check the skull stripping"
    ):
        prepare_image(Image(data, GRID), "scan.nii")


def test_constant_brain():
    with pytest.raises(InputError, match=r"brain of scan.nii is constant .7 everywhere"):
        prepare_image(Image(ball() * 7.0, GRID), "scan.nii")


def test_n4_takes_a_known_bias_away():
    tissue = np.where(
        ndimage.gaussian_filter(np.random.default_rng(0).normal(size=GRID.shape), 1) > 0,
        400.0,
        600.0,
    )
    slope = np.exp(0.4 * (GRID.voxels()[..., 0] / 10 - 1))
    biased = Image(np.where(ball(9), tissue * slope, 0), GRID)
    corrected = n4(biased, ball(9), "T1w", Resources()).data

    def drift(data: np.ndarray) -> float:
        return float(
            np.corrcoef(np.log(data[ball(9)] / tissue[ball(9)]), slope[ball(9)])[0, 1]
            * np.log(data[ball(9)] / tissue[ball(9)]).std()
        )

    assert drift(corrected) < 0.3 * drift(biased.data)
    assert (corrected[~ball(9)] == 0).all()


def test_coarser_grid_covers_the_same_box_and_does_not_darken_the_rim():
    coarse, mask = resample_brain(Image(ball() * 5.0, GRID), ball(), GRID.resample(9.0))
    assert coarse.grid.shape == (10, 11, 12)
    np.testing.assert_allclose(coarse.grid.centre_mm, GRID.centre_mm, atol=1e-9)
    np.testing.assert_allclose(coarse.data[mask], 5, rtol=1e-4)
    assert (coarse.data[~mask] == 0).all()
    assert mask.sum() * coarse.grid.voxel_volume == pytest.approx(
        ball().sum() * GRID.voxel_volume, rel=0.1
    )


def test_coarser_grid_does_not_alias():
    stripes = np.broadcast_to(np.arange(20)[:, None, None] % 2, GRID.shape).astype(float)
    inner = antialiased(stripes, GRID, GRID.resample(13.5))[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(inner, 0.5, atol=0.02)


def test_same_spacing_changes_nothing():
    image = brain_image()
    np.testing.assert_allclose(
        antialiased(image.data, GRID, GRID.resample(4.5)), image.data, rtol=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bias": "n3"}, "bias has no choice 'n3'; did you mean 'n4'"),
        ({"brain": "nonzeros"}, "brain has no choice 'nonzeros'; did you mean 'nonzero'"),
        ({"intensity": "minmax"}, "intensity has no choice 'minmax'"),
        ({"spacing_mm": 0}, "spacing_mm is 0; it must be a positive number"),
        ({"spacing_mm": -1.0}, "spacing_mm is -1.0; it must be a positive number"),
    ],
)
def test_unknown_steps(settings, message):
    with pytest.raises(InputError, match=message):
        Recipe(**settings)


# ----------------------------------------------------------------------------------------- one scan


def test_prepared_unit(scan, tmp_path):
    folder = tmp_path / "prepared"
    prepare_scan(scan, Before(), folder, spacing_mm=9.0, seed=3)
    assert damage(folder / "receipt.json", Checksums(thorough=True)) is None
    receipt = read_receipt(folder / "receipt.json")
    assert set(receipt["outputs"]) == {
        "image.nii.gz",
        "mask.nii.gz",
        "labels.nii.gz",
        "landmarks.tsv",
    }
    assert receipt["scan"] == "sub-01_T1w"
    assert receipt["recipe"]["spacing_mm"] == 9.0
    assert str(tmp_path) not in (folder / "receipt.json").read_text()

    image, mask = io.read_image(folder / "image.nii.gz"), io.read_labels(folder / "mask.nii.gz")
    np.testing.assert_array_equal(image.data > 0, mask.data == 1)
    assert image.grid.matches(GRID.resample(9.0))
    labels = io.read_labels(folder / "labels.nii.gz")
    assert labels.grid.matches(GRID)
    np.testing.assert_array_equal(labels.data, ball(4) * 17)
    assert read_landmarks(folder / "landmarks.tsv").values.tolist() == [["tip", 1.5, -2.0, 3.0]]


def replaced(scan: Scan, name: str, data: np.ndarray, affine: np.ndarray = GRID.affine) -> None:
    """Overwrite one of the scan's files; ``name`` is ``image`` or ``labels``."""
    nib.save(nib.Nifti1Image(data, affine), getattr(scan, name))


@pytest.mark.parametrize(
    ("name", "data", "affine", "message"),
    [
        ("labels", ball() * 1.5, GRID.affine, r"sub-01_dseg.nii.gz is not a label map"),
        (
            "labels",
            ball()[1:].astype(np.uint8),
            GRID.affine,
            r"dseg.nii.gz does not lie on the grid of its scan .*T1w",
        ),
        (
            "labels",
            ball().astype(np.uint8),
            np.eye(4),
            r"dseg.nii.gz does not lie on the grid of its scan .*T1w",
        ),
        ("labels", np.zeros(GRID.shape, np.uint8), GRID.affine, r"sub-01_dseg.nii.gz is empty"),
        ("image", np.full(GRID.shape, 3.0), GRID.affine, r"T1w.nii.gz is constant"),
        (
            "image",
            np.where(ball(), np.nan, 0),
            GRID.affine,
            r"T1w.nii.gz has \d+ voxels that are NaN",
        ),
        ("image", np.zeros((*GRID.shape, 2)), GRID.affine, r"T1w.nii.gz is 4-D"),
        ("image", -ball().astype(float), GRID.affine, r"T1w.nii.gz is negative in 100 %"),
    ],
)
def test_unusable_scan_leaves_no_receipt(scan, tmp_path, name, data, affine, message):
    replaced(scan, name, data, affine)
    with pytest.raises(InputError, match=message) as error:
        prepare_scan(scan, Before(), tmp_path / "prepared")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "prepared" / "receipt.json").exists()


def test_labels_whose_header_was_rounded_are_on_the_grid(scan, tmp_path):
    replaced(scan, "labels", ball().astype(np.uint8), GRID.affine + 1e-4)
    prepare_scan(scan, Before(), tmp_path / "prepared")


@pytest.mark.parametrize("attribute", ["image", "labels", "landmarks"])
def test_file_that_went_missing(scan, tmp_path, attribute):
    getattr(scan, attribute).unlink()
    with pytest.raises(InputError, match=r"There is no (file|table of landmarks) .*sub-01_"):
        prepare_scan(scan, Before(), tmp_path / "prepared")


def test_scan_cut_short(scan, tmp_path):
    scan.image.write_bytes(scan.image.read_bytes()[:-200])
    with pytest.raises(DamagedFileError, match=r"T1w.nii.gz is truncated or damaged"):
        prepare_scan(scan, Before(), tmp_path / "prepared")


def test_scan_that_is_no_nifti(scan, tmp_path):
    scan.image.write_bytes(gzip.compress(b"not a scan" * 100))
    with pytest.raises(InputError, match=r"T1w.nii.gz cannot be read as an image"):
        prepare_scan(scan, Before(), tmp_path / "prepared")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name\tx\ty\ntip\t1\t2\n", "has no column 'z'"),
        ("name\tx\ty\tz\ntip\t1\t2\tthree\n", "has 'three' in line 2, column 'z'; give a finite"),
        ("name\tx\ty\tz\ntip\t1\t2\t\n", "has '' in line 2, column 'z'; give a finite number"),
        ("name\tx\ty\tz\ntip\t1\t2\t3\ntip\t1\t2\t4\n", "lists name 'tip' twice, in lines 2 and 3"),
    ],
)
def test_unusable_landmarks(tmp_path, text, message):
    (tmp_path / "landmarks.tsv").write_text(text)
    with pytest.raises(InputError, match=message):
        read_landmarks(tmp_path / "landmarks.tsv")


def test_adult_with_negatives_in_mni_space(data_root):
    path = data_root / "openms/sub-07/anat/sub-07_T2w.nii.gz"
    original = io.read_image(path)
    assert (original.data < 0).any()
    image, mask = prepare_image(original, str(path))
    assert image.grid.matches(original.grid)
    assert (image.data[~mask] == 0).all()
    assert (image.data[mask] > 0).all()
    assert image.data.max() == 1
    assert 1.0e6 < mask.sum() * image.grid.voxel_volume < 1.5e6


def test_a_whole_head_is_prepared_with_its_brain_and_refused_without(data_root):
    folder = data_root / "ds000247/sub-0002/anat"
    head, brain = io.read_image(folder / "T1.mgz"), io.read_labels(folder / "aseg.mgz").data > 0
    with pytest.raises(InputError, match=r"T1\.mgz looks like a whole head"):
        prepare_image(head, str(folder / "T1.mgz"))
    image, mask = prepare_image(head, "T1.mgz", mask=brain, spacing_mm=4.0)
    assert image.grid.shape == (64, 64, 64)
    np.testing.assert_allclose(image.grid.spacing, 4, rtol=1e-5)
    assert mask.sum() * 64 == pytest.approx(brain.sum(), rel=0.05)


def test_newborn_at_half_resolution(data_root):
    path = data_root / "albert/sub-01/anat/sub-01_T2w.nii.gz"
    original = io.read_image(path)
    spacing_mm = 2 * float(original.grid.spacing.min())
    image, mask = prepare_image(original, str(path), spacing_mm=spacing_mm)
    np.testing.assert_allclose(image.grid.spacing, spacing_mm, rtol=1e-6)
    volume = (original.data > 0).sum() * original.grid.voxel_volume
    assert mask.sum() * image.grid.voxel_volume == pytest.approx(volume, rel=0.02)


# ------------------------------------------------------------------------------------------- a pair


def elsewhere(image: Image, shift_mm: float) -> Image:
    moved = image.grid.affine.copy()
    moved[0, 3] += shift_mm
    return Image(image.data, Grid(image.grid.shape, moved))


def test_pair_on_one_grid_is_taken_as_it_is():
    fixed, moving = brain_image(1), brain_image(2)
    assert align_pair(fixed, moving, "none", "refuse", 1, 0)[0] is moving


def test_pair_on_two_grids_is_refused_or_resampled():
    fixed, moving = brain_image(1), elsewhere(brain_image(2), 9.0)
    with pytest.raises(
        InputError, match=r"different grids .*set grids: resample, or alignment: affine"
    ):
        align_pair(fixed, moving, "none", "refuse", 1, 0)
    aligned, to_scan = align_pair(fixed, moving, "none", "resample", 1, 0)
    assert aligned.grid.matches(fixed.grid)
    np.testing.assert_array_equal(to_scan.matrix, np.eye(4))
    # The first axis runs to the left in steps of 4.5 mm: 9 mm to the right is two voxels down.
    np.testing.assert_allclose(aligned.data[:-2], moving.data[2:], atol=1e-3)


def test_pair_whose_brains_do_not_meet():
    with pytest.raises(InputError, match="moving brain lies wholly outside the fixed scan's grid"):
        align_pair(brain_image(1), elsewhere(brain_image(2), 500), "none", "resample", 1, 0)


@pytest.mark.parametrize(("alignment", "grids"), [("afine", "resample"), ("none", "resampled")])
def test_unknown_alignment(alignment, grids):
    with pytest.raises(InputError, match=r"did you mean '(affine|resample)'"):
        align_pair(brain_image(1), brain_image(2), alignment, grids, 1, 0)


def prepared(folder: Path, image: Image, name: str) -> Path:
    """A prepared unit of ``image``."""
    path = folder / "scans" / f"{name}.nii.gz"
    io.write_image(path, image)
    prepare_scan(Scan("study", name, None, "T1w", path, None, None, None), Before(), folder / name)
    return folder / name


def test_affinely_aligned_pair_is_written_and_read(tmp_path):
    fixed = prepared(tmp_path, brain_image(1), "a")
    moving = prepared(tmp_path, elsewhere(brain_image(1), 12.0), "b")
    write_aligned_pair(
        fixed, moving, tmp_path / "pair", "affine", "resample", 1, 7, {"pair": "a__b"}
    )
    receipt = read_receipt(tmp_path / "pair/receipt.json")
    assert (receipt["pair"], receipt["fixed"], receipt["moving"]) == (
        "a__b",
        "sub-a_T1w",
        "sub-b_T1w",
    )
    task = read_task(tmp_path / "pair", moving)
    assert task.moving.grid.matches(task.fixed.grid)
    np.testing.assert_array_equal(
        task.moving_scan.data, io.read_image(moving / "image.nii.gz").data
    )
    np.testing.assert_allclose(
        task.moving_to_scan(GRID.centre_mm), GRID.centre_mm + np.array([12, 0, 0]), atol=0.3
    )
    assert np.abs(task.fixed.data - task.moving.data).mean() < 0.01
    assert set(receipt["outputs"]) == {"fixed.nii.gz", "moving.nii.gz", "moving_to_scan.txt"}


@pytest.fixture(scope="module")
def whole_pair(tmp_path_factory) -> Path:
    """A pair in ``pair`` of the prepared scans in ``a`` and ``b``."""
    folder = tmp_path_factory.mktemp("whole")
    fixed, moving = prepared(folder, brain_image(1), "a"), prepared(folder, brain_image(2), "b")
    write_aligned_pair(fixed, moving, folder / "pair", "none", "resample", 1, 0)
    return folder


@pytest.mark.parametrize(
    ("unit", "name"),
    [("pair", f"{name}.nii.gz") for name in ("fixed", "moving")]
    + [("pair", "moving_to_scan.txt")]
    + [("b", "image.nii.gz"), ("b", "mask.nii.gz")],
)
def test_a_registration_starts_from_whole_files_only(whole_pair, tmp_path, unit, name):
    """A changed byte of the pair or of the moving scan stops a registration, although the file can
    still be read.
    """
    shutil.copytree(whole_pair, tmp_path, dirs_exist_ok=True)
    if not (tmp_path / unit / name).is_file():
        pytest.fail(f"the unit {unit} has no {name}")
    read_task(tmp_path / "pair", tmp_path / "b")
    content = bytearray((tmp_path / unit / name).read_bytes())
    content[-20] ^= 1
    (tmp_path / unit / name).write_bytes(content)
    with pytest.raises(DamagedFileError, match=f"{name} has changed"):
        read_task(tmp_path / "pair", tmp_path / "b")


def test_a_pair_that_could_not_be_aligned_holds_the_reason_alone(whole_pair, tmp_path):
    shutil.copytree(whole_pair, tmp_path, dirs_exist_ok=True)
    write_failed_pair(tmp_path / "pair", "It lies elsewhere.", {"pair": "a__b"})
    assert [file.name for file in (tmp_path / "pair").iterdir()] == ["receipt.json"]
    receipt = read_receipt(tmp_path / "pair/receipt.json")
    told = {name: receipt[name] for name in ("pair", "status", "reason", "outputs")}
    assert told == {
        "pair": "a__b",
        "status": "failed",
        "reason": "It lies elsewhere.",
        "outputs": {},
    }
    with pytest.raises(
        AlignmentError, match=r"^The pair could not be aligned: It lies elsewhere\.$"
    ):
        read_task(tmp_path / "pair", tmp_path / "b")


@pytest.mark.parametrize("unit", ["a", "b"])
def test_a_changed_scan_stops_its_pair(whole_pair, tmp_path, unit):
    shutil.copytree(whole_pair, tmp_path, dirs_exist_ok=True)
    content = bytearray((tmp_path / unit / "image.nii.gz").read_bytes())
    content[-20] ^= 1
    (tmp_path / unit / "image.nii.gz").write_bytes(content)
    with pytest.raises(DamagedFileError, match=rf"{unit}/image.nii.gz has changed"):
        write_aligned_pair(
            tmp_path / "a", tmp_path / "b", tmp_path / "new", "none", "resample", 1, 0
        )
    assert not (tmp_path / "new").exists()


def test_damaged_scan_stops_a_pair(tmp_path):
    fixed, moving = prepared(tmp_path, brain_image(1), "a"), prepared(tmp_path, brain_image(2), "b")
    content = (moving / "image.nii.gz").read_bytes()
    (moving / "image.nii.gz").write_bytes(content[:-1])
    with pytest.raises(DamagedFileError, match=r"image.nii.gz has \d+ bytes instead of"):
        write_aligned_pair(fixed, moving, tmp_path / "pair", "none", "resample", 1, 0)
    assert not (tmp_path / "pair").exists()
