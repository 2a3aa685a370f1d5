"""Slices at the desk: pictures and NIfTI become maps, a warped picture in its own colours, metrics
and a picture; what cannot be used is said in one sentence.
"""

import base64
import io as io_of_bytes
import json
import re

import nibabel as nib
import numpy as np
import PIL.Image
import pytest
import SimpleITK
from browser import CHROMIUM, WITHOUT, opened
from scipy import ndimage

from diffeode.cli import main
from diffeode.desk.inputs import read_inputs
from diffeode.desk.registration import prepared_task
from diffeode.errors import InputError
from diffeode.figures.page_slices import view_of_slices
from diffeode.figures.slice_panel import SliceScene
from diffeode.files import io
from diffeode.files.pictures import read_picture
from diffeode.files.slices import read_slice, read_slice_labels
from diffeode.geometry.space import Grid, flip_ras_lps
from diffeode.geometry.transform import Affine, DisplacementField
from diffeode.registration.base import Machine

SHAPE = (64, 72)
STAINS = {
    "pink": np.array([[60, 150, 90], [30, 20, 60]]),
    "brown": np.array([[40, 110, 160], [90, 60, 20]]),
}
"""Two dyes a stain: how much red, green and blue each takes away."""
SHIFT = (4, -3)


def tissue(shift=(0, 0)):
    """Return the density of tissue ``(X, Y)``; its points lie ``shift`` further along."""
    x, y = SHAPE
    noise = np.random.default_rng(1).normal(size=(x + 40, y + 40))
    texture = ndimage.gaussian_filter(noise, 2)[20 - shift[0] :, 20 - shift[1] :][:x, :y]
    i, j = np.meshgrid(np.arange(x) - shift[0], np.arange(y) - shift[1], indexing="ij")
    disc = ((i - x / 2) / (0.34 * x)) ** 2 + ((j - y / 2) / (0.36 * y)) ** 2 < 1
    return np.where(disc, 0.4 + np.clip(6 * texture, 0, 1), 0)


def stained(density, stain):
    """Return a picture in colours on white, ``(Y, X, 3)`` uint8."""
    first, second = STAINS[stain]
    taken = density[..., None] * first + (density[..., None] ** 2) * second
    return np.clip(245 - 0.7 * taken, 0, 255).astype(np.uint8).transpose(1, 0, 2)


@pytest.fixture
def files(tmp_path):
    fixed, moving = tmp_path / "fixed.png", tmp_path / "moving.tif"
    PIL.Image.fromarray(stained(tissue(), "pink")).save(fixed)
    PIL.Image.fromarray(stained(tissue(SHIFT), "brown")).save(moving)
    return fixed, moving


def register(fixed, moving, out, *options):
    return main(["register", str(fixed), str(moving), "-o", str(out), "--threads", "1", *options])


FEW = ["--set", "levels.factors=[2]", "--set", "levels.iterations=[10]"]
ENOUGH = ["--set", "levels.factors=[4,2]", "--set", "levels.iterations=[40,30]"]


def test_two_stains_become_maps_and_pictures(files, tmp_path):
    out = tmp_path / "out"
    assert register(*files, out, *FEW) == 0
    names = {"warp.nii.gz", "inverse_warp.nii.gz", "warped.nii.gz", "warped.tif"}
    assert names | {"metrics.json", "overview.png"} <= {path.name for path in out.iterdir()}

    displacement = flip_ras_lps(io.read_displacement(out / "warp.nii.gz").displacement_mm)
    inside = ndimage.binary_erosion(tissue() > 0, iterations=3)
    assert np.median(displacement[inside][:, 0, :2], axis=0) == pytest.approx(SHIFT, abs=0.4)
    back = flip_ras_lps(io.read_displacement(out / "inverse_warp.nii.gz").displacement_mm)
    assert np.median(back[inside][:, 0, :2], axis=0) == pytest.approx(np.negative(SHIFT), abs=0.4)

    warped = np.asarray(PIL.Image.open(out / "warped.tif"))
    expected = stained(tissue(), "brown")
    assert (warped.shape, warped.dtype) == (expected.shape, expected.dtype)
    assert np.abs(warped.astype(float) - expected)[inside.T].mean() < 8
    assert (warped[0] == warped[0, 0]).all(), "the background is not of one colour"
    assert warped[0, 0].min() > 235

    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["metrics"]["folds_onesided_grid_percent"] == 0
    assert metrics["metrics"]["nmi"] > metrics["metrics"]["nmi_before"] - 0.05
    assert not metrics["suspect"], metrics["verdict"]
    assert PIL.Image.open(out / "overview.png").size[0] > 1000

    transform = SimpleITK.DisplacementFieldTransform(
        SimpleITK.ReadImage(str(out / "warp.nii.gz"), SimpleITK.sitkVectorFloat64)
    )
    moving = SimpleITK.GetImageFromArray(read_slice(files[1]).image.data[..., 0].T)
    itk = SimpleITK.GetArrayFromImage(SimpleITK.Resample(moving, moving, transform))
    ours = nib.load(out / "warped.nii.gz").get_fdata()[..., 0].T
    assert np.abs(itk - ours).max() < 0.05


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_of_one_layer_keeps_its_layout(axis, tmp_path):
    affine = np.diag([0.5, 0.6, 0.7, 1.0])
    affine[:3, 3] = 3, -8, 12
    paths = tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz"
    for path, density in zip(paths, (tissue(), 1.3 * tissue(SHIFT)), strict=True):
        data = np.expand_dims(density.astype(np.float32), axis)
        nib.save(nib.Nifti1Image(data, affine), path)
    out = tmp_path / "out"
    assert register(*paths, out, *ENOUGH, "--init", "identity") == 0
    warped = nib.load(out / "warped.nii.gz")
    assert warped.shape == nib.load(paths[0]).shape
    assert warped.affine == pytest.approx(affine, abs=1e-5)
    warp = io.read_displacement(out / "warp.nii.gz")
    assert np.abs(warp.displacement_mm[..., axis]).max() < 1e-4
    moved = np.squeeze(warp.grid.vectors_to_voxel(warp.displacement_mm), axis)
    inside = ndimage.binary_erosion(tissue() > 0, iterations=3)
    assert np.median(np.delete(moved[inside], axis, -1), axis=0) == pytest.approx(SHIFT, abs=0.5)


def test_an_image_of_two_axes_and_label_maps(files, tmp_path):
    labels = []
    for name, shift in (("fixed", (0, 0)), ("moving", SHIFT)):
        path = tmp_path / f"{name}_labels.png"
        PIL.Image.fromarray((7 * (tissue(shift) > 0)).astype(np.uint8).T).save(path)
        labels.append(path)
    flat = tmp_path / "flat.nii.gz"
    image = SimpleITK.GetImageFromArray(tissue(SHIFT).T)
    SimpleITK.WriteImage(image, str(flat))
    out = tmp_path / "out"
    options = ["--labels", str(labels[1]), "--fixed-labels", str(labels[0])]
    assert register(files[0], flat, out, *FEW, *options) == 0
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["dice_by_label"]["7"] > 0.95
    assert set(np.unique(nib.load(out / "warped_labels.nii.gz").get_fdata())) == {0, 7}


# ----------------------------------------------------------------------------------- kinds of files


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("grey.png", np.arange(20 * 24).reshape(20, 24).astype(np.uint8)),
        ("deep.tif", (100 * np.arange(20 * 24)).reshape(20, 24).astype(np.uint16)),
        ("fractions.tif", np.linspace(-1, 1, 20 * 24).reshape(20, 24).astype(np.float32)),
        ("colour.tiff", np.arange(20 * 24 * 3).reshape(20, 24, 3).astype(np.uint8)),
        ("opacity.png", np.arange(20 * 24 * 4).reshape(20, 24, 4).astype(np.uint8)),
    ],
)
def test_pictures_are_read_and_written_as_they_are(name, values, tmp_path):
    from diffeode.files.pictures import write_picture

    PIL.Image.fromarray(values).save(tmp_path / name)
    picture = read_picture(tmp_path / name)
    assert np.array_equal(np.squeeze(picture.values.swapaxes(0, 1)), values)
    write_picture(tmp_path / f"again_{name}", picture)
    assert np.array_equal(read_picture(tmp_path / f"again_{name}").values, picture.values)
    assert picture.values.dtype == values.dtype


def test_a_camera_s_picture_is_turned_upright(tmp_path):
    values = np.zeros((20, 30), np.uint8)
    values[:5] = 200
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # turned by a quarter to the right
    PIL.Image.fromarray(values).save(tmp_path / "turned.png", exif=exif)
    picture = read_picture(tmp_path / "turned.png")
    assert picture.values.shape == (20, 30, 1)
    assert (picture.values[-5:] == 200).all()


# ----------------------------------------------------------------------------------------- refusals


def broken(tmp_path, kind):
    path = tmp_path / f"{kind}.png"
    noise = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    good = PIL.Image.fromarray(noise)
    if kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("no picture")
    elif kind == "truncated":
        good.save(path)
        path.write_bytes(path.read_bytes()[:900])
    elif kind == "constant":
        PIL.Image.new("L", (40, 50), 7).save(path)
    elif kind == "small":
        good.resize((9, 50)).save(path)
    elif kind == "gif":
        good.save(path, format="GIF")
    elif kind == "pages":
        path = tmp_path / "pages.tif"
        good.save(path, save_all=True, append_images=[good])
    elif kind == "volume":
        path = tmp_path / "volume.nii.gz"
        nib.save(nib.Nifti1Image(np.ones((9, 9, 9), np.float32), np.eye(4)), path)
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "There is no file"),
        ("empty", "is empty"),
        ("text", "cannot be read as a picture"),
        ("truncated", "is truncated or damaged"),
        ("constant", "is constant"),
        ("small", "a slice needs at least 16"),
        ("gif", "is a GIF file by its content"),
        ("pages", "holds 2 pictures"),
        ("volume", "is a volume; give two slices or two volumes"),
    ],
)
@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_what_cannot_be_used_is_said_in_one_sentence(kind, sentence, side, files, tmp_path, capfd):
    bad = broken(tmp_path, kind)
    pair = (bad, files[1]) if side == "fixed" else (files[0], bad)
    assert register(*pair, tmp_path / "out") == 2
    said = capfd.readouterr().err
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_label_map_of_another_size_and_a_volume_fit_no_slice(files, tmp_path):
    small = tmp_path / "small.png"
    PIL.Image.fromarray(np.full((20, 24), 7, np.uint8)).save(small)
    grid = read_slice(files[0]).image.grid
    with pytest.raises(InputError, match=r"small\.png does not lie on .*fixed\.png; resample it"):
        read_slice_labels(small, grid, files[0], None)
    with pytest.raises(InputError, match=r"its shape is \(9, 9, 9\), .*; give a picture"):
        read_slice(broken(tmp_path, "volume"))


def test_a_method_that_takes_volumes_only_is_refused_before_anything_is_done(
    files, tmp_path, capfd
):
    assert register(*files, tmp_path / "out", "--method", "convexadam") == 2
    assert "registers volumes, and this pair consists of slices" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


# ------------------------------------------------------------------------------- starts and masks


def itk_affine(path):
    return SimpleITK.ReadTransform(str(path))


@pytest.mark.parametrize("start", ["rigid", "centre", "identity"])
def test_slices_start_as_they_are_told(start, files, tmp_path):
    out = tmp_path / "out"
    assert register(*files, out, "--init", start, "--method", "identity") == 0
    transform = itk_affine(out / "affine.txt")
    assert transform.GetDimension() == 2
    moved = np.array(transform.TransformPoint((30.0, 40.0))) - (30, 40)
    expected = (0, 0) if start == "identity" else SHIFT
    assert moved == pytest.approx(expected, abs=0 if start == "identity" else 0.8)
    again = tmp_path / "again"
    own = ["--init", str(out / "affine.txt")]
    assert register(*files, again, *own, "--method", "identity") == 0
    maps = [io.read_displacement(o / "warp.nii.gz").displacement_mm for o in (out, again)]
    assert maps[0] == pytest.approx(maps[1], abs=1e-4)


def test_a_mask_of_a_slice_leaves_pixels_out(files, tmp_path):
    mask = np.ones(SHAPE[::-1], np.uint8)
    mask[28:42, 24:38] = 0
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    spot = np.asarray(PIL.Image.open(files[0])).copy()
    spot[30:40, 26:36] = 250
    PIL.Image.fromarray(spot).save(files[0])
    inputs = read_inputs(*files, None, None, fixed_mask=tmp_path / "mask.png")
    task = prepared_task(inputs, "identity", Machine())
    assert np.array_equal(task.counts[..., 0], mask.T > 0)
    plain = prepared_task(read_inputs(*files, None, None), "identity", Machine())
    kept = mask.T > 0
    assert ((task.fixed.data[kept] > 0) == (plain.fixed.data[kept] > 0)).mean() > 0.96
    assert task.fixed.data[30, 34] > 0.2, "the spot was not filled from around the mask"


# ---------------------------------------------------------------------------------------- the page


@pytest.fixture
def paged(files, tmp_path):
    """The folder of a registration of two pictures with its page."""
    out = tmp_path / "out"
    quick = ["--method", "identity", "--init", "identity", "--report"]
    assert register(*files, out, *quick) == 0
    return out


def test_the_page_of_slices_speaks_of_slices_and_is_made_again(paged, capsys):
    page = (paged / "report.html").read_text(encoding="utf-8")
    shown = " ".join(page.partition("<script>")[0].split())
    for words in (
        'moving.tif <span class="soft">registered to</span> fixed.png',
        "diffeode apply warp.nii.gz SLICE.png -o on_fixed.png",
        "diffeode points warp.nii.gz landmarks.csv -o in_moving.csv",
        "x counts columns to the right, y counts rows downwards",
        "Change of area",
        "overlap of the two tissues",
        "warped.tif",
        f"diffeode register {paged.parent / 'fixed.png'}",
    ):
        assert words in shown, words
    for words in ("brain", "voxel", "Radiological", " mm)"):
        assert words not in shown.replace("as 1 mm", ""), words
    assert page.count('data-is="after"') == 1
    assert (paged / "report.html").stat().st_size < 3e6
    (paged / "report.html").unlink()
    assert main(["report", str(paged)]) == 0
    assert (paged / "report.html").read_text(encoding="utf-8") == page


def test_the_pictures_of_a_page_lie_as_the_slices_do(tmp_path):
    """A mark in one corner is in that corner of the page, in pictures and in upright slices."""
    for axes, corner in (
        (((-1, 0, 0), (0, -1, 0), (0, 0, 1)), (0, 0)),  # a picture: columns, rows
        (((0, -1, 0), (-1, 0, 0), (0, 0, 1)), (0, 0)),  # rows first
        (((1, 0, 0), (0, 0, 1), (0, 1, 0)), (1, 1)),  # coronal: to the right, upwards
    ):
        affine = np.eye(4)
        affine[:3, :3] = np.array(axes).T
        grid = Grid((24, 30, 1), affine)
        fixed = np.full((24, 30), 0.2)
        fixed[:4, :4] = 1  # at the first pixel
        field = DisplacementField(np.zeros((24, 30, 1, 3)), grid)
        tissue = np.ones((24, 30), bool)
        scene = SliceScene(grid, fixed, fixed, fixed, tissue, field, Affine(), "mm")
        view = view_of_slices(scene, 1000)
        encoded = view.slices[0].fixed.partition(",")[2]
        rows = np.asarray(PIL.Image.open(io_of_bytes.BytesIO(base64.b64decode(encoded))))
        assert abs(view.width / view.height - rows.shape[1] / rows.shape[0]) < 0.01
        bright = [0 if n.mean() < 12 else 1 for n in np.nonzero(rows > 150)]
        assert bright == list(corner), axes
        numbers = re.search(r"M(\d+) (\d+)", view.slices[0].contours)
        assert numbers, "the mark has a contour"


@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT)
def test_the_page_of_slices_works_in_a_browser(paged, tmp_path):
    page = (paged / "report.html").read_text(encoding="utf-8")
    use = """<script>window.addEventListener("load", () => {
      const shown = [...document.querySelectorAll("#scans .slice.shown img")]
        .filter((image) => !image.hidden && image.complete && image.naturalWidth).length;
      document.querySelectorAll("#pair input")[1].click();
      const split = document.getElementById("split");
      split.value = 20; split.dispatchEvent(new Event("input", { bubbles: true }));
      const left = document.querySelector("#scans .left:not([hidden])");
      document.body.dataset.said = [shown, left.dataset.is, getComputedStyle(left).clipPath]
        .join(";");
    });</script>"""
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{use}</body>"), encoding="utf-8")
    document = opened(tmp_path / "page.html", tmp_path / "browser")
    assert 'data-ready="1"' in document
    assert 'data-said="2;fixed;inset(0px 80% 0px 0px)"' in document
