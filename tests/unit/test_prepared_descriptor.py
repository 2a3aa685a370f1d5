"""Descriptors that are trained on prepared scans: the persons who are trained on, those who are
held out, and the files and experiments that are refused.
"""

from pathlib import Path

import numpy as np
import pytest
import yaml

from diffeode.errors import DamagedFileError, InputError
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.learning.descriptor import prepared
from diffeode.learning.descriptor.material import lesson_from, read_training
from diffeode.learning.descriptor.prepared import PreparedScan, lesson_of, train_on_prepared
from diffeode.registration.runs import Run, load_run
from diffeode.study.descriptors import Taught, taught, trained_descriptors
from diffeode.units.scan import ScanUnit, write_scan

SHAPE = (24, 22, 20)
RECIPE = {"crop": 16, "locations": 32, "width": 2, "features": 2, "halving": 0, "synthetic": 0}
CONTENT = {
    "experiment": "some",
    "validation_persons": 1,
    "recipe": RECIPE,
    "settings": {"steps": 2, "interval": 1, "seed": 5},
}


def training_file(folder, **changes):
    content = {key: value for key, value in {**CONTENT, **changes}.items() if value is not None}
    (folder / "training.yaml").write_text(yaml.safe_dump(content))
    return folder / "training.yaml"


def scan(root, name, contrast, person, visit="", shift_mm=0.0, dataset="one") -> PreparedScan:
    """Return a prepared scan of textured noise, which is inverted where it is a T2w."""
    noise = np.random.default_rng(list(person.encode())).uniform(0.1, 0.9, SHAPE)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    brain = sum(axis**2 for axis in axes) < 0.9
    values = np.where(brain, noise if contrast == "T1w" else 1 - noise, 0).astype(np.float32)
    affine = np.eye(4)
    affine[0, 3] = shift_mm
    folder = root / dataset / f"sub-{name}_{contrast}"
    image = Image(values, Grid(SHAPE, affine))
    write_scan(ScanUnit(folder), image, brain, None, None, None, {})
    return PreparedScan(folder, person, visit, contrast)


@pytest.fixture
def learned_from(monkeypatch):
    """Return a function that returns the arguments from which a lesson is made."""
    made = []
    monkeypatch.setattr(prepared, "descriptor_lesson", lambda *given: made.append(given))

    def look(training, scans):
        lesson_of(training, scans)
        return made[-1]

    return look


def test_one_person_in_two_contrasts_is_held_out_with_all_scans(tmp_path, learned_from):
    """The scans of another visit and of another dataset are held out, too. The persons who are
    trained on need not have both contrasts.
    """
    training = read_training(training_file(tmp_path))
    both = [scan(tmp_path, "01", contrast, "one/01") for contrast in ("T1w", "T2w")]
    more = [
        scan(tmp_path, "01_ses-2", "T1w", "one/01", visit="2"),
        scan(tmp_path, "71", "T1w", "one/01", visit="elsewhere", dataset="two"),
    ]
    others = [scan(tmp_path, "02", "T1w", "one/02"), scan(tmp_path, "03", "T2w", "one/03")]
    specimens, validation, recipe, data, seed = learned_from(training, [*others, *both, *more])
    assert [specimen.person for specimen in specimens] == ["one/02", "one/03"]
    assert all(specimen.labels is None for specimen in specimens)
    ((first, second),) = validation
    np.testing.assert_array_equal(first, both[0].unit.image().data)
    np.testing.assert_array_equal(second, both[1].unit.image().data)
    assert (recipe, seed) == (training.recipe, 5)
    assert set(data) == {f"one/sub-0{n}_{m}" for n, m in ((1, "T1w"), (1, "T2w"), (2, "T1w"))} | {
        "one/sub-03_T2w",
        "one/sub-01_ses-2_T1w",
        "two/sub-71_T1w",
    }


def test_who_is_held_out_depends_on_seed_and_names_alone(tmp_path, learned_from):
    scans = [scan(tmp_path, n, m, f"one/{n}") for n in ("01", "02", "03") for m in ("T1w", "T2w")]

    def trained_on(seed, order):
        settings = {**CONTENT["settings"], "seed": seed}
        training = read_training(training_file(tmp_path, settings=settings))
        return {specimen.person for specimen in learned_from(training, order)[0]}

    found = {seed: trained_on(seed, scans) for seed in range(8)}
    assert all(len(persons) == 2 for persons in found.values())
    assert len({frozenset(persons) for persons in found.values()}) > 1
    assert found == {seed: trained_on(seed, scans[::-1]) for seed in range(8)}


@pytest.mark.parametrize(
    ("second", "held_out"),
    [
        ({"visit": "another"}, 1),
        ({"shift_mm": 3.0}, 1),
        ({"contrast": "T1w", "name": "02_run-2"}, 1),
        ({}, 2),
    ],
    ids=["another visit", "another grid", "one contrast", "nobody to train on"],
)
def test_too_few_persons_are_refused(second, held_out, tmp_path):
    training = read_training(training_file(tmp_path, validation_persons=held_out))
    about = {"name": "02", "contrast": "T2w", "person": "one/02", **second}
    scans = [scan(tmp_path, "02", "T1w", "one/02"), scan(tmp_path, **about)]
    others = (
        [scan(tmp_path, "01", m, "one/01") for m in ("T1w", "T2w")]
        if held_out == 2
        else [scan(tmp_path, "01", "T1w", "one/01")]
    )
    with pytest.raises(InputError, match="held out to validate on and others are needed"):
        lesson_of(training, [*scans, *others])


def test_a_damaged_scan_is_noticed(tmp_path):
    training = read_training(training_file(tmp_path))
    scans = [scan(tmp_path, n, m, f"one/{n}") for n in ("01", "02") for m in ("T1w", "T2w")]
    scans[3].unit.image_file.write_bytes(b"")
    with pytest.raises(DamagedFileError):
        lesson_of(training, scans)


def test_it_trains_weights(tmp_path):
    scans = [scan(tmp_path, n, m, f"one/{n}") for n in ("01", "02") for m in ("T1w", "T2w")]
    best = train_on_prepared(training_file(tmp_path), scans, tmp_path / "out")
    assert best == tmp_path / "out" / "best.safetensors"
    assert best.is_file()
    curves = (tmp_path / "out" / "curves.tsv").read_text().splitlines()
    assert len(curves) == 3
    assert "nan" not in curves[2]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"scans": ["*"]}, "names an experiment, whose prepared scans are trained on, and has"),
        ({"test": ["*"]}, "and has the key 'test' besides"),
        ({"experiment": ""}, "has experiment: ''; give the name of an experiment"),
        ({"experiment": 3}, "has experiment: 3; give the name of an experiment"),
        ({"validation_persons": 0}, "has validation_persons: 0; give a whole number from 1 on"),
        ({"validation_persons": True}, "has validation_persons: True; give a whole number"),
        ({"experiment": None}, "has validation_persons, which counts persons of an experiment"),
    ],
)
def test_a_file_that_does_not_say_what_to_train_on_is_refused(changes, sentence, tmp_path):
    with pytest.raises(InputError) as refusal:
        read_training(training_file(tmp_path, **changes))
    assert sentence in str(refusal.value)


def test_the_desk_has_no_prepared_scans(tmp_path):
    with pytest.raises(InputError, match="prepared scans of the experiment some; run a study"):
        lesson_from(read_training(training_file(tmp_path)), tmp_path)


WEIGHTS = "results/descriptors/{}/best.safetensors"
CONFIG = Path(__file__).resolve().parents[2] / "config"


@pytest.mark.parametrize("name", sorted(f.stem for f in (CONFIG / "descriptors").glob("*.yaml")))
def test_the_descriptors_of_the_repository_are_readable(name):
    """A plan and a training read the same experiment from the file."""
    file = CONFIG / "descriptors" / f"{name}.yaml"
    training, how = read_training(file), taught(name, CONFIG.parent)
    parameters = {"similarity": {"descriptor": {"weights": WEIGHTS.format(name)}}}
    run = Run("mine", "neural-ode", "Mine", parameters)
    (trained,) = trained_descriptors([run, run], CONFIG.parent, Path("results"))
    assert (trained.name, trained.runs) == (name, ("mine", "mine"))
    assert (trained.steps, trained.held_out) == (
        training.settings.steps,
        training.validation_persons,
    )
    assert trained.settings["recipe.crop"] == training.recipe.crop
    assert trained.settings["settings.seed"] == training.settings.seed
    files = {"scans": training.scans, "labels": training.labels}
    files |= {"validation": training.validation}
    assert trained.files == {key: given for key, given in files.items() if given}
    if not training.experiment:
        assert how is None
        return
    assert (CONFIG / "experiments" / f"{training.experiment}.yaml").is_file()
    assert how == Taught(file, training.experiment, training.validation_persons)


def test_what_a_training_leaves_out_has_the_same_value_in_a_plan(tmp_path):
    (tmp_path / "config" / "descriptors").mkdir(parents=True)
    file = tmp_path / "config" / "descriptors" / "bare.yaml"
    file.write_text("experiment: some\n")
    run = load_run("node-mind").changed(
        {"similarity": {"descriptor": {"weights": WEIGHTS.format("bare")}}}
    )
    (trained,) = trained_descriptors([run], tmp_path, Path("results"))
    training = read_training(file)
    assert trained.steps == training.settings.steps
    assert trained.held_out == training.validation_persons
    assert trained.settings == {}
