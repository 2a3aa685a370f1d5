"""The paper's preparation of raw heads, with stand-ins for FreeSurfer: what runs, what is kept, and
what is found missing.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import standins

from diffeode.files import io
from diffeode.geometry.image import Image

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

_DATASET = """\
kind: bids
root: heads
labels: synthseg
prepare:
  bias: freesurfer
  brain: synthstrip
  intensity: freesurfer
  template: {t1w: template.nii.gz}
  labels: synthseg
  spacing_mm: 6.0
"""
_EXPERIMENT = """\
title: Heads
fixed: {dataset: heads, modality: T2w}
moving: {dataset: heads, modality: T1w}
alignment: none
pairs: 1
"""
_STUDY = """\
study: heads
title: Heads
experiments: [heads]
runs: [identity]
ours: identity
seed: 1
results: results
tools: [programs]
"""
# what lies outside the brain of these heads is at most 3 per cent as bright as the brightest, the
# brain at least 12
_SYNTHSTRIP = """
given, _ = options({"-i": 1, "-m": 1})
scan = load(given["-i"])
data = scan.get_fdata()
save((data > 0.1 * data.max()).astype(np.uint8), scan.affine, given["-m"])
"""
_SYNTHSEG = """
given, _ = options({"--i": 1, "--o": 1, "--threads": 1, "--keepgeom": 0, "--cpu": 0})
scan = load(given["--i"])
data = scan.get_fdata()
save(np.where(data > 0.6, 2, np.where(data > 0, 3, 0)).astype(np.int32), scan.affine, given["--o"])
"""


def put_in_heads(folder: Path) -> None:
    """Surround every brain with something dim that touches all sides, as skin and neck do."""
    for path in folder.rglob("*_T?w.nii.gz"):
        scan = io.read_image(path)
        dim = np.random.default_rng(0).uniform(0.02, 0.03, scan.data.shape) * scan.data.max()
        scaled = np.maximum(scan.data, dim) / scan.data.max()
        io.write_image(
            path, Image(np.where(scan.data > 0, np.maximum(scaled, 0.12), scaled), scan.grid)
        )


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """FreeSurfer's licence, and a folder for Snakemake's cache between workflows."""
    folder = tmp_path_factory.mktemp("environment")
    (folder / "license.txt").write_text("somebody", encoding="utf-8")
    (folder / "cache").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FS_LICENSE", str(folder / "license.txt"))
        patch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(folder / "cache"))
        yield folder


@pytest.fixture(scope="module")
def prepared(copied, cohort, environment, tmp_path_factory):
    """A clone in which a study from raw heads is finished; two persons, one pair, one run."""
    clone = copied(tmp_path_factory.mktemp("heads") / "clone")
    left_out = shutil.ignore_patterns("*_dseg.nii.gz", "*_landmarks.tsv", "receipt.json")
    shutil.copytree(cohort, clone.path("heads"), ignore=left_out)
    shutil.copy(next(clone.path("heads").rglob("sub-02_T1w.nii.gz")), clone.path("template.nii.gz"))
    put_in_heads(clone.path("heads"))
    programs = clone.path("programs")
    standins.stand_in(programs, "mri_nu_correct.mni", standins.NU_CORRECT)
    standins.stand_in(programs, "mri_normalize", standins.NORMALIZE % {"mprage": True})
    standins.stand_in(programs, "mri_synthstrip", _SYNTHSTRIP)
    standins.stand_in(programs, "mri_synthseg", _SYNTHSEG)
    clone.write("config/datasets/heads.yaml", _DATASET)
    clone.write("config/experiments/heads.yaml", _EXPERIMENT)
    clone.write("config/config.yaml", _STUDY)
    run = clone.snakemake("--cache")
    assert run.returncode == 0, run.stdout
    return clone


@pytest.fixture
def clone(prepared, tmp_path):
    """A copy of the finished clone for one test."""
    shutil.copytree(prepared.root, tmp_path / "clone")
    return type(prepared)(tmp_path / "clone")


def unit(clone, scan: str) -> Path:
    return clone.path(f"results/prepared/heads/{scan}")


def test_every_step_leaves_a_unit_and_only_those_that_are_needed(prepared):
    steps = {"corrected", "brain", "placed"}
    folders = {
        scan.name: {f.name for f in scan.iterdir() if f.is_dir()}
        for scan in unit(prepared, "").iterdir()
    }
    assert set(folders) == {
        "sub-01_T2w",
        "sub-01_T1w",
        "sub-02_T1w",
    }  # the T2w goes through the T1w of its visit
    in_use = [
        line.split("\t")[1:3]
        for line in prepared.path("results/pairs/heads/pairs.tsv").read_text().splitlines()
    ]
    labelled = {name for name, found in folders.items() if "segmented" in found}
    assert labelled == set(in_use[1])
    assert all(found - {"segmented"} == steps for found in folders.values())


def test_scans_lie_in_the_template_s_space_with_the_tool_s_labels(prepared):
    template = io.read_image(prepared.path("template.nii.gz"))
    for name in ("sub-01_T1w", "sub-02_T1w"):
        image = io.read_image(unit(prepared, name) / "image.nii.gz")
        np.testing.assert_allclose(image.grid.spacing, 6)
        head = json.loads((unit(prepared, name) / "receipt.json").read_text())
        assert head["recipe"]["brain"] == "synthstrip"
    placed = io.read_affine(unit(prepared, "sub-02_T1w") / "to_scan.txt").matrix
    np.testing.assert_allclose(placed, np.eye(4), atol=0.6)
    assert template.grid.spacing[0] == pytest.approx(6)
    metrics = next(prepared.path("results/metrics/heads").rglob("identity.tsv")).read_text()
    assert "dice\t" in metrics


def test_receipts_and_the_methods_section_name_programs_and_versions(prepared):
    receipts = [json.loads(file.read_text()) for file in unit(prepared, "").rglob("receipt.json")]
    assert all(receipt["software"]["numpy"] == np.__version__ for receipt in receipts)
    brains = [receipt for receipt in receipts if receipt.get("step") == "brain"]
    program = prepared.path("programs/mri_synthstrip")
    found = {"path": str(program), "sha256": io.sha256(program)}
    assert [brain["programs"] for brain in brains] == [{"mri_synthstrip": found}] * 3
    text = prepared.path("results/studies/heads/methods.md").read_text(encoding="utf-8")
    assert f"mri_synthstrip of unknown version (SHA-256 {found['sha256'][:12]})" in text
    assert "the brain is found by SynthStrip [" in text


def test_what_is_there_is_not_made_again(prepared):
    assert prepared.planned() == {}


def test_another_segmentation_makes_labels_and_numbers_again_and_nothing_before(clone):
    clone.replace("config/datasets/heads.yaml", "  labels: synthseg", "  labels: given")
    planned = clone.planned()
    assert not {"strip", "correct", "place", "align", "register"} & set(planned)


def test_a_scan_that_is_replaced_makes_its_own_steps_again(clone):
    scan = clone.path("heads/sub-01/anat/sub-01_T2w.nii.gz")
    brighter = io.read_image(scan)
    io.write_image(scan, Image(brighter.data * 1.5, brighter.grid))
    planned = clone.planned()
    assert {step: planned[step] for step in ("strip", "correct", "place")} == {
        "strip": 1,
        "correct": 1,
        "place": 1,
    }


def test_a_brain_cut_short_is_found_again(clone):
    (unit(clone, "sub-01_T1w") / "brain/mask.nii.gz").write_bytes(b"")
    assert clone.planned()["strip"] == 1


def test_steps_are_taken_from_the_cache_between_workflows(clone):
    shutil.rmtree(clone.path("results"))
    shutil.rmtree(clone.path(".snakemake"))
    for program in clone.path("programs").iterdir():
        program.write_text("#!/bin/sh\necho this must not run\nexit 1\n", encoding="utf-8")
    run = clone.snakemake("--cache", "--until", "prepare")
    assert run.returncode == 0, run.stdout
    assert len(list(unit(clone, "").glob("*/receipt.json"))) == 3


def test_a_program_that_is_not_here_stops_before_any_job(clone):
    shutil.rmtree(clone.path("results/prepared"))
    clone.path("programs/mri_synthstrip").unlink()
    run = clone.snakemake()
    assert run.returncode == 1
    assert (
        "brain: synthstrip cannot run here: the program mri_synthstrip of FreeSurfer is neither"
        in run.stdout
    )
    assert "Traceback" not in run.stdout
    assert not unit(clone, "").exists()
    assert clone.snakemake("--dry-run").returncode == 0


def test_freesurfer_without_its_licence_stops_before_any_job(clone, monkeypatch):
    shutil.rmtree(clone.path("results/prepared"))
    monkeypatch.setenv("FS_LICENSE", "/nowhere/license.txt")
    monkeypatch.delenv("FREESURFER_HOME", raising=False)
    run = clone.snakemake()
    assert run.returncode == 1
    assert "needs FreeSurfer's licence file" in run.stdout
    assert not unit(clone, "").exists()
