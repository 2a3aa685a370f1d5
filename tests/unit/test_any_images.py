"""Any two images at the desk: what they show is found, masks leave voxels out, starts are taken.

The images are made of smooth noise on tiny grids; the rules of the background are asked on real
heads and crops as well.
"""

import itertools
import json
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage

from diffeode.cli import main
from diffeode.desk.inputs import Inputs
from diffeode.desk.registration import register_images
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.linear import read_linear
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid, flip_ras_lps
from diffeode.geometry.transform import Affine, DisplacementField, warp_image
from diffeode.prepare import side as sides
from diffeode.prepare.choices import STARTS
from diffeode.prepare.foreground import found_foreground
from diffeode.prepare.scan import prepare_image
from diffeode.prepare.side import align_sides, prepared_side
from diffeode.prepare.together import Side
from diffeode.registration.base import Machine, Pair
from diffeode.registration.runs import load_run

GRID = Grid((30, 28, 26), np.diag([-2.0, 2.0, 2.0, 1.0]))
CHANCE = np.random.default_rng(5)
RADIUS = np.linalg.norm(GRID.points_mm() - GRID.centre_mm, axis=-1)
BALL = RADIUS < 21
LESION = np.linalg.norm(GRID.points_mm() - GRID.centre_mm - [6, 0, 0], axis=-1) < 6


def texture(seed: int) -> np.ndarray:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=GRID.shape), 1.5)
    return 300 + 1000 * noise


CROP = Image(texture(0), GRID)
BRAIN = Image(np.where(BALL, np.maximum(texture(0), 1), 0), GRID)
AIR = np.abs(CHANCE.normal(0, 8, GRID.shape))
HEAD = Image(np.where(RADIUS < 24, 200 + 0.7 * texture(0), AIR), GRID)
CT = Image(
    np.where(
        np.linalg.norm((GRID.points_mm() - GRID.centre_mm)[..., :2], axis=-1) > 27,
        -2048,
        np.where(BALL, texture(0) - 250, -1000 + AIR),
    ),
    GRID,
)
KINDS = {"crop": CROP, "brain": BRAIN, "head": HEAD, "CT": CT}
SHOWN = {"crop": np.ones(GRID.shape, bool), "brain": BALL, "head": RADIUS < 24, "CT": BALL}
WAVE = DisplacementField(
    1.5 * np.sin(GRID.points_mm() / 8)[..., [1, 2, 0]].astype(np.float32), GRID
)
QUICK = load_run("node").changed({"levels.factors": [2.0], "levels.iterations": [8]})


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def registered(inputs: Inputs, start="identity", run=QUICK):
    return register_images(run, inputs, Machine(1, 0), start)


# ---------------------------------------------------------------------------------- the background


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_image_shows_is_found(kind):
    assert dice(found_foreground(KINDS[kind]), SHOWN[kind]) > 0.97


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("factor", "shift"), [(1, -1024), (0.01, 7)])
def test_units_of_intensity_do_not_matter(kind, factor, shift):
    image = KINDS[kind]
    other = Image(factor * image.data + shift, GRID)
    one, two = (prepared_side(i, "it").image.data for i in (image, other))
    assert dice(one > 0, two > 0) > 0.995
    both = (one > 0) & (two > 0)
    np.testing.assert_allclose(one[both], two[both], atol=0.01)


def test_skull_stripped_brains_are_prepared_as_ever():
    image, _ = prepare_image(BRAIN, "it")
    side = prepared_side(BRAIN, "it")
    np.testing.assert_array_equal(side.image.data, image.data)
    assert (side.counts, side.cut_off) == (None, False)


def test_a_whole_head_is_told_by_its_volume_and_a_brain_of_that_volume_is_none(monkeypatch):
    monkeypatch.setattr(sides, "_HEAD_ML", (30.0, 100.0))
    images = {**KINDS, "small": Image(np.where(RADIUS < 12, HEAD.data, AIR), GRID)}
    found = {
        kind: sides.looks_like_a_head(image, prepared_side(image, "it").image)
        for kind, image in images.items()
    }
    assert found == {"crop": False, "brain": False, "head": True, "CT": True, "small": False}


def test_nothing_is_background_where_that_is_chosen():
    assert (prepared_side(HEAD, "it", "none").image.data > 0).all()


def test_real_heads_crops_and_brains_are_told_apart(real_data_root):
    shares = {
        pattern: [
            found_foreground(io.read_image(path)).mean()
            for path in itertools.islice(sorted(real_data_root.glob(pattern)), 2)
        ]
        for pattern in (
            "ixi2mm/*/anat/*_T1w.nii.gz",
            "hippocampus/images/*.nii.gz",
            "openms-raw/patient01/study2_T1W.nii.gz",
        )
    }
    assert all(shares.values())
    heads, crops, thick = shares.values()
    assert 0.3 < min(*heads, *thick) <= max(*heads, *thick) < 0.55
    assert min(crops) == 1


def test_skulls_are_stripped_first_where_that_is_asked_for(monkeypatch):
    heads = {"one": HEAD, "other": warp_image(HEAD, WAVE, GRID)}
    seen = []

    def brain(image, name, resources):
        seen.append((image, name, resources.threads))
        return BALL

    monkeypatch.setattr(sides, "find_brain", brain)
    found = registered(Inputs(*heads.values(), *heads, brain=True), run=load_run("identity"))
    assert seen == [(image, name, 1) for name, image in heads.items()]
    for image in (found.task.fixed, found.task.moving):
        np.testing.assert_array_equal(image.data > 0, BALL)
    plain = registered(Inputs(*heads.values()), run=load_run("identity")).task.fixed
    assert (plain.data > 0).sum() > 1.2 * BALL.sum()


def test_skin_and_electrodes_have_no_influence_once_skulls_are_stripped(monkeypatch):
    """Noise stands for skin, and bright spots on the surface for electrodes."""
    monkeypatch.setattr(sides, "find_brain", lambda image, name, resources: BALL)
    shell = (RADIUS >= 21) & (RADIUS < 27)
    electrodes = shell & (texture(7) > 420)
    assert electrodes.sum() > 50
    pairs = [(HEAD, warp_image(HEAD, WAVE, GRID))]
    pairs.append(tuple(Image(np.where(electrodes, 3000, image.data), GRID) for image in pairs[0]))
    stripped, whole = (
        [registered(Inputs(*pair, brain=brain)).result.warp.displacement_mm for pair in pairs]
        for brain in (True, False)
    )
    np.testing.assert_array_equal(*stripped)
    assert np.abs(np.subtract(*whole)).max() > 0.1, "they matter where they are not stripped"


OFFER = "both images look like whole heads; --brain strips their skulls first"


def test_skull_stripping_is_offered_where_two_heads_come_in(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sides, "_HEAD_ML", (30.0, 100.0))
    for name, image in (("fixed", HEAD), ("moving", warp_image(HEAD, WAVE, GRID))):
        io.write_image(tmp_path / f"{name}.nii.gz", image)
    line = ["register", *(str(tmp_path / f"{name}.nii.gz") for name in ("fixed", "moving"))]
    line += ["-o", str(tmp_path / "out"), "--method", "identity", "--init", "identity"]
    assert main([*line, "--threads", "1"]) == 0
    assert f"diffeode: {OFFER}\n" in capsys.readouterr().err
    assert OFFER in json.loads((tmp_path / "out" / "metrics.json").read_text())["notes"]


@pytest.mark.parametrize(
    ("fixed", "moving", "more"),
    [
        (HEAD, BRAIN, {}),
        (CROP, HEAD, {}),
        (HEAD, HEAD, {"fixed_mask": RADIUS < 22}),
        (HEAD, HEAD, {"moving_mask": "none"}),
        (HEAD, HEAD, {"brain": True}),
    ],
    ids=["a brain", "a crop", "a mask", "no background", "stripped"],
)
def test_skull_stripping_is_not_offered_where_it_makes_no_sense(fixed, moving, more, monkeypatch):
    monkeypatch.setattr(sides, "_HEAD_ML", (30.0, 100.0))
    monkeypatch.setattr(sides, "find_brain", lambda image, name, resources: BALL)
    run = QUICK.changed({"levels.factors": [4.0], "levels.iterations": [1]})
    assert OFFER not in registered(Inputs(fixed, moving, **more), run=run).result.notes


# ------------------------------------------------------------------------------------------- masks


@pytest.mark.parametrize("kind", ["brain", "head", "crop"])
def test_what_a_mask_leaves_out_has_no_influence(kind):
    fixed = KINDS[kind]
    moving = warp_image(fixed, WAVE, GRID)
    spoiled = [
        Image(np.where(LESION, CHANCE.uniform(-500, 3000, GRID.shape), image.data), GRID)
        for image in (fixed, moving)
    ]
    maps = []
    for pair in ((fixed, moving), spoiled):
        found = registered(Inputs(*pair, fixed_mask=~LESION, moving_mask=~LESION))
        assert not found.task.counts[LESION].any()
        maps.append(found.result.warp.displacement_mm)
    np.testing.assert_array_equal(*maps)
    free = registered(Inputs(*spoiled)).result.warp.displacement_mm
    assert np.abs(free - maps[0]).max() > 0.1, "the lesion matters where it is not left out"


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_a_mask_on_one_side_is_enough(side):
    moving = warp_image(BRAIN, WAVE, GRID)
    images = {"fixed": BRAIN, "moving": moving}
    truth = registered(Inputs(**images)).result.warp.displacement_mm
    images[side] = Image(np.where(LESION, 0, images[side].data), GRID)
    spoiled, masked = (
        np.abs(registered(Inputs(**images, **mask)).result.warp.displacement_mm - truth)[BALL]
        for mask in ({}, {f"{side}_mask": ~LESION})
    )
    assert masked.mean() < 0.5 * spoiled.mean()


@pytest.mark.parametrize("masked", [False, True])
def test_the_similarity_compares_only_what_counts(masked):
    """The difference of intensities looks at one voxel alone."""
    method = load_run("node-mono").changed(
        {
            "similarity": {"squared_difference": {"weight": 1.0}},
            "levels": {"factors": [1.0], "iterations": [4]},
            "masked": masked,
        }
    )
    moving = warp_image(BRAIN, WAVE, GRID)
    images = [Image(np.where(LESION, value, BRAIN.data) / 4000, GRID) for value in (50, 3500)]
    maps = {
        name: [
            method.build()
            .register(Pair(image, Image(moving.data / 4000, GRID), BALL, BALL, counts), Machine())
            .forward.displacement_mm
            for image in images
        ]
        for name, counts in (("all", None), ("without the lesion", ~LESION))
    }
    np.testing.assert_array_equal(*maps["without the lesion"])
    assert np.abs(np.subtract(*maps["all"])).max() > 0.1


def test_a_mask_that_leaves_nothing_out_changes_nothing():
    whole = prepared_side(HEAD, "it", np.ones(GRID.shape, bool))
    np.testing.assert_array_equal(whole.image.data, prepared_side(HEAD, "it").image.data)
    assert whole.counts is None


def test_a_lesion_leaves_no_edge():
    flat = Image(np.where(BALL, 500.0, 0) + np.where(RADIUS < 10, 400, 0), GRID)
    hole = np.linalg.norm(GRID.points_mm() - GRID.centre_mm - [15, 0, 0], axis=-1) < 4
    hole &= RADIUS > 11
    side = prepared_side(Image(np.where(hole, 3000, flat.data), GRID), "it", ~hole)
    np.testing.assert_allclose(side.image.data, prepared_side(flat, "it").image.data, atol=1e-6)


def test_a_run_that_cannot_use_a_mask_refuses_it():
    with pytest.raises(InputError, match=r"cannot leave out the voxels .* such as node"):
        registered(Inputs(BRAIN, BRAIN, fixed_mask=~LESION), run=load_run("greedy"))


# -------------------------------------------------------------------------------- fields of view


def test_beyond_a_field_of_view_that_cuts_tissue_off_nothing_counts():
    shift = np.eye(4)
    shift[0, 3] = 10
    found = align_sides(Side(CROP, None, True), Side(CROP, None, True), Affine(shift), 1, 0)
    beyond = GRID.to_voxel(Affine(shift)(GRID.points_mm()))[..., 0] < -0.5
    np.testing.assert_array_equal(found.counts, ~beyond)
    assert (found.image.data[beyond] != 0).any()


def test_a_brain_has_background_beyond_its_field_of_view():
    shift = np.eye(4)
    shift[0, 3] = 10
    found = align_sides(Side(BRAIN), Side(BRAIN), Affine(shift), 1, 0)
    assert found.counts is None
    np.testing.assert_array_equal(found.image.data, warp_image(BRAIN, Affine(shift), GRID).data)


def test_the_mask_of_the_moving_image_lies_where_the_start_puts_it():
    shift = np.eye(4)
    shift[0, 3] = 10
    found = align_sides(Side(BRAIN), Side(BRAIN, ~LESION), Affine(shift), 1, 0)
    np.testing.assert_array_equal(found.counts[5:], ~LESION[:-5])
    both = align_sides(Side(BRAIN, ~LESION), Side(BRAIN, ~LESION), Affine(shift), 1, 0)
    np.testing.assert_array_equal(both.counts, found.counts & ~LESION)


# ------------------------------------------------------------------------------------------ starts

TURN = SimpleITK.Euler3DTransform((1.0, 2.0, 3.0), 0.1, -0.2, 0.05, (4.0, -3.0, 2.0))
GROWN = SimpleITK.Similarity3DTransform(1.1, (0.0, 0.1, 0.0, 1.0), (2.0, 0.0, 1.0), (5.0, 0.0, 0.0))
SHEARED = SimpleITK.AffineTransform(
    (1.1, 0.1, 0.0, 0.0, 0.9, 0.1, 0.0, 0.05, 1.0), (1.0, 2.0, 3.0), (9.0, 0.0, 0.0)
)
POINTS = CHANCE.uniform(-60, 60, (20, 3))


@pytest.mark.parametrize("suffix", [".txt", ".tfm", ".mat"])
@pytest.mark.parametrize("transform", [TURN, GROWN, SHEARED], ids=["rigid", "similar", "affine"])
def test_a_transform_of_itk_is_read_as_itk_applies_it(transform, suffix, tmp_path):
    path = tmp_path / f"start{suffix}"
    SimpleITK.WriteTransform(transform, str(path))
    itk = [transform.TransformPoint(p) for p in flip_ras_lps(POINTS).tolist()]
    np.testing.assert_allclose(
        read_linear(path, GRID, GRID)(POINTS), flip_ras_lps(np.array(itk)), atol=1e-6
    )


OTHER = Grid((20, 24, 22), np.array([[0, 0, 3.0, -20], [2.5, 0, 0, 7], [0, 2, 0, 1], [0, 0, 0, 1]]))


@pytest.mark.parametrize(("fixed", "moving"), [(GRID, OTHER), (OTHER, GRID), (OTHER, OTHER)])
def test_a_matrix_of_flirt_maps_scaled_voxels(fixed, moving, tmp_path):
    """FSL's wiki: mm are voxels times their size, the first axis mirrored unless stored to the
    left.
    """
    matrix = np.array([[1.02, 0.1, 0, 5], [-0.1, 0.98, 0, -3], [0, 0, 1.1, 2], [0, 0, 0, 1.0]])
    np.savetxt(tmp_path / "flirt.mat", matrix)

    def scaled(grid, world):
        voxels = grid.to_voxel(world)
        if np.linalg.det(grid.affine[:3, :3]) > 0:
            voxels[:, 0] = grid.shape[0] - 1 - voxels[:, 0]
        return voxels * grid.spacing

    there = read_linear(tmp_path / "flirt.mat", fixed, moving)(POINTS)
    back = scaled(moving, there) @ matrix[:3, :3].T + matrix[:3, 3]
    np.testing.assert_allclose(back, scaled(fixed, POINTS), atol=1e-9)


def test_both_types_of_lta_are_one_map(tmp_path):
    to_fixed = np.array([[1.02, 0.1, 0, 5], [-0.1, 0.98, 0, -3], [0, 0, 1.1, 2], [0, 0, 0, 1.0]])
    in_voxels = np.linalg.inv(GRID.affine) @ to_fixed @ OTHER.affine
    for kind, matrix in ((1, to_fixed), (0, in_voxels)):
        rows = "\n".join(" ".join(f"{v:.17g}" for v in row) for row in matrix)
        path = tmp_path / f"type{kind}.lta"
        path.write_text(f"type      = {kind}\nnxforms   = 1\n1 4 4\n{rows}\nsrc volume info\n")
        found = read_linear(path, GRID, OTHER)
        np.testing.assert_allclose(found(to_fixed[:3, 3]), np.zeros(3), atol=1e-9)
        np.testing.assert_allclose(found.inverse().matrix, to_fixed, atol=1e-9)


def test_our_own_affine_is_read_back(tmp_path):
    affine = Affine(np.array([[1.1, 0.1, 0, 9], [0, 0.9, 0, 8], [0, 0, 1, 7], [0, 0, 0, 1]]))
    for write, name in ((io.write_affine, "ours.txt"), (io.write_itk_affine, "affine.txt")):
        write(tmp_path / name, affine)
        np.testing.assert_allclose(
            read_linear(tmp_path / name, GRID, OTHER).matrix, affine.matrix, atol=1e-9
        )


@pytest.fixture(scope="module")
def one_thread():
    """A process in which ITK uses one thread, so that ANTs finds the same every time.

    ITK keeps the number of threads of its first call, which in this process may be another test's.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        yield process


@pytest.mark.parametrize("start", STARTS)
def test_every_start_is_of_its_kind_and_lays_shifted_images_on_each_other(start, one_thread):
    turn = SimpleITK.Euler3DTransform((0.0, 0.0, 0.0), 0.0, 0.0, 0.15, (3.0, 0.0, 0.0))
    moved = np.eye(4)
    moved[:3, :3] = np.array(turn.GetMatrix()).reshape(3, 3)
    moved[:3, 3] = 3, -2, 0
    moving = warp_image(BRAIN, Affine(moved).inverse(), GRID)
    aligned = one_thread.submit(align_sides, Side(BRAIN), Side(moving), start, 1, 1).result()
    linear = aligned.to_scan.matrix[:3, :3]
    scales = np.linalg.svd(linear, compute_uv=False)
    if start in ("identity", "centre"):
        np.testing.assert_array_equal(linear, np.eye(3))
    if start in ("rigid", "similarity"):
        np.testing.assert_allclose(scales, scales[0], rtol=1e-4)
    if start == "rigid":
        assert scales[0] == pytest.approx(1, abs=1e-5)
    if start in ("rigid", "similarity", "affine"):
        np.testing.assert_allclose(linear, moved[:3, :3], atol=0.25 if start == "affine" else 0.05)


# ------------------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("any")
    io.write_image(root / "crop.nii.gz", CROP)
    io.write_image(root / "moving.nii.gz", warp_image(CROP, WAVE, GRID))
    io.write_labels(root / "mask.nii.gz", Labels(~LESION, GRID))
    io.write_labels(root / "labels.nii.gz", Labels(2 * LESION + BALL, GRID))
    io.write_labels(root / "ids.nii.gz", Labels(1 + LESION, GRID))
    io.write_labels(root / "empty.nii.gz", Labels(np.zeros(GRID.shape), GRID))
    io.write_labels(root / "elsewhere.nii.gz", Labels(np.ones(OTHER.shape), OTHER))
    away = GRID.affine.copy()
    away[0, 3] += 5
    io.write_labels(root / "away.nii.gz", Labels(~LESION, Grid(GRID.shape, away)))
    SimpleITK.WriteTransform(SimpleITK.AffineTransform(2), str(root / "flat.txt"))
    (root / "broken.lta").write_text("type = 1\n1 4 4\n1 0 0\n")
    for name in ("singular.mat", "frameless.txt"):
        (root / name).write_text("1 0 0 0\n0 0 0 0\n0 0 1 0\n0 0 0 1\n")
    (root / "notes.txt").write_text("no transform")
    (root / "words.lta").write_text("no transform")
    io.write_itk_affine(root / "whole.txt", Affine())
    text = (root / "whole.txt").read_text()
    (root / "cut.txt").write_text(text[: text.index("FixedParameters")])
    return root


def register(files: Path, out: Path, *options: str) -> int:
    pair = [str(files / name) for name in ("crop.nii.gz", "moving.nii.gz")]
    few = ["--set", "levels.factors=[4]", "--set", "levels.iterations=[2]", "--threads", "1"]
    return main(["register", *pair, "-o", str(out), *few, *options])


def test_the_affine_is_delivered_apart_and_starts_the_next_registration(files, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    mask = ("--fixed-mask", str(files / "mask.nii.gz"))
    assert register(files, first, "--init", "rigid", *mask) == 0
    assert register(files, second, "--init", str(first / "affine.txt"), *mask) == 0
    itk = [SimpleITK.ReadTransform(str(out / "affine.txt")) for out in (first, second)]
    reached = [[t.TransformPoint(p) for p in POINTS.tolist()] for t in itk]
    np.testing.assert_allclose(*reached, atol=1e-6)
    metrics = json.loads((second / "metrics.json").read_text())
    assert metrics["init"] == str(first / "affine.txt")
    assert metrics["fixed_mask"] == mask[1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--fixed-mask", "{}/empty.nii.gz"], "is empty"),
        (["--moving-mask", "{}/labels.nii.gz"], "holds 3 different values from 0 to 3"),
        (["--fixed-mask", "{}/ids.nii.gz"], "holds 2 different values from 1 to 2"),
        (["--moving-mask", "{}/crop.nii.gz"], "is no mask"),
        (["--fixed-mask", "{}/elsewhere.nii.gz"], "does not lie on the grid of its image"),
        (["--moving-mask", "{}/away.nii.gz"], "does not lie on the grid of its image"),
        (["--fixed-mask", "{}/nothing.nii.gz"], "nothing.nii.gz"),
        (["--init", "{}/broken.lta"], "cannot be read as a transform"),
        (["--init", "{}/words.lta"], "it has no type or no matrix); write it again."),
        (["--init", "{}/singular.mat"], "finite 4 x 4 matrix); write it again."),
        (["--init", "{}/frameless.txt"], "does not say in which frame"),
        (["--init", "{}/flat.txt"], "is a transform in 2-D; give a linear one, in 3-D for volumes"),
        (["--init", "{}/cut.txt"], "lacks some of its numbers"),
        (["--init", "{}/notes.txt"], "cannot be read as a transform of ITK"),
        (["--init", "{}/mask.nii.gz"], "is not an ITK displacement field"),
        (["--brain", "--fixed-mask", "none"], "leave out either --brain or"),
    ],
)
def test_bad_masks_and_starts_are_one_sentence_and_leave_nothing(
    options, sentence, files, tmp_path, capfd
):
    out = tmp_path / "out"
    assert register(files, out, *(word.format(files) for word in options)) == 2
    said = capfd.readouterr().err
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
    assert not out.exists()


def test_an_unknown_start_is_named_and_the_nearest_suggested(files, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        register(files, tmp_path / "out", "--init", "rigit")
    assert stopped.value.code == 2
    assert "did you mean 'rigid'" in capsys.readouterr().err
