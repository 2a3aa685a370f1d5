"""Several contrasts, labels, landmarks, stiff places and masks that follow the map, at the desk.

The images are made of smooth noise on tiny grids, or of nothing where labels or landmarks must do
all the work; real scans of two contrasts are registered at a coarse resolution.
"""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

import diffeode as de
from diffeode.cli import main
from diffeode.desk import account
from diffeode.desk.guides import Guides, Landmarks, OtherContrast
from diffeode.desk.inputs import Inputs
from diffeode.desk.registration import _prepared, register_images
from diffeode.errors import InputError
from diffeode.evaluation.jacobian import jacobian_metrics
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, warp_image, warp_labels
from diffeode.prepare import side as sides
from diffeode.registration import large_slices
from diffeode.registration.base import Machine, Pair
from diffeode.registration.guidance import Contrast, Guidance, LabelPair, takes_guidance
from diffeode.registration.harness import register as register_task
from diffeode.registration.registry import method_names
from diffeode.registration.runs import load_run

GRID = Grid((22, 20, 18), np.diag([-2.0, 2.0, 2.0, 1.0]))
OTHER = Grid((17, 16, 15), np.diag([-2.6, 2.5, 2.4, 1.0]))
POINTS = GRID.points_mm() - GRID.centre_mm
BALL = np.linalg.norm(POINTS, axis=-1) < 15
LESION = np.linalg.norm(POINTS - [5, 0, 0], axis=-1) < 5
WAVE = DisplacementField(
    1.6 * np.sin(GRID.points_mm() / 7)[..., [1, 2, 0]].astype(np.float32), GRID
)
QUICK = {"levels.factors": [2.0, 1.0], "levels.iterations": [12, 6]}
RUN = load_run("node-mind").changed(QUICK)
COARSE = load_run("node-mind").changed({"levels.factors": [2.0], "levels.iterations": [8]})


def texture(seed, grid=GRID):
    """A ball of smooth noise on background 0, the same at any voxel size."""
    chance = np.random.default_rng(seed)
    waves = chance.normal(0, 0.3, (30, 3))
    points = grid.points_mm() - GRID.centre_mm
    noise = np.sin(points @ waves.T + chance.uniform(0, 6, 30)).sum(axis=-1)
    ball = np.linalg.norm(points, axis=-1) < 15
    return Image(np.where(ball, 300 + 20 * noise, 0), grid)


def ball(at, radius):
    return np.linalg.norm(POINTS - at, axis=-1) < radius


FLAT = Image(np.where(BALL, 500.0 + 3 * ball(0, 13), 0), GRID)
"""A ball that shows nothing inside, where labels and landmarks lie."""
BRAIN = texture(1)


def registered(inputs, run=RUN, start="identity"):
    return register_images(run, inputs, Machine(1, 0), start)


def moved_by(found):
    return found.result.warp.displacement_mm


def folds(found):
    warp = found.result.warp
    return jacobian_metrics(warp, BALL, found.task.moving_to_scan)["folds_onesided_grid_percent"]


# ---------------------------------------------------------------------------------------- contrasts


def test_a_further_contrast_finds_what_the_first_does_not_show():
    """The first contrast is flat; the second lies on a grid of its own on the fixed side."""
    flat, moving = (warp_image(image, WAVE, GRID) for image in (FLAT, texture(2)))
    alone = registered(Inputs(texture(2), moving))
    other = OtherContrast(texture(2, OTHER), moving, "f2", "m2")
    guides = Guides((other,), (0.25, 0.75))
    both = registered(Inputs(FLAT, flat, "f", "m", guides=guides))
    nothing = registered(Inputs(FLAT, flat))
    inside = ball(0, 8)
    errors = [
        np.linalg.norm(moved_by(found) - moved_by(alone), axis=-1)[inside].mean()
        for found in (nothing, both)
    ]
    assert errors[1] < 0.6 * errors[0]
    assert folds(both) == 0
    said = "\n".join(both.result.notes)
    assert "mean over 2 contrasts with the shares 0.25, 0.75" in said
    assert "f2 lies on another grid than f" in said
    assert "m2 lies" not in said


def test_a_contrast_of_little_weight_counts_little():
    """Both extremes are the maps of one contrast alone."""
    one, two = texture(2), texture(3)
    back = DisplacementField(-WAVE.displacement_mm, GRID)
    moving = [warp_image(one, WAVE, GRID), warp_image(two, back, GRID)]
    pairs = ((one, moving[0]), (two, moving[1]))
    ends = [moved_by(registered(Inputs(*pair), COARSE)) for pair in pairs]
    assert np.abs(ends[0] - ends[1]).max() > 1
    for share, expected in ((1 - 1e-6, ends[0]), (1e-6, ends[1])):
        guides = Guides((OtherContrast(two, moving[1], "f2", "m2"),), (share, 1 - share))
        found = moved_by(registered(Inputs(one, moving[0], guides=guides), COARSE))
        assert np.abs(found - expected).max() < 0.05


def test_masks_and_the_start_hold_for_every_contrast():
    """What the masks leave out has no influence in any contrast, and further contrasts are brought
    through the start of the first one.
    """
    shift = np.eye(4)
    shift[1, 3] = 4
    moving = warp_image(BRAIN, Affine(np.linalg.inv(shift)), GRID)
    chance = np.random.default_rng(0)
    maps = []
    for spoil in (0, 2000):
        noise = spoil * LESION * chance.uniform(size=GRID.shape)
        fixed = Image(texture(4).data + noise, GRID)
        there = warp_image(texture(4), Affine(np.linalg.inv(shift)), GRID)
        guides = Guides((OtherContrast(fixed, there, "f2", "m2"),), (0.5, 0.5))
        inputs = Inputs(BRAIN, moving, fixed_mask=~LESION, guides=guides)
        maps.append(moved_by(registered(inputs, COARSE, Affine(shift))))
    np.testing.assert_array_equal(*maps)
    assert np.abs(maps[0] - shift[:3, 3])[BALL].mean() < 0.2


def test_skulls_of_further_contrasts_are_stripped_with_that_of_the_first(monkeypatch):
    monkeypatch.setattr(sides, "find_brain", lambda image, name, resources: BALL)
    head = Image(np.abs(texture(5).data) + 100, GRID)
    guides = Guides((OtherContrast(head, head, "f2", "m2"),), (0.5, 0.5))
    inputs = Inputs(head, head, brain=True, guides=guides)
    prepared = _prepared(inputs, "identity", Machine(), lambda stage: None)
    for contrast in prepared.guidance.contrasts:
        for image in (contrast.fixed, contrast.moving):
            np.testing.assert_array_equal(image.data > 0, BALL)
    assert prepared.guidance.contrasts[0].fixed is prepared.task.fixed


def newborn(root, subject):
    """T1w, T2w and labels of a newborn at 4 mm, all on one grid."""
    anatomy = root / "albert" / f"sub-{subject}" / "anat" / f"sub-{subject}"
    scans = [io.read_image(f"{anatomy}_{kind}.nii.gz") for kind in ("T1w", "T2w")]
    grid = scans[0].grid.resample(4.0)
    images = [Image(antialiased(scan.data, scan.grid, grid), grid) for scan in scans]
    return images, warp_labels(io.read_labels(f"{anatomy}_dseg.nii.gz"), Affine(), grid)


def test_two_contrasts_of_newborns_tell_more_than_either(real_data_root):
    (fixed, fixed_labels), (moving, labels) = (
        newborn(real_data_root, subject) for subject in ("01", "02")
    )
    start = de.register(fixed[0], moving[0], method="affine", threads=1).affine
    settings = {"levels.factors": [4.0, 2.0, 1.0], "levels.iterations": [12, 12, 6]}
    t1, t2, both = (
        de.register(
            *images,
            init=start,
            settings=settings,
            fixed_labels=fixed_labels,
            labels=labels,
            threads=1,
        ).metrics
        for images in ((fixed[0], moving[0]), (fixed[1], moving[1]), (fixed, moving))
    )
    assert both["dice"] > max(t1["dice"], t2["dice"]) + 0.003
    assert both["folds_onesided_grid_percent"] == 0


# -------------------------------------------------------------------------------- labels, landmarks


def test_labels_pull_where_the_images_show_nothing():
    labels = {
        "fixed_labels": Labels(7 * ball(0, 7) + 9 * ball([0, 0, 11], 2), GRID),
        "moving_labels": Labels(7 * ball([3, 2, 0], 7) + 4 * ball([0, 0, 11], 2), GRID),
    }
    free, pulled = (
        registered(Inputs(FLAT, FLAT, **labels, guides=Guides(label_weight=weight)))
        for weight in (0.0, 1.0)
    )
    dice = []
    for found in (free, pulled):
        fixed, warped = labels["fixed_labels"].data == 7, found.warped_labels.data == 7
        dice.append(2 * (fixed & warped).sum() / (fixed.sum() + warped.sum()))
    assert dice[0] < 0.75
    assert dice[1] > 0.9
    assert folds(pulled) == 0
    costs = [row["labels"] for row in pulled.result.trace if row["level"] == 2]
    assert min(costs) < costs[0]
    assert not any("labels" in row for row in free.result.trace)


def test_landmarks_pull_through_the_start():
    turn = np.array([[1.1, 0.1, 0, 2], [-0.1, 1.05, 0, -1], [0, 0, 0.95, 1], [0, 0, 0, 1]])
    start = Affine(turn)
    fixed_mm = GRID.centre_mm + np.array([[0, 0, 0], [8, 2, -3], [-7, 4, 5], [2, -8, 4.0]])
    aim = np.array([[2, 1, 0], [-1, 2, 1], [1, -2, 1], [0, 1, -2.0]])
    landmarks = Landmarks(fixed_mm, start(fixed_mm + aim), "f", "m")
    moving = warp_image(FLAT, start.inverse(), GRID)
    errors = {}
    for weight in (0.0, 1.0):
        guides = Guides(landmarks=landmarks, landmark_weight=weight)
        inputs = Inputs(FLAT, moving, guides=guides)
        found = registered(inputs, start=start)
        missed = found.result.warp(fixed_mm) - landmarks.moving_mm
        errors[weight] = np.linalg.norm(missed, axis=1).mean()
        assert folds(found) == 0
    assert errors[1.0] < 0.4 * errors[0.0]
    given = _prepared(inputs, start, Machine(1, 0), lambda stage: None).guidance.landmarks
    np.testing.assert_allclose(given.aligned_mm, fixed_mm + aim)
    np.testing.assert_array_equal(given.to_scan.matrix, turn)


def test_landmarks_of_a_shift_shift_the_whole_image():
    """The images are flat where the landmarks lie, so that these alone tell the shift."""
    shift = np.array([2.0, -1.0, 1.0])
    corners = np.stack(np.meshgrid(*[(-8.0, 0.0, 8.0)] * 3), axis=-1).reshape(-1, 3)
    fixed_mm = GRID.centre_mm + corners
    back = np.eye(4)
    back[:3, 3] = -shift
    moving = warp_image(FLAT, Affine(back), GRID)
    guides = Guides(landmarks=Landmarks(fixed_mm, fixed_mm + shift, "f", "m"), landmark_weight=1.0)
    found = registered(Inputs(FLAT, moving, guides=guides))
    apart = np.linalg.norm(moved_by(found) - shift, axis=-1)
    assert apart[ball(0, 11)].mean() < 0.2 * np.linalg.norm(shift)
    assert folds(found) == 0


def test_terms_without_a_weight_measure_and_leave_the_map_as_it_is():
    moving = warp_image(BRAIN, WAVE, GRID)
    plain = registered(Inputs(BRAIN, moving), COARSE)
    points = Landmarks(GRID.centre_mm + np.eye(3), GRID.centre_mm + 2 * np.eye(3), "f", "m")
    labels = {"fixed_labels": Labels(BALL, GRID), "moving_labels": Labels(BALL, GRID)}
    measured = registered(Inputs(BRAIN, moving, **labels, guides=Guides(landmarks=points)), COARSE)
    np.testing.assert_array_equal(moved_by(measured), moved_by(plain))
    assert measured.result.trace == plain.result.trace
    assert measured.result.notes == plain.result.notes
    metrics = de.RegistrationResult(measured, {}).metrics
    assert metrics["tre_before_mm"] == pytest.approx(1)
    expected = measured.result.warp(points.fixed_mm) - points.moving_mm
    assert metrics["tre_mm"] == pytest.approx(np.linalg.norm(expected, axis=1).mean())


# ---------------------------------------------------------------------------------- stiff, a mask


def test_a_stiff_place_moves_as_a_whole():
    """The images shear a region that a mask holds stiff; it may move, but not be deformed."""
    wave = DisplacementField(
        2.5 * np.sin(GRID.points_mm() / 4)[..., [1, 2, 0]].astype(np.float32), GRID
    )
    moving = warp_image(BRAIN, wave, GRID)
    core = ndimage.binary_erosion(LESION)
    spread = []
    for stiff in (None, LESION):
        found = registered(Inputs(BRAIN, moving, guides=Guides(stiff=stiff)))
        inner = moved_by(found)[core]
        spread.append(np.linalg.norm(inner - inner.mean(axis=0), axis=-1).mean())
        assert np.abs(moved_by(found))[BALL & ~LESION].max() > 1
    assert spread[1] < 0.35 * spread[0]


def test_nothing_is_held_stiff_without_a_penalty():
    run = load_run("node").changed({"penalties": {"jacobian": {"weight": 1.0}}, **QUICK})
    with pytest.raises(InputError, match="without the penalties of gradient and bending"):
        registered(Inputs(BRAIN, BRAIN, guides=Guides(stiff=LESION)), run)


def test_a_mask_of_the_moving_image_is_left_out_where_the_map_leads_into_it():
    """The brains are a few voxels apart, so that at the start the lesion lies elsewhere."""
    by = np.zeros((*GRID.shape, 3), np.float32)
    by[..., 1] = 5
    apart = DisplacementField(by, GRID)
    moving = warp_image(BRAIN, apart, GRID)
    lesion = warp_labels(Labels(LESION, GRID), apart, GRID).data > 0
    hole = Image(np.where(lesion, 0, moving.data), GRID)
    whole, masked = (
        registered(Inputs(BRAIN, image, moving_mask=mask))
        for image, mask in ((moving, None), (hole, ~lesion))
    )
    # The same, but the mask stays where the start puts it.
    stale = register_task(RUN.build(), masked.task, Machine(1, 0)).warp.displacement_mm
    errors = [
        np.linalg.norm(found - moved_by(whole), axis=-1)[LESION].mean()
        for found in (moved_by(masked), stale)
    ]
    assert errors[0] < 0.8 * errors[1]


# ------------------------------------------------------------------------------- large slices


def test_large_slices_are_guided_on_fewer_pixels(monkeypatch):
    monkeypatch.setattr(large_slices, "MOST_PIXELS", 100)
    grid = Grid((40, 30, 1), np.diag([-1.0, -1.0, 1.0, 1.0]))
    left = np.broadcast_to(np.arange(40)[:, None, None] < 20, grid.shape)
    image = Image(left * 3.0, grid)
    labels = LabelPair(Labels(2 * left, grid), Labels(2 * left, grid), Affine(), (2,), 1.0)
    guidance = Guidance((Contrast(image, image, 1.0, left, ~left),), labels, None, left)
    pair = large_slices.with_fewer_pixels(Pair(image, image, left, left))
    found = guidance.for_pair(pair)
    assert found.grid.matches(pair.fixed.grid)
    (contrast,) = found.contrasts
    half = pair.fixed.grid.shape[0] // 2
    assert pair.fixed.grid.shape[0] < 40
    assert found.labels is labels  # They are sampled where they are compared.
    for mask in (contrast.counts, ~contrast.moving_counts, found.stiff):
        assert mask[:half].all()
        assert not mask[half:].any()


# ----------------------------------------------------------------------------------- what refuses


def test_our_method_alone_takes_guidance():
    assert [name for name in method_names() if takes_guidance(name)] == ["neural-ode"]


@pytest.mark.parametrize(
    ("guides", "said"),
    [
        (Guides((OtherContrast(BRAIN, BRAIN, "f2", "m2"),), (0.5, 0.5)), "further contrast"),
        (Guides(label_weight=1.0), "term of labels"),
        (
            Guides(landmarks=Landmarks(*[np.zeros((1, 3))] * 2, "f", "m"), landmark_weight=1.0),
            "term of landmarks",
        ),
        (Guides(stiff=LESION), "stiff place"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_other_methods_refuse_what_they_cannot_take(guides, said):
    with pytest.raises(InputError, match=f"takes no {said}; leave it out, or choose a run of our"):
        registered(Inputs(BRAIN, BRAIN, guides=guides), load_run("greedy"))


# ------------------------------------------------------------------------------- the command line


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("guides")
    io.write_image(root / "t1.nii.gz", BRAIN)
    io.write_image(root / "t2.nii.gz", texture(2, OTHER))
    io.write_image(root / "m1.nii.gz", warp_image(BRAIN, WAVE, GRID))
    io.write_image(root / "m2.nii.gz", warp_image(texture(2), WAVE, GRID))
    io.write_image(root / "copy.nii.gz", BRAIN)
    away = GRID.affine.copy()
    away[:3, 3] += 500
    io.write_image(root / "away.nii.gz", Image(BRAIN.data, Grid(GRID.shape, away)))
    layer = Image(BRAIN.data[:, :, 9:10], GRID.crop((0, 0, 9), (22, 20, 10)))
    io.write_image(root / "slice.nii.gz", layer)
    io.write_labels(root / "l1.nii.gz", Labels(3 * ball(0, 6) + LESION, GRID))
    io.write_labels(root / "l2.nii.gz", Labels(3 * ball([1, 1, 0], 6), GRID))
    io.write_labels(root / "other.nii.gz", Labels(8 * LESION, GRID))
    io.write_labels(root / "bone.nii.gz", Labels(LESION, GRID))
    io.write_labels(root / "empty.nii.gz", Labels(np.zeros(GRID.shape), GRID))
    io.write_labels(root / "bone2.nii.gz", Labels(np.ones(OTHER.shape), OTHER))
    points = pd.DataFrame([GRID.centre_mm] * 2, columns=["x", "y", "z"])
    points.insert(0, "name", ["a", "b"])
    points.to_csv(root / "p1.csv", index=False)
    points.assign(x=points["x"] + 1).to_csv(root / "p2.csv", index=False)
    points[:1].to_csv(root / "few.csv", index=False)
    points.assign(name=["a", "a"]).to_csv(root / "twice.csv", index=False)
    points.assign(y=points["y"] + [0, 900]).to_csv(root / "beyond.csv", index=False)
    points.drop(columns="z").to_csv(root / "flat.csv", index=False)
    return root


def register(files, out, *options):
    few = ["--set", "levels.factors=[2]", "--set", "levels.iterations=[2]", "--threads", "1"]
    line = ["register", *options, "-o", str(out), "--init", "identity", *few, "--quiet"]
    return main([word.format(files) for word in line])


PAIR = ["{0}/t1.nii.gz", "{0}/m1.nii.gz"]
CONTRASTS = ["--fixed", "{0}/t1.nii.gz", "{0}/t2.nii.gz", "--moving", "{0}/m1.nii.gz"]
CONTRASTS += ["{0}/m2.nii.gz"]
LABELS = ["--fixed-labels", "{0}/l1.nii.gz", "--labels", "{0}/l2.nii.gz"]
LANDMARKS = ["--landmarks", "{0}/p1.csv", "{0}/p2.csv"]


def test_all_together_are_registered_and_recorded(files, tmp_path, capfd):
    out = tmp_path / "out"
    guides = [*CONTRASTS, "--contrast-weights", "3", "1", *LABELS, "--label-weight", "0.5"]
    guides += [*LANDMARKS, "--landmark-weight", "0.5", "--stiff", "{0}/bone.nii.gz"]
    assert register(files, out, *guides) == 0
    assert "the shares 0.75, 0.25" in capfd.readouterr().err
    record = json.loads((out / "metrics.json").read_text())
    assert record["contrasts"] == [
        {"fixed": f"{files}/t1.nii.gz", "moving": f"{files}/m1.nii.gz", "share": 0.75},
        {"fixed": f"{files}/t2.nii.gz", "moving": f"{files}/m2.nii.gz", "share": 0.25},
    ]
    assert (record["label_weight"], record["landmark_weight"]) == (0.5, 0.5)
    assert record["landmarks"] == {"fixed": f"{files}/p1.csv", "moving": f"{files}/p2.csv"}
    assert record["stiff"] == f"{files}/bone.nii.gz"
    assert record["metrics"]["tre_before_mm"] == pytest.approx(1)
    assert record["metrics"]["folds_onesided_grid_percent"] == 0
    columns = (out / "trace.tsv").read_text().splitlines()[0].split("\t")
    assert {"labels", "landmarks", "gradient", "mind"} < set(columns)
    made = account._made(record, "scan")
    assert "t2.nii.gz (0.25)" in made["contrasts"]
    assert (made["weight of the labels"], made["weight of the landmarks"]) == ("0.5", "0.5")
    assert io.read_displacement(out / "warp.nii.gz").grid.matches(GRID)


def test_a_record_without_guides_says_nothing_of_them(files, tmp_path):
    out = tmp_path / "out"
    line = ["--fixed", PAIR[0], "--moving", PAIR[1], "--method", "identity"]
    few = ["-o", str(out), "--init", "identity", "--threads", "1", "--quiet"]
    assert main([word.format(files) for word in ["register", *line, *few]]) == 0
    record = json.loads((out / "metrics.json").read_text())
    assert (record["fixed"], record["moving"]) == tuple(word.format(files) for word in PAIR)
    assert not {"contrasts", "label_weight", "landmarks", "landmark_weight", "stiff"} & {*record}
    assert account._made(record, "scan").keys() & {"contrasts", "held stiff"} == set()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([*PAIR, *CONTRASTS], "The scans are given twice"),
        ([PAIR[0], *CONTRASTS[3:]], "The scans are given twice"),
        (CONTRASTS[:-1], "--fixed names 2 scans and --moving 1"),
        (CONTRASTS[:3], "--fixed names 2 scans and --moving 0"),
        ([*CONTRASTS, "--contrast-weights", "1"], "2 contrasts and 1 weights"),
        ([*PAIR, "--contrast-weights", "1", "2"], "1 contrasts and 2 weights"),
        (
            ["--fixed", PAIR[0], "{0}/copy.nii.gz", "--moving", PAIR[1], "{0}/m2.nii.gz"],
            "copy.nii.gz hold the same image",
        ),
        (
            ["--fixed", PAIR[0], "{0}/t2.nii.gz", "--moving", PAIR[1], PAIR[1]],
            "m1.nii.gz hold the same image",
        ),
        (
            ["--fixed", PAIR[0], "{0}/away.nii.gz", "--moving", PAIR[1], "{0}/m2.nii.gz"],
            "away.nii.gz lies wholly beside",
        ),
        (
            ["--fixed", PAIR[0], "{0}/slice.nii.gz", "--moving", PAIR[1], "{0}/m2.nii.gz"],
            "slice.nii.gz is a slice and",
        ),
        (
            ["--fixed", PAIR[0], "{0}/none.nii.gz", "--moving", PAIR[1], "{0}/m2.nii.gz"],
            "none.nii.gz",
        ),
        (
            ["--fixed", PAIR[0], "{0}/empty.nii.gz", "--moving", PAIR[1], "{0}/m2.nii.gz"],
            "empty.nii.gz is constant",
        ),
        ([*CONTRASTS, "--method", "greedy"], "takes no further contrast"),
        ([*PAIR, "--label-weight", "1"], "only where both label maps are given"),
        ([*PAIR, *LABELS[2:], "--label-weight", "1"], "only where both label maps are given"),
        (
            [*PAIR, *LABELS[:3], "{0}/other.nii.gz", "--label-weight", "1"],
            "have no id in common",
        ),
        (
            [*PAIR, *LABELS, "--label-weight", "1", "--method", "identity"],
            "takes no term of labels",
        ),
        ([*PAIR, "--landmark-weight", "1"], "There are no landmarks"),
        ([*PAIR, *LANDMARKS[:2], "{0}/few.csv"], "p1.csv has the landmark b, which"),
        ([*PAIR, "--landmarks", "{0}/few.csv", LANDMARKS[2]], "p2.csv has the landmark b, which"),
        ([*PAIR, *LANDMARKS[:2], "{0}/twice.csv"], "twice.csv has the landmark a more than once"),
        ([*PAIR, *LANDMARKS[:2], "{0}/beyond.csv"], "landmark b outside of the moving scan"),
        ([*PAIR, "--landmarks", "{0}/beyond.csv", LANDMARKS[2]], "b outside of the fixed scan"),
        ([*PAIR, *LANDMARKS[:2], "{0}/flat.csv"], "flat.csv"),
        ([*PAIR, *LANDMARKS[:2], "{0}/none.csv"], "none.csv"),
        (
            [*PAIR, *LANDMARKS, "--landmark-weight", "1", "--method", "identity"],
            "takes no term of landmarks",
        ),
        ([*PAIR, "--stiff", "{0}/empty.nii.gz"], "is empty"),
        ([*PAIR, "--stiff", "{0}/bone2.nii.gz"], "does not lie on the grid"),
        ([*PAIR, "--stiff", "{0}/l1.nii.gz"], "is no mask"),
        ([*PAIR, "--stiff", "none"], "There is no"),
        ([*PAIR, "--stiff", "{0}/bone.nii.gz", "--method", "identity"], "takes no stiff place"),
    ],
)
def test_bad_guides_are_one_sentence_and_leave_nothing(options, sentence, files, tmp_path, capfd):
    out = tmp_path / "out"
    method = [] if "--method" in options else ["--method", "node-mind"]
    plain = ["-o", str(out), "--init", "identity", "--threads", "1", *method]
    assert main([word.format(files) for word in ["register", *options, *plain]]) == 2
    said = capfd.readouterr().err
    assert sentence in said
    assert len(said.strip().splitlines()) == 1
    assert not out.exists()


@pytest.mark.parametrize(
    "options",
    [
        [*PAIR, "--label-weight", "-1"],
        [*PAIR, "--landmark-weight", "nan"],
        [*CONTRASTS, "--contrast-weights", "1", "0"],
        [*PAIR, "--landmarks", "{0}/p1.csv"],
        ["--fixed", PAIR[0]],
        [PAIR[0]],
        [],
    ],
)
def test_arguments_that_mean_nothing_stop_at_once(options, files, tmp_path, capfd):
    out = tmp_path / "out"
    try:
        code = main([word.format(files) for word in ["register", *options, "-o", str(out)]])
    except SystemExit as stopped:
        code = stopped.code
    assert code == 2
    assert capfd.readouterr().err
    assert not out.exists()


def test_a_guide_is_not_replaced_by_a_result(files, tmp_path, capfd):
    out = tmp_path / "out"
    io.write_image(out / "warped.nii.gz", texture(2, OTHER))
    line = ["--fixed", PAIR[0], str(out / "warped.nii.gz"), "--moving", PAIR[1], "{0}/m2.nii.gz"]
    assert register(files, out, *line) == 2
    assert "would be replaced by the result" in capfd.readouterr().err


# ------------------------------------------------------------------------------------ the library


def test_the_library_takes_lists_of_contrasts_and_tables_of_landmarks(files):
    first, second = ((image.data, image.grid.affine) for image in (BRAIN, texture(2, OTHER)))
    moving = [files / "m1.nii.gz", files / "m2.nii.gz"]
    points = pd.read_csv(files / "p1.csv")
    found = de.register(
        [first, second],
        moving,
        method="node-mind",
        init="identity",
        settings={"levels.factors": [2.0], "levels.iterations": [2]},
        contrast_weights=[1, 4],
        landmarks=(points, files / "p2.csv"),
        landmark_weight=0.5,
        stiff=(LESION.astype(np.uint8), GRID.affine),
        threads=1,
    )
    guides = found.registered.inputs.guides
    assert guides.shares == (0.2, 0.8)
    (other,) = guides.contrasts
    assert (other.fixed_name, other.moving_name) == ("the fixed image 2", str(moving[1]))
    np.testing.assert_array_equal(guides.stiff, LESION)
    assert found.metrics["tre_before_mm"] == pytest.approx(1)
    assert "landmarks" in found.registered.result.trace[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"fixed": []}, "The list of fixed scans is empty"),
        ({"fixed": [BRAIN, texture(2)]}, "The fixed scan has 2 contrasts and the moving one 1"),
        ({"fixed": [BRAIN] * 2, "moving": [BRAIN, FLAT]}, "the fixed image 2 hold the same image"),
        ({"contrast_weights": [0.0]}, "each must be a number above 0"),
        ({"label_weight": float("nan")}, "The label weight is nan"),
        ({"landmark_weight": -1}, "The landmark weight is -1"),
        ({"landmarks": (pd.DataFrame(),)}, "landmarks has 1 tables"),
        ({"landmarks": (pd.DataFrame({"name": []}),) * 2}, "has no column 'x'"),
    ],
)
def test_unusable_guides_are_refused(change, said):
    given = {"fixed": BRAIN, "moving": BRAIN, "method": "node", "init": "identity", **change}
    with pytest.raises(InputError, match=said):
        de.register(given.pop("fixed"), given.pop("moving"), **given)


def test_a_start_that_bends_goes_with_no_guide(files, tmp_path, capsys):
    """A sentence says so; the maps of an earlier registration are such a start."""
    first = tmp_path / "first"
    few = ["--threads", "1", "--quiet", "--method", "identity"]
    pair = [word.format(files) for word in PAIR]
    assert main(["register", *pair, "-o", str(first), "--init", "identity", *few]) == 0
    bent = ["--init", str(first / "warp.nii.gz"), "-o", str(tmp_path / "second")]
    contrasts = [word.format(files) for word in CONTRASTS]
    assert main(["register", *contrasts, *bent, "--threads", "1", "--quiet"]) == 2
    assert "takes no further contrast where it starts from a map" in capsys.readouterr().err
    assert not (tmp_path / "second").exists()
