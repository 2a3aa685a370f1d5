"""A registration that went wrong is called suspect: the measures, their thresholds, and all places
where it is written.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from diffeode.cli import main
from diffeode.datasets.virtual_anatomy import load_tissue_maps
from diffeode.evaluation import verdict
from diffeode.evaluation.anatomy import (
    TURNS,
    Fit,
    brain_width_mm,
    centre_mm,
    placed,
    stretch,
    turned_degrees,
)
from diffeode.evaluation.verdict import judge, signs_of, turned_note
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, Transform, densify, warp_image
from diffeode.methods.identity import Identity
from diffeode.prepare import search
from diffeode.prepare.affine import affine_registration
from diffeode.prepare.pair import align_pair
from diffeode.prepare.resolution import resample_brain
from diffeode.prepare.scan import prepare_image
from diffeode.prepare.search import searched_affine
from diffeode.registration.base import Machine
from diffeode.registration.harness import Task, register, register_to_folder
from diffeode.registration.runs import Run

REPOSITORY = Path(__file__).resolve().parents[2]
GRID = Grid((20, 20, 20), np.diag([2.0, 2.0, 2.0, 1.0]))
TRUTH = Affine([[1.05, 0.06, 0, 5], [-0.05, 0.97, 0.04, -4], [0.01, -0.05, 1.02, 6], [0, 0, 0, 1]])
"""The map from points of ``brain`` to points of ``other``."""
GOOD = {
    "overlap": 0.95,
    "anatomical_match": 0.1,
    "anatomical_match_before": 0.06,
    "anatomical_margin": 8.0,
    "anatomical_margin_before": 4.0,
    "faces_percent": 0.0,
    "alignment_stretch": 1.1,
    "displacement_share": 0.05,
    "motion_distance": float("nan"),
    "sdlogj": 0.3,
    "folds_percent": 0.0,
}


@pytest.fixture(scope="module")
def brain() -> Image:
    """The template at 5 mm."""
    template = load_tissue_maps()
    image, mask = resample_brain(
        Image(template.t1, template.grid), template.brain > 0, template.grid.resample(5.0)
    )
    return prepare_image(image, "the template", mask)[0]


@pytest.fixture(scope="module")
def other(brain) -> Image:
    """The same brain in another contrast, a little larger, tipped and shifted by ``TRUTH``."""
    contrast = Image(np.where(brain.data > 0.1, 1.1 - brain.data, brain.data), brain.grid)
    return warp_image(contrast, TRUTH.inverse(), brain.grid)


def box(lower: int, upper: int) -> Image:
    data = np.zeros(GRID.shape)
    data[lower:upper, 5:15, 5:15] = 1
    return Image(data, GRID)


def shift(*mm: float) -> Affine:
    matrix = np.eye(4)
    matrix[:3, 3] = mm
    return Affine(matrix)


def moved_header(image: Image, affine: Affine) -> Image:
    return Image(image.data, Grid(image.grid.shape, affine.matrix @ image.grid.affine))


def turn(degrees: tuple[float, float, float]) -> Affine:
    return placed(
        Rotation.from_euler("xyz", degrees, degrees=True).as_matrix(), np.zeros(3), np.zeros(3)
    )


# -------------------------------------------------------------------------------------- the numbers


def test_how_far_an_affine_stretches_and_turns():
    turned = turn((20, -30, 100))
    assert stretch(turned) == pytest.approx(1)
    assert stretch(Affine(turned.matrix @ np.diag([3.0, 2.0, 1.0, 1.0]))) == pytest.approx(3)
    for degrees in (0.0, 25.0, 90.0, 180.0):
        scaled = Affine(turn((degrees, 0, 0)).matrix @ np.diag([1.5, 0.9, 1.2, 1.0]))
        assert turned_degrees(turn((0, degrees, 0))) == pytest.approx(degrees, abs=1e-4)
        assert turned_degrees(scaled) == pytest.approx(degrees, abs=15)


def test_the_turns_are_the_other_23_of_a_cube():
    assert len(TURNS) == 23
    assert len({tuple(np.round(t).astype(int).ravel()) for t in TURNS}) == 23
    assert all(
        np.linalg.det(t) == pytest.approx(1) and not np.allclose(t, np.eye(3)) for t in TURNS
    )


def test_boxes_shifted_by_a_fifth_overlap_by_four_fifths():
    field = densify(shift(4, 0, 0), GRID)
    assert verdict._overlap(field, box(5, 15).data > 0, box(5, 15)) == pytest.approx(0.8)


def test_where_nothing_was_scanned_no_overlap_is_missed():
    whole = box(5, 15)
    half = Image(whole.data[:10], GRID.crop(np.zeros(3), np.array([10, 20, 20])))
    assert verdict._overlap(densify(Affine(), GRID), whole.data > 0, half) == pytest.approx(1.0)


def test_a_shift_is_measured_from_the_alignment_on_in_widths_of_the_fixed_brain(brain):
    alignment = Affine(np.diag([2.0, 2.0, 2.0, 1.0]))
    warp = densify(shift(6, 0, 0).then(alignment), brain.grid)
    moving = moved_header(brain, alignment)
    signs = signs_of(warp, densify(Affine(), moving.grid), brain, moving, alignment)
    assert signs["displacement_share"] == pytest.approx(6 / brain_width_mm(brain), rel=1e-3)
    assert signs["sdlogj"] == pytest.approx(0, abs=1e-4)
    assert signs["folds_percent"] == 0


def test_a_reflection_folds_everywhere(brain):
    mirrored = densify(Affine(np.diag([-1.0, 1, 1, 1])), brain.grid)
    signs = signs_of(mirrored, mirrored, brain, brain, Affine())
    assert signs["folds_percent"] == 100
    assert np.isnan(signs["sdlogj"])


def test_two_volumes_of_equal_size_spread_by_half_their_difference(brain):
    """The map is ``x -> 2 x`` behind the middle and ``x / 2`` before it, so log|J| is log 2 in one
    half of a box and - log 2 in the other.
    """
    grid = Grid((40, 8, 8), np.eye(4))
    x = grid.points_mm()[..., 0] - 19.5
    displacement = np.zeros((*grid.shape, 3))
    displacement[..., 0] = np.where(x > 0, x, -x / 2)
    found = verdict._volume_changes(
        DisplacementField(displacement, grid), np.ones(grid.shape, bool), Affine()
    )
    assert found["sdlogj"] == pytest.approx(np.log(2), rel=0.03)


def test_a_brain_matches_itself_wholly_and_by_a_wide_margin(brain):
    fit = Fit.of(brain, brain)
    assert fit.match(Affine()) == pytest.approx(1)
    assert fit.margin(Affine()) > 5
    for one in TURNS[::5]:
        turned = placed(one, centre_mm(fit.inner), centre_mm(fit.inner))
        assert fit.margin(turned) < 1
        assert fit.match(turned) < 0.2


def test_it_is_asked_of_the_smaller_brain_whichever_that_is(brain):
    half = Image(
        np.where(np.arange(brain.grid.shape[2]) < brain.grid.shape[2] // 2, brain.data, 0),
        brain.grid,
    )
    assert Fit.of(half, brain).fixed_is_inner
    assert not Fit.of(brain, half).fixed_is_inner
    assert Fit.of(half, brain).margin(Affine()) == Fit.of(brain, half).margin(Affine()) > 3


# --------------------------------------------------------------------------------- what they decide


def test_nothing_is_wrong_with_a_good_registration():
    assert not judge(GOOD).suspect
    assert judge(GOOD).sentence == ""


@pytest.mark.parametrize(
    ("sign", "bad", "words"),
    [
        ("overlap", verdict.LEAST_OVERLAP - 0.01, "overlap"),
        ("anatomical_margin", verdict.LEAST_MARGIN - 0.01, "turned"),
        ("anatomical_margin", float("nan"), "turned"),
        ("anatomical_match", verdict.LEAST_KEPT * 0.06 - 0.001, "worse than before"),
        ("motion_distance", verdict.MOST_FROM_MOTION + 0.01, "started too far away"),
        ("alignment_stretch", verdict.MOST_STRETCHED + 0.01, "stretches"),
        ("sdlogj", verdict.MOST_SPREAD + 0.01, "log|J|"),
        ("folds_percent", verdict.MOST_FOLDED + 0.01, "folds"),
        ("displacement_share", verdict.MOST_MOVED + 0.01, "moves"),
    ],
)
def test_each_number_alone_makes_a_registration_suspect(sign, bad, words):
    found = judge({**GOOD, sign: bad})
    assert len(found.reasons) == 1
    assert words in found.reasons[0]
    assert found.sentence.startswith(f"This registration is suspect: {found.reasons[0]}. ")


def test_only_a_head_that_lay_otherwise_is_remarked_upon():
    assert turned_note(turn((40, 0, 0))) == ""
    assert "turned one image by 90 degrees" in turned_note(turn((0, 0, 90)))


# ------------------------------------------------------------------------------- the searched start


def worst_miss_mm(found: Affine, expected: Transform, image: Image) -> float:
    points = image.grid.to_world(np.argwhere(image.data > 0))
    return float(np.linalg.norm(found(points) - expected(points), axis=-1).max())


def test_a_good_affine_is_left_as_it_is(brain, other, monkeypatch):
    def searching(*arguments):
        raise AssertionError("a good pair was searched, which takes seconds")

    monkeypatch.setattr(search, "_best_start", searching)
    plain = affine_registration(brain, other, 1, 3)
    np.testing.assert_array_equal(searched_affine(brain, other, 1, 3).matrix, plain.matrix)


@pytest.mark.parametrize("degrees", [(90, 0, 0), (0, 0, 180), (130, 40, -70)])
def test_a_header_that_is_turned_is_found(brain, other, degrees):
    wrong = Affine(shift(40, -30, 20).matrix @ turn(degrees).matrix)
    found = searched_affine(brain, moved_header(other, wrong), 1, 3)
    assert worst_miss_mm(found, TRUTH.then(wrong), brain) < 10


@pytest.mark.parametrize("cut", ["fixed", "moving"])
def test_a_slab_is_found_within_the_other_brain(brain, other, cut):
    whole = {"fixed": brain, "moving": other}[cut]
    lower, upper = np.zeros(3, int), np.array(whole.grid.shape)
    lower[2], upper[2] = upper[2] // 2, upper[2] // 2 + 6
    slab = Image(whole.data[..., lower[2] : upper[2]], whole.grid.crop(lower, upper))
    fixed, moving = (slab, other) if cut == "fixed" else (brain, slab)
    wrong = shift(60, -50, 45)
    found = searched_affine(fixed, moved_header(moving, wrong), 1, 3)
    right = Affine(wrong.matrix @ TRUTH.matrix)
    if cut == "fixed":
        assert worst_miss_mm(found, right, slab) < 15
    else:
        assert worst_miss_mm(found.inverse(), right.inverse(), moved_header(slab, wrong)) < 15


# ----------------------------------------------------------------------------------- spoiled inputs


def noise_like(image: Image) -> Image:
    noise = ndimage.gaussian_filter(np.random.default_rng(5).normal(size=image.data.shape), 1.5)
    return Image(
        np.where(image.data > 0, 0.1 + 0.9 * (noise - noise.min()) / np.ptp(noise), 0), image.grid
    )


SPOILED = {
    "shifted and not aligned": lambda image: (moved_header(image, shift(25, 20, 25)), "none"),
    "turned and not aligned": lambda image: (moved_header(image, turn((0, 90, 0))), "none"),
    "noise": lambda image: (noise_like(image), "affine"),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_spoiled_pairs_are_suspect(brain, other, kind):
    moving, alignment = SPOILED[kind](other)
    aligned, to_scan = align_pair(brain, moving, alignment, "resample", 1, 3)
    assert register(Identity(), Task(brain, aligned, moving, to_scan), Machine()).verdict.suspect


def test_good_pairs_are_not(brain, other):
    aligned, to_scan = align_pair(brain, other, "affine", "resample", 1, 3)
    result = register(Identity(), Task(brain, aligned, other, to_scan), Machine())
    assert result.verdict.reasons == ()
    assert result.notes == ()


def test_a_turned_pair_is_aligned_and_remarked_upon(brain, other):
    moving = moved_header(other, turn((0, 0, 180)))
    aligned, to_scan = align_pair(brain, moving, "affine", "resample", 1, 3)
    result = register(Identity(), Task(brain, aligned, moving, to_scan), Machine())
    assert not result.verdict.suspect
    assert result.notes == (turned_note(to_scan),)
    assert turned_degrees(to_scan) > 170


# ------------------------------------------------------------------------------ where it is written


@pytest.fixture
def files(tmp_path, brain, other):
    """The paths of a good pair, and of the same pair with the moving scan in a wrong place."""
    for name, image in {
        "fixed": brain,
        "moving": other,
        "elsewhere": moved_header(other, shift(25, 20, 25)),
    }.items():
        io.write_image(tmp_path / f"{name}.nii.gz", image)
    return tmp_path


def at_the_desk(files: Path, moving: str, *more: str) -> int:
    pair = [str(files / "fixed.nii.gz"), str(files / f"{moving}.nii.gz")]
    method = ["--method", "identity", "--threads", "1"]
    return main(["register", *pair, "-o", str(files / "out"), *method, *more])


@pytest.mark.parametrize("more", [[], ["--time-limit", "5"]])
def test_the_command_says_so_and_fails_only_where_it_is_strict(files, capfd, more):
    assert at_the_desk(files, "elsewhere", "--init", "identity", *more) == 0
    said = capfd.readouterr().err
    again = ["--strict", "--overwrite", *more]
    assert at_the_desk(files, "elsewhere", "--init", "identity", *again) == 3
    assert capfd.readouterr().err == said
    assert said.startswith(
        "diffeode: This registration is suspect: the foregrounds of the two images overlap by "
        "Dice 0."
    )
    assert len(said.splitlines()) == 1
    metrics = json.loads((files / "out/metrics.json").read_text(encoding="utf-8"))
    assert metrics["suspect"] is True
    assert metrics["verdict"] == said.removeprefix("diffeode: ").strip()
    assert metrics["signs"]["overlap"] < verdict.LEAST_OVERLAP
    assert {file.name for file in (files / "out").iterdir()} >= {
        "warp.nii.gz",
        "warped.nii.gz",
        "overview.png",
        "trace.tsv",
    }


def test_the_command_is_silent_about_a_good_registration(files, capfd):
    assert at_the_desk(files, "moving", "--strict") == 0
    assert capfd.readouterr().err == ""
    assert json.loads((files / "out/metrics.json").read_text(encoding="utf-8"))["suspect"] is False


@pytest.mark.parametrize("suspect", [False, True])
def test_the_receipt_and_the_log_say_so(tmp_path, brain, other, suspect, capfd):
    moving = moved_header(other, shift(25, 20, 25)) if suspect else other
    aligned, to_scan = align_pair(brain, moving, "none" if suspect else "affine", "resample", 1, 3)
    run = Run("still", "identity", "Still", {})
    assert register_to_folder(run, Task(brain, aligned, moving, to_scan), Machine(), tmp_path, {})
    receipt = json.loads((tmp_path / "receipt.json").read_text(encoding="utf-8"))
    assert (receipt["status"], receipt["suspect"]) == ("done", suspect)
    assert set(receipt["signs"]) == set(GOOD)
    assert (receipt["verdict"] != "") == suspect
    assert (f"still: {receipt['verdict']}" in capfd.readouterr().err) == suspect


# --------------------------------------------------------------------------------------- in a study

RECEIPTS = [
    {"status": "done", "suspect": False, "verdict": ""},
    {
        "status": "done",
        "suspect": True,
        "verdict": "This registration is suspect: it is odd. Look at it.",
    },
    {"status": "failed", "reason": "It is hopeless."},
]
SCRIPT = """
import json, runpy, sys
from types import SimpleNamespace as Names
given = json.loads(sys.argv[2])
class Given(Names):
    items = lambda self: vars(self).items()
    __iter__ = lambda self: iter(vars(self).values())
    get = lambda self, name, default: vars(self).get(name, default)
said = {key: Given(**value) for key, value in given.items() if isinstance(value, dict)}
for key in ("input", "output"):
    said[key] = given[key] if isinstance(given[key], list) else said[key]
config = {"results": given["results"]}
said |= {"config": config, "log": given["log"]}
snakemake = Names(rule="rule", wildcards=Given(), threads=1, resources=Given(), **said)
sys.path.insert(0, sys.argv[1].rpartition("/")[0])
runpy.run_path(sys.argv[1], init_globals={"snakemake": snakemake})
"""


def run_script(name: str, folder: Path, given: dict) -> subprocess.CompletedProcess:
    script = str(REPOSITORY / "workflow/scripts" / f"{name}.py")
    whole = json.dumps({"results": str(folder), "log": [str(folder / "log")], **given})
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, script, whole], capture_output=True, text=True, check=False
    )


@pytest.fixture
def listed(tmp_path):
    """The tables of failures and suspects of three registrations."""
    units = []
    for number, receipt in enumerate(RECEIPTS):
        units.append(str(tmp_path / f"{number}.json"))
        unit = {"experiment": "e", "pair": f"a__{number}", "run": "r", "outputs": {}}
        io.write_json(Path(units[-1]), {**unit, **receipt})
    names = ("failures", "failures_page", "suspects", "suspects_page")
    names += ("unusable_scans", "unusable_scans_page")
    output = {
        name: str(tmp_path / f"{name}.{'html' if name.endswith('page') else 'tsv'}")
        for name in names
    }
    metrics = [str(tmp_path / f"{number}.tsv") for number in range(len(units))]
    for file in metrics:
        Path(file).touch()
    params = {"units": [*units, *metrics], "logs": ["log 0", "log 1", "log 2"], "scans": []}
    params["labels"] = {}
    params |= {"failures": "Failed.", "suspects": "Suspect.", "unusable_scans": "Unusable."}
    done = run_script("failures", tmp_path, {"input": {}, "output": output, "params": params})
    assert done.returncode == 0, done.stderr
    return output


def test_suspects_are_listed_apart_from_failures(listed):
    suspects, failures = (pd.read_csv(listed[name], sep="\t") for name in ("suspects", "failures"))
    assert suspects.values.tolist() == [["e", "a__1", "r", RECEIPTS[1]["verdict"], "log 1"]]
    assert failures.values.tolist() == [["e", "a__2", "r", "It is hopeless.", "log 2"]]
    assert "it is odd" in Path(listed["suspects_page"]).read_text(encoding="utf-8")


@pytest.mark.parametrize(("failed", "strict", "code"), [(0, 0, 0), (0, 1, 1), (1, 0, 1)])
def test_a_study_names_its_suspects_and_fails_for_them_only_where_it_is_strict(
    listed, tmp_path, failed, strict, code
):
    if not failed:
        header = Path(listed["failures"]).read_text(encoding="utf-8").splitlines()[0]
        Path(listed["failures"]).write_text(header + "\n", encoding="utf-8")
    given = {name: listed[name] for name in ("failures", "suspects", "unusable_scans")}
    file = tmp_path / "verdict.txt"
    params = {"registrations": 3, "strict": strict}
    done = run_script(
        "verdict", tmp_path, {"input": given, "output": [str(file)], "params": params}
    )
    assert done.returncode == code
    assert "1 of 3 registrations are suspect" in done.stderr
    assert ("1 of 3 registrations failed" in done.stderr) == bool(failed)
    assert file.exists() == (code == 0)
    if code == 0:
        assert "1 of 3 registrations are suspect" in file.read_text(encoding="utf-8")
