"""The template and the map from it to a scan: exact where nothing moves, and the same however a
head is stored.
"""

import socket

import nibabel as nib
import numpy as np
import pytest
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from scipy.spatial.transform import Rotation

from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_image
from diffeode.prepare.affine import affine_registration, rigid_registration
from diffeode.prepare.place import place
from diffeode.prepare.resolution import resample_brain
from diffeode.prepare.steps.icbm152 import icbm152
from diffeode.prepare.template import Template, align_through_t1w, align_to_template, given, overlap
from diffeode.prepare.units import Before, Placement, write_placement
from diffeode.provenance.receipt import read_receipt

FIELD = Grid((60, 60, 60), [[4, 0, 0, -120], [0, 4, 0, -135], [0, 0, 4, -115], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def whole() -> Template:
    return icbm152()


@pytest.fixture(scope="module")
def coarse(whole) -> Template:
    """The template at 4 mm, so that a registration takes a second."""
    image, mask = resample_brain(whole.images["T1w"], whole.mask, whole.grid.resample(4.0))
    return Template("icbm152 at 4 mm", {"T1w": image}, mask)


@pytest.fixture(scope="module")
def truth() -> Affine:
    """The map from the template to a scan: a tilted, smaller head in another place."""
    return affine(10, (0.95, 0.9, 1.02), (6, -9, 5))


@pytest.fixture(scope="module")
def head(coarse, truth) -> Image:
    return warp_image(coarse.images["T1w"], truth.inverse(), FIELD)


@pytest.fixture(scope="module")
def found(coarse, head) -> Affine:
    """The map that is found from the template to ``head``."""
    return align_to_template(head, coarse, "T1w", "it", 1, 1)


@pytest.fixture(scope="module")
def in_place(head) -> Affine:
    """The rigid map that is found from ``head`` to itself."""
    return rigid_registration(head, head, 1, 1)


@pytest.fixture
def still(in_place, monkeypatch) -> None:
    """Wherever ``head`` is aligned with itself, take the map that was found once."""
    monkeypatch.setattr("diffeode.prepare.template.rigid_registration", lambda *given: in_place)


def affine(degrees: float, scales=(1, 1, 1), shift_mm=(0, 0, 0), axis: str = "x") -> Affine:
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_euler(axis, degrees, degrees=True).as_matrix() @ np.diag(scales)
    matrix[:3, 3] = shift_mm
    return Affine(matrix)


def about(centre_mm, matrix: np.ndarray) -> np.ndarray:
    """``matrix`` about another fixed point."""
    shift = np.eye(4)
    shift[:3, 3] = centre_mm
    return shift @ matrix @ np.linalg.inv(shift)


def farthest_mm(one: Affine, other: Affine, template: Template) -> float:
    """Return the largest distance between two maps over the template's brain."""
    points = template.grid.to_world(np.argwhere(template.mask).astype(float))
    return float(np.linalg.norm(one(points) - other(points), axis=-1).max())


def stored_as(image: Image, codes: str) -> Image:
    """Return the same head in the same place, with its array axes turned to ``codes``."""
    nifti = nib.Nifti1Image(image.data, image.grid.affine)
    turn = nib.orientations.ornt_transform(
        nib.io_orientation(nifti.affine), nib.orientations.axcodes2ornt(tuple(codes))
    )
    turned = nifti.as_reoriented(turn)
    return Image(turned.get_fdata(), Grid(turned.shape, turned.affine))


def turned_header(image: Image, degrees: float, axis: str = "x") -> Image:
    """Return the same array with its header turned, so that the head lies in another
    orientation.
    """
    return Image(
        image.data, Grid(image.grid.shape, affine(degrees, axis=axis).matrix @ image.grid.affine)
    )


# ------------------------------------------------------------------------------------- the template


def test_the_template_needs_no_network(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a connection was opened")

    load_mni152_template.cache_clear()
    monkeypatch.setattr(socket.socket, "connect", refuse)
    icbm152()


def test_the_crop_holds_the_brain_and_moves_nothing(whole):
    original = load_mni152_template(resolution=1)
    assert whole.grid.shape == (160, 192, 176)
    np.testing.assert_array_equal(whole.grid.affine[:3, :3], original.affine[:3, :3])
    assert whole.mask.sum() == load_mni152_brain_mask(resolution=1).get_fdata().sum()
    cropped, data = whole.images["T1w"].data, original.get_fdata()
    brain = np.rint(whole.grid.to_world(np.argwhere(whole.mask)) - original.affine[:3, 3]).astype(
        int
    )
    there = data[tuple(brain.T)]
    assert np.corrcoef(cropped[whole.mask], there)[0, 1] > 0.9999
    assert (cropped[~whole.mask] == 0).all()
    assert cropped[whole.mask].min() > 0
    assert cropped.max() == 1
    border = np.pad(np.zeros(np.array(whole.mask.shape) - 10, dtype=bool), 5, constant_values=True)
    assert not whole.mask[border].any()


def test_it_is_the_symmetric_one():
    data = load_mni152_template(resolution=1).get_fdata()
    np.testing.assert_allclose(data, data[::-1], atol=1e-6)


def test_a_given_pair_is_cropped_as_one(real_data_root):
    folder = real_data_root / "icbm152"
    template = given(
        *(folder / f"tpl-MNI152_res-1_desc-brain_{modality}.nii.gz" for modality in ("T1w", "T2w"))
    )
    assert template.grid.shape == (160, 208, 176)
    assert template.like("T2w") is template.images["T2w"]
    assert template.like("FLAIR") is template.images["T1w"]
    original = io.read_image(folder / "tpl-MNI152_res-1_desc-brain_T2w.nii.gz")
    back = warp_image(template.images["T2w"], Affine(), original.grid)
    assert np.corrcoef(back.data[original.data > 0], original.data[original.data > 0])[0, 1] > 0.999


def test_a_template_keeps_its_voxel_size_or_takes_its_smallest_side(tmp_path, coarse):
    own = coarse.images["T1w"]
    io.write_image(tmp_path / "mine.nii.gz", own)
    template = given(tmp_path / "mine.nii.gz")
    np.testing.assert_allclose(template.grid.spacing, 4)
    assert template.name == "mine"
    assert template.mask.sum() == coarse.mask.sum()
    thick = own.grid.affine @ np.diag([1, 1, 2, 1])
    io.write_image(
        tmp_path / "thick.nii.gz",
        Image(own.data[:, :, ::2], Grid(own.data[:, :, ::2].shape, thick)),
    )
    np.testing.assert_allclose(given(tmp_path / "thick.nii.gz").grid.spacing, 4)


def test_templates_on_two_grids(tmp_path, head, coarse):
    io.write_image(tmp_path / "t1.nii.gz", coarse.images["T1w"])
    io.write_image(tmp_path / "t2.nii.gz", head)
    with pytest.raises(
        InputError,
        match=r"t1.nii.gz and .*t2.nii.gz lie on different grids; give a pair in one space",
    ):
        given(tmp_path / "t1.nii.gz", tmp_path / "t2.nii.gz")


# ------------------------------------------------------------------------------------ the alignment


@pytest.mark.parametrize("bad", ["t1w.nii.gz", "t2w.nii.gz"])
@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (lambda data: data - 0.5, "z-scored"),
        (lambda data: np.where(data > 0, 1, 0), "constant"),
    ],
)
def test_the_template_that_cannot_be_used_is_the_one_named(tmp_path, coarse, bad, spoilt, message):
    image = coarse.images["T1w"]
    files = [tmp_path / "t1w.nii.gz", tmp_path / "t2w.nii.gz"]
    for file in files:
        io.write_image(
            file, Image(spoilt(image.data) if file.name == bad else image.data, image.grid)
        )
    with pytest.raises(InputError, match=message) as error:
        given(*files)
    named = {file.name for file in files if file.name in str(error.value)}
    assert named == {bad}


@pytest.mark.parametrize("modality", ["T2w", "PDw"])
def test_the_way_through_the_t1w_is_judged_by_the_scans_own_contrast(
    monkeypatch, coarse, head, truth, modality, still
):
    asked = []
    monkeypatch.setattr(
        Template, "like", lambda self, contrast: asked.append(contrast) or self.images["T1w"]
    )
    align_through_t1w(head, head, coarse, modality, truth, "it", 1, 1)
    assert set(asked) == {modality}


def test_a_scan_that_is_the_template_stays_in_place(coarse):
    found = align_to_template(coarse.images["T1w"], coarse, "T1w", "it", 1, 1)
    assert farthest_mm(found, Affine(), coarse) < 0.05


def test_a_known_affine_is_found(coarse, head, truth, found):
    assert farthest_mm(found, truth, coarse) < 1.0
    assert overlap(found, coarse, head) > 0.9


def test_outliers_lead_nobody_astray(coarse, head, truth):
    spoiled = head.data.copy()
    brain = np.flatnonzero(spoiled > 0)
    spoiled.flat[np.random.default_rng(0).choice(brain, len(brain) // 200, replace=False)] = 1e6
    found = align_to_template(Image(spoiled, head.grid), coarse, "T1w", "the head", 1, 1)
    assert farthest_mm(found, truth, coarse) < 4


def test_the_other_contrast_finds_it_too(coarse, head, truth):
    inverted = Image(np.where(head.data > 0.02, 1.1 - head.data, 0), head.grid)
    assert farthest_mm(align_to_template(inverted, coarse, "T2w", "it", 1, 1), truth, coarse) < 1.5


@pytest.mark.parametrize("codes", ["LAS", "PSR", "LIA"])
def test_how_a_head_is_stored_does_not_matter(coarse, head, found, codes):
    other = stored_as(head, codes)
    assert other.grid.affine.tolist() != head.grid.affine.tolist()
    of_other = align_to_template(other, coarse, "T1w", "it", 1, 1)
    images = [
        warp_image(image, to_scan, coarse.grid)
        for image, to_scan in ((head, found), (other, of_other))
    ]
    np.testing.assert_allclose(images[1].data, images[0].data, atol=1e-5)


def test_an_oblique_header_is_followed(coarse, head, found):
    oblique = turned_header(stored_as(head, "LIA"), 25)
    expected = Affine(affine(25).matrix @ found.matrix)
    of_oblique = align_to_template(oblique, coarse, "T1w", "it", 1, 1)
    assert farthest_mm(of_oblique, expected, coarse) < 1.0


def test_a_head_far_tipped_is_found_where_the_centres_of_mass_alone_fail(coarse, head, truth):
    tipped = turned_header(head, 60)
    expected = Affine(affine(60).matrix @ truth.matrix)
    assert (
        farthest_mm(affine_registration(coarse.images["T1w"], tipped, 1, 1), expected, coarse) > 20
    )
    assert farthest_mm(align_to_template(tipped, coarse, "T1w", "it", 1, 1), expected, coarse) < 1.5


def test_a_header_that_turns_the_head_round_is_refused(coarse, head):
    with pytest.raises(
        InputError, match=r"scan.nii does not look like a brain that lies as template .*orientation"
    ):
        align_to_template(turned_header(head, 90), coarse, "T1w", "scan.nii", 1, 1)


def test_a_ball_is_no_brain(coarse):
    radius = np.linalg.norm(FIELD.points_mm() - FIELD.centre_mm, axis=-1)
    ball = Image(np.where(radius < 70, 100 - radius, 0), FIELD)
    with pytest.raises(
        InputError, match=r"ball.nii does not look like a brain .* check the skull stripping"
    ):
        align_to_template(ball, coarse, "T1w", "ball.nii", 1, 1)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.diag([-1.0, 1, 1, 1]), "it would have to be mirrored"),
        (np.diag([2.0, 2, 2, 1]), r"it would have to be scaled by 1\.80 to 2\.04"),
        (
            affine(0, shift_mm=(70, 0, 0)).matrix,
            r"the two brains overlap by Dice 0\.\d\d only, not 0\.80",
        ),
        (
            about((0, -20, 0), affine(180, axis="z").matrix),
            "turned upside down or back to front it would fit as well",
        ),
    ],
)
def test_an_affine_that_cannot_be_right_is_refused(coarse, head, truth, still, wrong, message):
    with pytest.raises(InputError, match=f"scan.nii does not look like a brain .*{message}"):
        align_through_t1w(head, head, coarse, "T2w", Affine(truth.matrix @ wrong), "scan.nii", 1, 1)


def test_the_way_through_the_t1w(coarse, head, truth):
    motion = affine(6, shift_mm=(3, -2, 4), axis="z")
    t2w = warp_image(
        Image(np.where(head.data > 0.02, 1.1 - head.data, 0), head.grid), motion.inverse(), FIELD
    )
    assert farthest_mm(rigid_registration(head, t2w, 1, 1), motion, coarse) < 1.0
    found = align_through_t1w(t2w, head, coarse, "T2w", truth, "it", 1, 1)
    assert farthest_mm(found, Affine(motion.matrix @ truth.matrix), coarse) < 1.0
    scales = np.linalg.svd((found.matrix @ truth.inverse().matrix)[:3, :3], compute_uv=False)
    np.testing.assert_allclose(scales, 1, atol=1e-6)


def test_a_t2w_is_placed_where_its_t1w_lies_and_its_head_moved(
    coarse, head, truth, tmp_path, monkeypatch
):
    """With the motion given, so that the map is known exactly."""
    motion = affine(6, shift_mm=(3, -2, 4), axis="z")
    heads = {"T1w": head, "T2w": warp_image(head, motion.inverse(), FIELD)}
    for modality, image in heads.items():
        io.write_image(tmp_path / f"{modality}.nii.gz", image)
    io.write_image(tmp_path / "mine.nii.gz", coarse.images["T1w"])
    moved = []

    def rigid(fixed, moving, threads, seed):
        moved.append((fixed.data.sum(), moving.data.sum(), threads, seed))
        return motion

    monkeypatch.setattr("diffeode.prepare.template.rigid_registration", rigid)
    scans = [
        Scan("a", "01", None, kind, tmp_path / f"{kind}.nii.gz", None, None, None)
        for kind in ("T1w", "T2w")
    ]
    write_placement(
        tmp_path / "t1w", Placement(truth, coarse.grid), {"step": "placement", "choice": "mine"}
    )
    template = {"t1w": str(tmp_path / "mine.nii.gz")}
    t1w = (scans[0], Before(placed=tmp_path / "t1w"))
    place(scans[1], template, Before(), t1w, tmp_path / "t2w", threads=2, seed=3)
    found = Before(placed=tmp_path / "t2w").placement()
    np.testing.assert_allclose(found.to_scan.matrix, motion.matrix @ truth.matrix, atol=1e-5)
    assert found.grid.matches(given(tmp_path / "mine.nii.gz").grid)
    sums = [image.data.sum() for image in heads.values()]
    assert moved == [(pytest.approx(sums[0], rel=1e-3), pytest.approx(sums[1], rel=1e-3), 2, 3)]
    choice = read_receipt(tmp_path / "t2w/receipt.json")["choice"]
    assert (choice["through"], choice["seed"]) == ("sub-01_T1w", 3)


def test_adults_come_to_lie_on_the_template(real_data_root, coarse):
    ixi = real_data_root / "ixi2mm/sub-IXI034/anat/sub-IXI034"
    head, labels = io.read_image(f"{ixi}_T1w.nii.gz"), io.read_labels(f"{ixi}_dseg.nii.gz")
    stripped = Image(np.where(labels.data > 0, head.data, 0), head.grid)
    for scan in (
        stripped,
        io.read_image(real_data_root / "oasistrt/sub-02/anat/sub-02_T1w.nii.gz"),
    ):
        brain, _ = resample_brain(scan, scan.data > 0, scan.grid.resample(4.0))
        assert overlap(Affine(), coarse, brain) < 0.83
        found = align_to_template(brain, coarse, "T1w", "a scan", 1, 1)
        assert overlap(found, coarse, brain) > 0.92
