"""A study with a run whose descriptor is trained first, on persons who are not registered."""

import nibabel as nib
import numpy as np
import pytest

from diffeode.descriptors.learned import ARCHITECTURE, VERSION
from diffeode.errors import InputError
from diffeode.study.files import load_study, require_untrained
from diffeode.weights.checkpoint import read_checkpoint

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

DATASET = """\
title: Toys
population: toys
kind: bids
root: "${DIFFEODE_DATA}/toys"
labels: null
prepare: {bias: none, brain: nonzero, intensity: robust, spacing_mm: null}
"""
EXPERIMENT = """\
title: Toys
fixed: {dataset: toys, modality: T2w, subjects: ["03"]}
moving: {dataset: toys, modality: T1w, subjects: ["04"]}
alignment: none
pairs: all
seed: 2
"""
STUDY = """\
study: toys
title: Toys
experiments: [toys]
runs: [identity, learned]
ours: learned
seed: 1
results: results
panels: 0
"""
RUN = """\
method: neural-ode
title: Learned
parameters:
  similarity:
    descriptor: {weights: results/descriptors/toys/best.safetensors}
  levels: {factors: [2], iterations: [1]}
"""
TRAINING = """\
scans: ["toys/sub-01/anat/*"]
validation: ["toys/sub-02/anat/*"]
recipe: {crop: 16, locations: 32, width: 2, features: 2, halving: 0}
settings: {steps: 1, interval: 1}
"""


def save_toys(folder):
    """Four persons in two contrasts: textured ellipsoids, and the same inverted."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in (24, 22, 20)), indexing="ij")
    inside = sum(axis**2 for axis in axes) < 0.8
    for person in ("01", "02", "03", "04"):
        texture = np.random.default_rng(int(person)).uniform(0.1, 0.9, inside.shape)
        anat = folder / "toys" / f"sub-{person}" / "anat"
        anat.mkdir(parents=True)
        for contrast, values in (("T1w", texture), ("T2w", 1 - texture)):
            image = nib.Nifti1Image(
                np.where(inside, values, 0).astype(np.float32), np.diag([5.0, 5.0, 5.0, 1.0])
            )
            nib.save(image, anat / f"sub-{person}_{contrast}.nii.gz")


@pytest.fixture
def clone(tmp_path, copied, monkeypatch):
    save_toys(tmp_path / "data")
    monkeypatch.setenv("DIFFEODE_DATA", str(tmp_path / "data"))
    clone = copied(tmp_path / "clone")
    clone.write("config/datasets/toys.yaml", DATASET)
    clone.write("config/experiments/toys.yaml", EXPERIMENT)
    clone.write("config/config.yaml", STUDY)
    clone.write("config/methods/learned.yaml", RUN)
    clone.write("config/descriptors/toys.yaml", TRAINING)
    return clone


def test_the_descriptor_is_trained_before_the_registrations_that_use_it(clone):
    planned = clone.planned()
    assert (planned["descriptor_weights"], planned["register"]) == (1, 2)
    run = clone.snakemake()
    assert run.returncode == 0, run.stdout
    weights, curves = (
        clone.path(f"results/descriptors/toys/{name}")
        for name in ("best.safetensors", "curves.png")
    )
    assert curves.is_file()
    assert clone.planned() == {}

    whole = weights.read_bytes()
    weights.write_bytes(whole + b"other")
    planned = clone.planned()
    assert (planned["descriptor_weights"], planned["register"]) == (1, 1)
    weights.write_bytes(whole)
    assert clone.planned() == {}

    clone.replace("config/descriptors/toys.yaml", "steps: 1,", "steps: 2,")
    before = curves.read_bytes()
    run = clone.snakemake("results/descriptors/toys/best.safetensors")
    assert run.returncode == 0, run.stdout
    assert curves.read_bytes() != before
    assert {file.name for file in curves.parent.iterdir()} == {
        "best.safetensors",
        "curves.png",
        "curves.tsv",
    }


def taught(clone, fixed='["01", "02"]', moving='["01", "02"]', **held_out):
    """The descriptor is trained on prepared scans of an experiment instead of files."""
    clone.write(
        "config/experiments/taught.yaml",
        EXPERIMENT.replace('["03"]', fixed).replace('["04"]', moving),
    )
    source = {"experiment": "taught", "validation_persons": 1, **held_out}
    rest = TRAINING[TRAINING.index("recipe") :]
    clone.write(
        "config/descriptors/toys.yaml",
        "".join(f"{key}: {value}\n" for key, value in source.items()) + rest,
    )


def test_a_descriptor_is_trained_on_the_prepared_scans_of_an_experiment(clone):
    taught(clone)
    planned = clone.planned()
    assert (planned["prepare"], planned["descriptor_weights"], planned["align"]) == (6, 1, 1)
    metrics = "results/studies/toys/metrics.tsv"
    run = clone.snakemake(metrics)
    assert run.returncode == 0, run.stdout
    weights = clone.path("results/descriptors/toys/best.safetensors")
    about = read_checkpoint(weights, ARCHITECTURE, VERSION).about
    assert set(about.data) == {f"toys/sub-0{n}_T{m}w" for n in (1, 2) for m in (1, 2)}
    assert clone.planned(metrics) == {}


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ({"moving": '["02", "03"]'}, "1 of the persons to test on are among those to train on"),
        (
            {"fixed": '["01"]', "moving": '["02"]'},
            "of the 2 persons in the pairs of the experiment",
        ),
        ({"validation_persons": 2}, "holds 2 persons out to validate on"),
        ({"experiment": "tought"}, "There is no experiment 'tought'"),
    ],
    ids=["who is registered", "one contrast each", "nobody to train on", "no such experiment"],
)
def test_an_experiment_that_cannot_teach_stops_the_study(clone, how, sentence):
    taught(clone, **how)
    run = clone.snakemake("--dry-run")
    assert run.returncode != 0
    assert sentence in run.stdout
    assert "Traceback" not in run.stdout


@pytest.mark.parametrize(
    ("person", "sentence"),
    [
        ("sub-04", "1 of the persons to test on are among those to train on"),
        ("sub-07", "sub-07/anat"),
    ],
    ids=["who is registered", "nobody"],
)
def test_a_descriptor_trained_on_the_wrong_persons_stops_the_study(clone, person, sentence):
    clone.replace("config/descriptors/toys.yaml", "sub-01", person)
    run = clone.snakemake("--dry-run")
    assert run.returncode != 0
    assert sentence in run.stdout
    assert "Traceback" not in run.stdout


def test_a_descriptor_without_weights_stops_the_study(clone):
    clone.replace("config/methods/learned.yaml", "descriptors/toys/best", "descriptors/toy/best")
    run = clone.snakemake()
    assert run.returncode != 0
    assert (
        "Run learned cannot work here: there are no descriptor weights "
        "'results/descriptors/toy/best" in run.stdout
    )
    assert not clone.path("results/prepared").exists()


def test_persons_are_known_by_their_folder_however_it_is_written(clone):
    clone.write(
        "config/config.yaml", STUDY.replace("learned", "affine")
    )  # runs are looked up where the package lies
    study = load_study(clone.path("config/config.yaml"), clone.root)
    anat = clone.root.parent / "clone" / ".." / "data" / "toys" / "sub-03" / "anat"
    with pytest.raises(InputError, match="among those to train on"):
        require_untrained(study, [anat / "sub-03_T1w.nii.gz"])
    require_untrained(study, [anat.parents[1] / "sub-01" / "anat" / "sub-01_T1w.nii.gz"])
