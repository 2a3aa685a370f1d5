"""Starts that are no affine: the registration goes on where they end, and both whole maps are
delivered, or a sentence says why they cannot be.
"""

import json

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage

import diffeode as de
from diffeode.cli import main
from diffeode.desk.start import BentStart
from diffeode.files import io
from diffeode.files.fsl import write_fnirt
from diffeode.geometry.image import Image
from diffeode.geometry.maps import nearest_affine
from diffeode.geometry.space import RAS_TO_LPS, Grid
from diffeode.geometry.transform import Affine, Chain, DisplacementField, densify, warp_image

FIXED = Grid((22, 20, 18), np.diag([-3.0, 3, 3, 1]) + np.outer([31, -28, -25, 0], [0, 0, 0, 1]))
MOVING = Grid(
    (20, 22, 18), np.array([[0, 0, 3.2, -30], [-3.0, 0, 0, 29], [0, 3.1, 0, -32], [0, 0, 0, 1]])
)
TURN = Affine(np.array([[0.98, -0.17, 0, 2], [0.17, 0.98, 0, -1], [0, 0, 1.03, 1], [0, 0, 0, 1.0]]))
WAVES = DisplacementField(1.5 * np.sin(FIXED.points_mm() / 9 + [0, 1, 2]), FIXED)
START = densify(Chain((WAVES, TURN)), FIXED)
"""A map that turns and bends, on the grid of the fixed scan."""


def ball(grid, mapped=lambda points: points):
    points = mapped(grid.points_mm())
    inside = np.linalg.norm(points / (24, 22, 20), axis=-1) < 1
    return np.where(inside, 300 + 60 * np.sin(points / 6).sum(axis=-1), 0).astype(np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two scans between which START leads, and START in several formats."""
    folder = tmp_path_factory.mktemp("bent")
    back = de.Transform(START).inverse.mapping
    io.write_image(folder / "fixed.nii.gz", Image(ball(FIXED), FIXED))
    io.write_image(folder / "moving.nii.gz", Image(ball(MOVING, back), MOVING))
    io.write_displacement(folder / "field.nii.gz", START)
    write_fnirt(folder / "fsl.nii.gz", START, FIXED, MOVING)
    composite = sitk.CompositeTransform(3)
    composite.AddTransform(de.Transform(TURN).to_itk())
    composite.AddTransform(de.Transform(WAVES).to_itk())
    sitk.WriteTransform(composite, str(folder / "composite.h5"))
    return folder


def register(folder, out, init, *options, method="identity"):
    scans = [str(folder / f"{side}.nii.gz") for side in ("fixed", "moving")]
    line = ["register", *scans, "-o", str(out), "--threads", "1", "--init", str(init)]
    return main([*line, "--method", method, *options])


@pytest.mark.parametrize("name", ["field.nii.gz", "composite.h5", "fsl.nii.gz"])
def test_a_start_without_a_deformation_is_the_whole_map(folder, tmp_path, name):
    out = tmp_path / "out"
    assert register(folder, out, folder / name) == 0
    # Between the voxels a composite is bent and a sampled field straight, so voxels are compared.
    warp = io.read_displacement(out / "warp.nii.gz")
    np.testing.assert_allclose(warp.displacement_mm, START.displacement_mm, atol=1e-4)
    inner = ndimage.binary_erosion(ball(MOVING) > 0, iterations=2)
    inverse = io.read_displacement(out / "inverse_warp.nii.gz")
    here = MOVING.points_mm()[inner]
    exact = name != "composite.h5"
    there = START(inverse(here)) if exact else TURN(WAVES(inverse(here)))
    np.testing.assert_allclose(there, here, atol=5e-3)
    warped = io.read_image(out / "warped.nii.gz").data
    moving = io.read_image(folder / "moving.nii.gz")
    np.testing.assert_allclose(warped, warp_image(moving, warp, FIXED).data, atol=1e-3)
    record = json.loads((out / "metrics.json").read_text())
    assert record["start_bends"] is True
    np.testing.assert_allclose(record["alignment"], nearest_affine(START).matrix, atol=1e-4)
    assert record["metrics"]["nmi"] == pytest.approx(record["metrics"]["nmi_before"], abs=2e-3)
    assert record["metrics"]["nmi"] > 1.2
    assert not (out / "affine.txt").exists()


def test_a_deformation_is_composed_with_the_start(folder, tmp_path, monkeypatch):
    """What the method finds is passed first, and the inverse undoes both."""
    from diffeode.methods.identity import Identity
    from diffeode.registration.base import Registration

    found = DisplacementField(0.8 * np.cos(FIXED.points_mm() / 11 + [2, 0, 1]), FIXED)
    seen = []

    def register_pair(self, pair, machine):
        seen.append(pair)
        return Registration(found)

    monkeypatch.setattr(Identity, "register", register_pair)
    assert register(folder, tmp_path / "out", folder / "field.nii.gz") == 0
    aligned = warp_image(io.read_image(folder / "moving.nii.gz"), START, FIXED).data
    both = ndimage.binary_erosion(seen[0].moving_mask & (aligned > 0), iterations=2)
    assert np.corrcoef(seen[0].moving.data[both], aligned[both])[0, 1] > 0.999
    warp = io.read_displacement(tmp_path / "out" / "warp.nii.gz")
    points = FIXED.points_mm()
    np.testing.assert_allclose(warp(points), START(found(points)), atol=1e-4)
    inner = ndimage.binary_erosion(ball(MOVING) > 0, iterations=3)
    back = io.read_displacement(tmp_path / "out" / "inverse_warp.nii.gz")(MOVING.points_mm()[inner])
    missed = np.linalg.norm(START(found(back)) - MOVING.points_mm()[inner], axis=-1)
    assert np.median(missed) < 0.1
    assert np.quantile(missed, 0.99) < 1


def test_the_library_and_a_folder_start_alike_and_the_page_is_made_again(folder, tmp_path):
    out = tmp_path / "out"
    assert register(folder, out, folder / "field.nii.gz", "--report") == 0
    again = tmp_path / "again"
    assert register(folder, again, out) == 0
    maps = [io.read_displacement(o / "warp.nii.gz").displacement_mm for o in (out, again)]
    np.testing.assert_allclose(*maps, atol=1e-4)
    done = de.register(
        folder / "fixed.nii.gz",
        folder / "moving.nii.gz",
        method="identity",
        init=de.Transform(START),
        threads=1,
    )
    grid_points = FIXED.points_mm()
    np.testing.assert_allclose(done.transform.map(grid_points), START(grid_points), atol=1e-4)
    page = (out / "report.html").read_bytes()
    assert b"moving, after the start" in page
    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    assert (out / "report.html").read_bytes() == page


def test_slices_start_from_a_field_too(tmp_path):
    grid = Grid((40, 44, 1), RAS_TO_LPS)
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 44)), 2)
    x, y = np.meshgrid(np.arange(40) - 20, np.arange(44) - 22, indexing="ij")
    tissue = np.where(np.hypot(x, y) < 15, 200 + 300 * noise, 0)[..., None]
    for name in ("fixed", "moving"):
        io.write_image(tmp_path / f"{name}.nii.gz", Image(tissue, grid))
    bent = np.zeros((40, 44, 1, 3))
    bent[..., 0, 0], bent[..., 0, 1] = np.sin(y / 7), np.cos(x / 8)
    io.write_displacement(tmp_path / "field.nii.gz", DisplacementField(bent, grid))
    assert register(tmp_path, tmp_path / "out", tmp_path / "field.nii.gz") == 0
    found = io.read_displacement(tmp_path / "out" / "warp.nii.gz").displacement_mm
    np.testing.assert_allclose(found, bent, atol=1e-4)


# ---------------------------------------------------------------------------------------- refusals


def folding():
    vectors = START.displacement_mm.copy()
    vectors[11, 10, 9, 0] += 20
    return DisplacementField(vectors, FIXED)


def elsewhere():
    place = FIXED.affine.copy()
    place[0, 3] += 60
    return DisplacementField(START.displacement_mm, Grid(FIXED.shape, place))


def bad_starts(folder):
    io.write_displacement(folder / "folds.nii.gz", folding())
    io.write_displacement(folder / "far.nii.gz", elsewhere())
    away = DisplacementField(START.displacement_mm + np.float32(500), FIXED)
    io.write_displacement(folder / "away.nii.gz", away)
    (folder / "torn.nii.gz").write_bytes((folder / "field.nii.gz").read_bytes()[:3000])
    import nibabel as nib

    coefficients = nib.load(folder / "fsl.nii.gz")
    coefficients.header["intent_code"] = 2007
    nib.save(coefficients, folder / "coefficients.nii.gz")
    spline = sitk.BSplineTransform(3)
    sitk.WriteTransform(spline, str(folder / "spline.h5"))


def test_a_start_that_cannot_be_used_is_refused_before_anything_is_done(folder, tmp_path, capsys):
    bad_starts(folder)
    for name, said in (
        ("folds.nii.gz", "folds at"),
        ("far.nii.gz", "is not known in"),
        ("away.nii.gz", "wholly outside|is not found in"),
        ("torn.nii.gz", "torn.nii.gz"),
        ("moving.nii.gz", "is not an ITK displacement field"),
        ("coefficients.nii.gz", "fnirtfileutils"),
        ("spline.h5", "spline.h5"),
    ):
        assert register(folder, tmp_path / "out", folder / name) == 2, name
        text = capsys.readouterr().err
        assert any(part in text for part in said.split("|")), text
        assert text.count("\n") == 1
    for name in ("nowhere.nii.gz", tmp_path):
        with pytest.raises(SystemExit, match="2"):
            register(folder, tmp_path / "out", name)
        assert "is no file and no kind of start" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_inverse_that_is_none_is_refused():
    """The map back of a folder may be that of another registration."""
    other = de.Transform(START, DisplacementField(np.zeros((*MOVING.shape, 3)), MOVING))
    images = (Image(ball(grid), grid) for grid in (FIXED, MOVING))
    with pytest.raises(de.InputError, match="no map back could be delivered"):
        BentStart.of(other, *images)


def test_a_result_never_replaces_the_folder_that_it_starts_from(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert register(folder, out, folder / "field.nii.gz") == 0
    before = (out / "warp.nii.gz").read_bytes()
    capsys.readouterr()
    assert register(folder, out, out) == 2
    assert "would be replaced by the result" in capsys.readouterr().err
    assert (out / "warp.nii.gz").read_bytes() == before
