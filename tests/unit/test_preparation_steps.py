"""The steps of preparation as units: what each writes, what the next one reads, and where labels
and landmarks come to lie.
"""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from diffeode.datasets.bids import list_scans
from diffeode.errors import DamagedFileError, InputError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_labels
from diffeode.prepare import correct as correct_module
from diffeode.prepare import strip as strip_module
from diffeode.prepare.correct import correct
from diffeode.prepare.recipe import Recipe, recipe_choices
from diffeode.prepare.registry import all_tools, correcting_tools, find_tool
from diffeode.prepare.scan import prepare_scan
from diffeode.prepare.step_tool import StepTool
from diffeode.prepare.strip import strip
from diffeode.prepare.units import Before, Placement, write_placement
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.receipt import damage, read_receipt

GRID = Grid((40, 44, 36), [[0, 0, 3.2, -60], [-3.0, 0, 0, 62], [0, 2.8, 0, -56], [0, 0, 0, 1]])
COARSE = Grid((20, 22, 18), GRID.affine @ np.diag([2, 2, 2, 1]))
TEMPLATE = Grid((48, 52, 44), [[3.0, 0, 0, -72], [0, 3.0, 0, -76], [0, 0, 3.0, -64], [0, 0, 0, 1]])
TO_SCAN = Affine([[1.1, 0.05, 0, 2], [-0.06, 0.95, 0.1, -1], [0, -0.1, 1.05, 3], [0, 0, 0, 1]])


def inside(points_mm: np.ndarray, radius: float) -> np.ndarray:
    """Return a ball of ``radius`` mm about a point that is not the centre of a grid."""
    return np.linalg.norm(points_mm - np.array([3.0, -2.0, 1.0]), axis=-1) < radius


def intensity(points_mm: np.ndarray) -> np.ndarray:
    """A head's smooth intensities at ``points_mm (..., 3)``."""
    x, y, z = np.moveaxis(points_mm, -1, 0)
    return 500 + 100 * np.sin(x / 16) + 80 * np.cos(y / 18) + 60 * np.sin(z / 14)


@pytest.fixture
def scan(tmp_path, request):
    """A head on a grid with swapped axes: a brain of 44 mm in bright surroundings, two labels and a
    landmark.
    """
    grid = getattr(request, "param", GRID)
    folder, points = tmp_path / "study/sub-01/anat", grid.points_mm()
    io.write_image(
        folder / "sub-01_T1w.nii.gz", Image(intensity(points) + 300 * ~inside(points, 44), grid)
    )
    labels = np.where(inside(points, 16), 17, np.where(inside(points, 30), 53, 0))
    io.write_labels(folder / "sub-01_dseg.nii.gz", Labels(labels, grid))
    (folder / "sub-01_landmarks.tsv").write_text("name\tx\ty\tz\ncentre\t3\t-2\t1\n")
    return list_scans("study", tmp_path / "study")[0]


@pytest.fixture
def before(scan, tmp_path, monkeypatch) -> Before:
    """The brain found and the scan placed, as units."""
    monkeypatch.setattr(strip_module, "find_tool", lambda step, choice: tool_doing(brain_of))
    strip(scan, "mindgrab", Before(), tmp_path / "brain")
    write_placement(
        tmp_path / "placed",
        Placement(TO_SCAN, TEMPLATE),
        {"step": "placement", "choice": "icbm152"},
    )
    return Before(brain=tmp_path / "brain", placed=tmp_path / "placed")


def brain_of(image: Image, scan_name: str, resources) -> np.ndarray:
    return inside(image.grid.points_mm(), 44)


def tool_doing(function) -> StepTool:
    """A tool of the step brain."""
    return StepTool(step="brain", name="mindgrab", clause="", function=function)


def test_a_brain_is_a_unit_on_the_scan_s_grid(scan, before):
    assert damage(before.brain / "receipt.json", Checksums(thorough=True)) is None
    found = io.read_labels(before.brain / "mask.nii.gz")
    assert found.grid.matches(GRID)
    np.testing.assert_array_equal(found.data, inside(GRID.points_mm(), 44))
    assert read_receipt(before.brain / "receipt.json")["choice"] == "mindgrab"


def test_a_head_in_which_nothing_is_found_leaves_no_unit(scan, tmp_path, monkeypatch):
    def nothing(image, scan_name, resources):
        raise InputError(f"{scan_name} is no head.")

    monkeypatch.setattr(strip_module, "find_tool", lambda *_: tool_doing(nothing))
    with pytest.raises(InputError, match=r"sub-01_T1w\.nii\.gz is no head"):
        strip(scan, "mindgrab", Before(), tmp_path / "brain")
    assert not (tmp_path / "brain").exists()


def test_a_whole_head_does_not_pass_as_a_brain(scan, tmp_path):
    with pytest.raises(InputError, match=r"sub-01_T1w\.nii\.gz looks like a whole head"):
        prepare_scan(scan, Before(), tmp_path / "prepared")


def test_a_placed_scan_shows_in_the_template_s_space_what_lies_there_in_its_own(
    scan, before, tmp_path
):
    prepare_scan(scan, before, tmp_path / "prepared")
    image = io.read_image(tmp_path / "prepared/image.nii.gz")
    mask = io.read_labels(tmp_path / "prepared/mask.nii.gz").data > 0
    assert image.grid.matches(TEMPLATE)
    reached = TO_SCAN(TEMPLATE.points_mm())
    assert (mask == inside(reached, 44)).mean() > 0.995
    core = ndimage.binary_erosion(mask, iterations=2)
    slope, offset = np.polyfit(intensity(reached)[core], image.data[core], 1)
    np.testing.assert_allclose(
        image.data[core], slope * intensity(reached)[core] + offset, atol=0.02
    )
    assert (image.data[~mask] == 0).all()


def test_labels_and_landmarks_are_moved_by_their_header_and_not_resampled(scan, before, tmp_path):
    prepare_scan(scan, before, tmp_path / "prepared")
    labels = io.read_labels(tmp_path / "prepared/labels.nii.gz")
    np.testing.assert_array_equal(labels.data, io.read_labels(scan.labels).data)
    there = warp_labels(labels, Affine(), TEMPLATE).data
    directly = warp_labels(io.read_labels(scan.labels), TO_SCAN, TEMPLATE).data
    # headers hold single precision, which decides for points midway between two voxels
    assert (there == directly).mean() > 0.9995
    assert (there > 0).any()
    (row,) = (tmp_path / "prepared/landmarks.tsv").read_text().splitlines()[1:]
    np.testing.assert_allclose(TO_SCAN(np.array(row.split("\t")[1:], float)), [3, -2, 1], atol=1e-4)
    assert read_receipt(tmp_path / "prepared/receipt.json")["recipe"]["brain"] == "mindgrab"


def test_another_voxel_size_in_the_template_s_space(scan, before, tmp_path):
    prepare_scan(scan, before, tmp_path / "prepared", spacing_mm=6.0)
    image = io.read_image(tmp_path / "prepared/image.nii.gz")
    np.testing.assert_allclose(image.grid.spacing, 6)
    np.testing.assert_allclose(image.grid.centre_mm, TEMPLATE.centre_mm)


def test_a_damaged_unit_stops_the_next_step(scan, before, tmp_path):
    (before.brain / "mask.nii.gz").write_bytes(b"")
    with pytest.raises(DamagedFileError, match=r"mask\.nii\.gz has 0 bytes"):
        prepare_scan(scan, before, tmp_path / "prepared")
    assert not (tmp_path / "prepared/receipt.json").exists()


@pytest.mark.parametrize("scan", [COARSE], indirect=True)
def test_n4_works_inside_the_brain_that_was_found(scan, before, tmp_path):
    correct(scan, "n4", "robust", Before(brain=before.brain), tmp_path / "corrected")
    corrected = Before(corrected=tmp_path / "corrected").image(scan)
    outside = ~inside(COARSE.points_mm(), 44)
    assert (corrected.data[outside] == 0).all()
    assert (corrected.data[~outside] > 0).all()


@pytest.mark.parametrize(("modality", "calls"), [("T1w", ["bias", "intensity"]), ("T2w", ["bias"])])
def test_freesurfer_normalises_t1w_only(scan, tmp_path, monkeypatch, modality, calls):
    asked = []

    def recorded(tool):
        def function(image, *_):
            asked.append(tool.step)
            return image

        program = SimpleNamespace(identities=lambda: {tool.step: "freesurfer"})
        return dataclasses.replace(tool, function=function, program=program)

    monkeypatch.setattr(
        correct_module,
        "correcting_tools",
        lambda *choices: map(recorded, correcting_tools(*choices)),
    )
    object.__setattr__(scan, "modality", modality)
    correct(scan, "freesurfer", "freesurfer", Before(), tmp_path / "corrected")
    assert asked == calls
    receipt = read_receipt(tmp_path / "corrected/receipt.json")
    assert receipt["programs"] == dict.fromkeys(
        calls, "freesurfer"
    )  # programs that were not run do not appear


# ------------------------------------------------------------------------------------------ recipes


@pytest.mark.parametrize("tool", all_tools(), ids=lambda tool: f"{tool.step}: {tool.name}")
def test_every_tool_can_be_chosen_and_says_what_it_is(tool):
    assert tool.name in recipe_choices()[tool.step]
    assert find_tool(tool.step, tool.name) is tool
    assert tool.clause
    assert not tool.clause.endswith(".")
    assert not tool.then or find_tool(tool.step, tool.then)
    assert Recipe(**{tool.step: tool.name})


def test_a_recipe_says_which_steps_there_are(scan):
    plain, full = (
        Recipe(),
        Recipe(bias="n4", brain="mindgrab", template="icbm152", labels="meshnet"),
    )
    assert not plain.is_work
    assert (full.finds_brain, full.corrects, full.corrects_heads, full.places, full.segments) == (
        1,
        1,
        0,
        1,
        1,
    )
    assert Recipe(bias="freesurfer").corrects_heads
    assert not full.leans_on_t1w(scan)
    object.__setattr__(scan, "modality", "T2w")
    assert full.leans_on_t1w(scan)
    assert full.borrows_labels(scan)
    assert not Recipe(template="icbm152", through="direct").leans_on_t1w(scan)


def test_a_recipe_names_the_tools_of_each_unit(scan):
    units = ("strip", "correct", "place", "prepare", "segment")

    def named(recipe):
        return {
            unit: [f"{tool.step} {tool.name}" for tool in recipe.tools_of(unit, scan)]
            for unit in units
        }

    assert named(Recipe()) == {
        unit: ["intensity robust"] if unit == "prepare" else [] for unit in units
    }
    paper = Recipe("freesurfer", "synthstrip", "freesurfer", "icbm152", labels="synthseg")
    assert named(paper) == {
        "strip": ["brain synthstrip"],
        "correct": ["bias freesurfer", "intensity freesurfer"],
        "place": ["template icbm152"],
        "prepare": ["intensity robust"],
        "segment": ["labels synthseg"],
    }
    assert Recipe(template={"t1w": "mine.nii"}).tools_of("place", scan) == ()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"template": "icbm"}, "template has no choice 'icbm'; did you mean 'icbm152'"),
        ({"template": {"t2w": "there.nii"}}, "takes the paths t1w, which it needs"),
        ({"template": {"t1w": "a.nii", "flair": "b.nii"}}, "and t2w, and no other key"),
        ({"through": "T1"}, "through has no choice 'T1'"),
        ({"labels": "synthsg"}, "labels has no choice 'synthsg'; did you mean 'synthseg'"),
    ],
)
def test_unknown_choices(settings, message):
    with pytest.raises(InputError, match=message):
        Recipe(**settings)
