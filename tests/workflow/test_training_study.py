"""A study with a run that is trained first: once, on persons who are not registered; its
registrations use the weights.
"""

import json

import pytest
from ellipsoids import DATASET, LABELS, write_person

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

EXPERIMENT = """\
title: Tiny
fixed: {{dataset: folder, modality: T2w, subjects: {fixed}}}
moving: {{dataset: folder, modality: T1w, subjects: {moving}}}
alignment: none
pairs: {pairs}
seed: 2
"""
STUDY = """\
study: tiny
title: Tiny study
experiments: [tested]
runs: [identity, brief]
ours: identity
train_on: learned-from
seed: 1
results: results
panels: 0
"""
RUN = """\
method: voxelmorph
title: Brief
parameters: {steps: 2, interval: 1, window: 5}
"""


@pytest.fixture
def clone(fresh):
    """Four persons to train on, two to test on, and a training of two steps."""
    for number in range(1, 7):
        write_person(fresh.path("scans"), f"0{number}", 4 + number / 3)
    fresh.write("config/datasets/folder.yaml", DATASET)
    fresh.write("config/labels/ellipsoid.tsv", LABELS)
    fresh.write(
        "config/experiments/learned-from.yaml",
        EXPERIMENT.format(fixed='["01", "02"]', moving='["03", "04"]', pairs="all"),
    )
    fresh.write(
        "config/experiments/tested.yaml",
        EXPERIMENT.format(fixed='["05"]', moving='["06"]', pairs=1),
    )
    fresh.write("config/config.yaml", STUDY)
    fresh.write("config/methods/brief.yaml", RUN)
    return fresh


def test_the_training_comes_before_the_registrations_and_is_used_by_them(clone):
    planned = clone.planned()
    assert (
        planned["train"],
        planned["training_curves"],
        planned["align"],
        planned["register"],
    ) == (1, 1, 5, 2)
    run = clone.snakemake()
    assert run.returncode == 0, run.stdout
    folder = clone.path("results/networks/learned-from/brief")
    training = json.loads((folder / "receipt.json").read_text())
    assert training["persons"] == [f"folder/0{number}" for number in (1, 2, 3, 4)]
    (registered,) = clone.path("results/registrations/tested").glob("*/brief/receipt.json")
    parameters = json.loads(registered.read_text())["parameters"]
    assert parameters["weights_sha256"] == training["outputs"]["weights.safetensors"]["sha256"]
    assert clone.path("results/studies/tiny/figures/networks/learned-from/brief.png").is_file()
    assert clone.planned() == {}

    (folder / "weights.safetensors").write_bytes(b"damaged")
    assert (
        f"{folder.relative_to(clone.root)} has to be made again"
        in clone.snakemake("--dry-run").stdout
    )


def test_a_person_on_both_sides_stops_the_study(clone):
    clone.replace("config/experiments/tested.yaml", '"05"', '"04"')
    run = clone.snakemake("--dry-run")
    assert run.returncode != 0
    assert "1 of the persons to test on are among those to train on" in run.stdout


def test_a_study_without_a_training_says_what_is_missing(clone):
    clone.replace("config/config.yaml", "train_on: learned-from\n", "")
    run = clone.snakemake("--dry-run")
    assert run.returncode != 0
    assert "runs that are trained first (brief)" in run.stdout
