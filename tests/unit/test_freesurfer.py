"""FreeSurfer's tools of preparation: their documented command lines, and how their results are
read.

The stand-ins refuse any command line but the documented one. Where the program itself is here, the
laws that hold for a ball of random intensities are tested on it, too.
"""

from pathlib import Path

import numpy as np
import pytest
import standins
from scipy import ndimage

from diffeode.errors import InputError, ToolError
from diffeode.evaluation.labels import read_label_table
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.prepare.step_tool import Resources
from diffeode.prepare.steps.mri_normalize import normalise
from diffeode.prepare.steps.nu_correct import nu_correct
from diffeode.prepare.steps.synthseg import SYNTHSEG_LABELS, synthseg_labels
from diffeode.prepare.steps.synthstrip import synthstrip_mask
from diffeode.programs.interfaces.freesurfer import NuCorrect, SynthMorph, SynthSeg, SynthStrip
from diffeode.programs.tools import missing_program

REPOSITORY = Path(__file__).resolve().parents[2]
GRID = Grid((20, 22, 24), [[-1.5, 0, 0, 12], [0, 0, 1.2, -15], [0, 1.5, 0, -9], [0, 0, 0, 1]])
ONE, TWO = Resources(), Resources(threads=2)


def head() -> Image:
    """Return smooth intensities around 500 in a ball, on a grid with one axis to the left and two
    axes exchanged.
    """
    ball = np.linalg.norm(GRID.voxels() - (np.array(GRID.shape) - 1) / 2, axis=-1) < 8
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=GRID.shape), 1.5)
    return Image(np.where(ball, 500 + 800 * noise, 0), GRID)


HEAD = head()
BALL = HEAD.data > 0


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """An empty folder of tools with FreeSurfer's licence beside it."""
    standins.only_these(monkeypatch, tmp_path / "bin")
    (tmp_path / "license.txt").write_text("someone", encoding="utf-8")
    monkeypatch.setenv("FS_LICENSE", str(tmp_path / "license.txt"))
    return tmp_path / "bin"


def give(tools, name, body, **values):
    standins.stand_in(tools, name, body % values if values else body)


# ---------------------------------------------------------------------------------- what comes back


def test_nu_correct_returns_what_the_tool_wrote_on_the_scans_own_grid(tools):
    give(tools, "mri_nu_correct.mni", standins.NU_CORRECT)
    corrected = nu_correct(HEAD, None, "T1w", ONE)
    assert corrected.grid is HEAD.grid
    np.testing.assert_allclose(corrected.data, HEAD.data / 2, rtol=1e-6)


@pytest.mark.parametrize(("modality", "mprage"), [("T1w", True), ("T2w", False)])
def test_mprage_is_said_of_t1w_alone(modality, mprage, tools):
    give(tools, "mri_normalize", standins.NORMALIZE, mprage=mprage)
    found = normalise(HEAD, None, modality, ONE)
    assert found.grid is HEAD.grid
    assert set(np.unique(found.data)) <= set(range(111))
    assert found.data.max() == 110
    brightest = np.percentile(HEAD.data[BALL], 99.9)
    expected = np.minimum(np.rint(np.clip(HEAD.data / brightest, 0, 1) * 255), 110)
    np.testing.assert_array_equal(found.data, expected)


def test_normalise_can_be_kept_to_a_brain(tools):
    give(tools, "mri_normalize", standins.NORMALIZE, mprage=True)
    half = BALL & (GRID.voxels()[..., 0] < 10)
    found = normalise(HEAD, half, "T1w", ONE)
    np.testing.assert_array_equal(found.data > 0, half)


def test_synthstrip_gives_the_brain_of_a_head(tools):
    give(tools, "mri_synthstrip", standins.SYNTHSTRIP, above=0)
    mask = synthstrip_mask(HEAD, "sub-01", ONE)
    assert mask.dtype == bool
    np.testing.assert_array_equal(mask, BALL)


def test_synthseg_gives_its_32_structures_on_the_scans_own_grid(tools):
    give(tools, "mri_synthseg", standins.SYNTHSEG, labels=list(SYNTHSEG_LABELS))
    labels = synthseg_labels(HEAD, "sub-01", TWO)
    assert labels.grid is HEAD.grid
    assert set(np.unique(labels.data)) == {0, *SYNTHSEG_LABELS}


def test_the_label_table_names_the_32_structures():
    table = read_label_table(REPOSITORY / "config" / "labels" / "synthseg.tsv")
    assert tuple(table["id"]) == SYNTHSEG_LABELS
    assert len(table) == 32
    counts = table["hemisphere"].value_counts()
    assert (counts["left"], counts["right"], counts["none"]) == (14, 14, 4)
    left, right = (table[table["hemisphere"] == side] for side in ("left", "right"))
    assert list(left["name"].str.removeprefix("Left-")) == list(
        right["name"].str.removeprefix("Right-")
    )
    assert list(left["abbreviation"]) == list(right["abbreviation"])


# ---------------------------------------------------------------------------------- what is refused

STEPS = {
    "mri_nu_correct.mni": lambda: nu_correct(HEAD, None, "T1w", ONE),
    "mri_normalize": lambda: normalise(HEAD, None, "T1w", ONE),
    "mri_synthstrip": lambda: synthstrip_mask(HEAD, "sub-01", ONE),
    "mri_synthseg": lambda: synthseg_labels(HEAD, "sub-01", ONE),
}
WRITE = """
if sys.argv[1:] == ["--version"]:
    sys.exit()
out = [a for a in sys.argv if a.endswith("result.nii.gz")][0]
scan = load([a for a in sys.argv if a.endswith("scan.nii.gz")][0])
"""
SPOILT = {
    "save(np.full(scan.shape, np.nan, np.float32), scan.affine, "
    "out)": "wrote an unusable result.nii.gz",
    "save(np.ones((4, 4, 4), np.float32) + np.eye(4, dtype=np.float32), scan.affine, "
    "out)": "on another grid",
    "save((scan.get_fdata() > 0).astype(np.float32), -scan.affine * [1, 1, 1, -1], "
    "out)": "on another grid",
    "open(out, 'wb').write(b'half a file')": "wrote an unusable result.nii.gz",
    "open(out, 'w')": "wrote an empty result.nii.gz",
    "print('no file')": "wrote no result.nii.gz; its last lines: no file",
    "print('ERROR: licence'); "
    "sys.exit(1)": "failed with exit status 1; its last lines: ERROR: licence",
}


@pytest.mark.parametrize(("body", "sentence"), SPOILT.items())
@pytest.mark.parametrize("step", ["mri_normalize", "mri_synthseg"])
def test_a_result_that_is_no_result_is_blamed_on_the_tool(step, body, sentence, tools):
    give(tools, step, WRITE + body)
    with pytest.raises(ToolError) as error:
        STEPS[step]()
    assert str(error.value).startswith(f"{step} of FreeSurfer ")
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("step", STEPS)
def test_a_step_without_its_tool_says_so(step, tools):
    with pytest.raises(
        InputError,
        match=rf"^\w.* cannot run: the program {step} of FreeSurfer is neither in a folder",
    ):
        STEPS[step]()


@pytest.mark.parametrize("step", ["mri_nu_correct.mni", "mri_normalize"])
def test_a_step_without_freesurfers_licence_says_so(step, tools, monkeypatch):
    give(tools, step, "raise SystemExit('started')")
    monkeypatch.setenv("FS_LICENSE", str(tools / "none.txt"))
    monkeypatch.delenv("FREESURFER_HOME", raising=False)
    with pytest.raises(InputError, match=r"needs FreeSurfer's licence file"):
        STEPS[step]()


def test_a_scan_without_a_brain_is_named(tools):
    give(tools, "mri_synthstrip", standins.SYNTHSTRIP, above=1e9)
    give(tools, "mri_synthseg", standins.SYNTHSEG, labels=[0])
    with pytest.raises(InputError, match=r"^SynthStrip found no brain in sub-01; check"):
        synthstrip_mask(HEAD, "sub-01", TWO)
    with pytest.raises(InputError, match=r"^SynthSeg found no structure in sub-01; check"):
        synthseg_labels(HEAD, "sub-01", TWO)
    with pytest.raises(InputError, match=r"no intensity above 0"):
        normalise(Image(np.zeros(GRID.shape), GRID), None, "T1w", TWO)


def test_labels_of_another_atlas_are_refused(tools):
    give(tools, "mri_synthseg", standins.SYNTHSEG, labels=[2, 3, 1035])
    with pytest.raises(ToolError, match=r"labels that SynthSeg 2\.0 does not have \(\[1035\]\)"):
        synthseg_labels(HEAD, "sub-01", TWO)


# ---------------------------------------------------------------------------- nipype's descriptions


def test_command_lines_are_the_documented_ones(tmp_path):
    a, b = tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"
    for path in (a, b):
        path.touch()
    assert (
        SynthStrip(in_file=a, mask_file="m.nii.gz").cmdline == f"mri_synthstrip -i {a} -m m.nii.gz"
    )
    assert SynthSeg(
        in_file=a, out_file="s.nii.gz", keep_geometry=True, threads=2, cpu=True
    ).cmdline == (f"mri_synthseg --cpu --i {a} --keepgeom --o s.nii.gz --threads 2")
    assert SynthMorph(
        moving_file=a, fixed_file=b, model="deform", weight=0.5, trans_file="t.nii.gz"
    ).cmdline == (f"mri_synthmorph -m deform -t t.nii.gz -r 0.5 {a} {b}")
    assert NuCorrect(
        in_file=a, out_file="nu.mgz", iterations=1, protocol_iterations=1000, distance=50
    ).cmdline == (f"mri_nu_correct.mni --distance 50 --i {a} --n 1 --o nu.mgz --proto-iters 1000")


@pytest.mark.parametrize(
    ("interface", "inputs"),
    [
        (SynthStrip, {"mask_file": "m.nii.gz"}),
        (SynthSeg, {"in_file": __file__}),
        (SynthMorph, {"moving_file": __file__}),
    ],
)
def test_descriptions_know_what_belongs_together(interface, inputs):
    with pytest.raises(ValueError, match=r"requires a value for input|mandatory"):
        _ = interface(**inputs).cmdline


def test_outputs_are_what_was_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outputs = SynthStrip(in_file=__file__, mask_file="m.nii.gz")._list_outputs()
    assert outputs == {"mask_file": str(tmp_path / "m.nii.gz")}


# -------------------------------------------------------------------------- the programs themselves


def real_or_skip(step):
    missing = missing_program(step)
    if missing:
        pytest.skip(f"{step} itself is not here: {missing}")


def a_real_head(real_data_root):
    from diffeode.files.io import read_image

    return read_image(next((real_data_root / "ixi2mm").rglob("*T1w.nii*")))


def test_synthstrip_itself_finds_a_brain_of_human_size(real_data_root):
    real_or_skip("mri_synthstrip")
    scan = a_real_head(real_data_root)
    litres = synthstrip_mask(scan, "a head", ONE).sum() * scan.grid.voxel_volume / 1e6
    assert 0.9 < litres < 2.2


def test_synthseg_itself_finds_all_structures(real_data_root):
    real_or_skip("mri_synthseg")
    found = synthseg_labels(a_real_head(real_data_root), "a head", ONE)
    assert set(np.unique(found.data)) == {0, *SYNTHSEG_LABELS}


def test_nu_correct_and_normalise_themselves_bring_white_matter_to_110(real_data_root):
    for step in ("mri_nu_correct.mni", "mri_normalize"):
        real_or_skip(step)
    scan = a_real_head(real_data_root)
    found = normalise(nu_correct(scan, None, "T1w", ONE), None, "T1w", ONE)
    values, counts = np.unique(found.data[found.data > 90], return_counts=True)
    assert values[counts.argmax()] == pytest.approx(110, abs=3)
