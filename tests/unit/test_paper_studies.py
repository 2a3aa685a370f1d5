"""The studies of the papers, the full ones planned on made-up scans: their pairs and their runs."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
import yaml
from trees import IXI_FIXED, OASIS3_FIXED, write_papers_folders

from diffeode.evaluation.labels import read_label_table, structure_name
from diffeode.learning.method_training import trained_method
from diffeode.learning.pairs import split_by_person
from diffeode.study.files import load_study
from diffeode.study.methods_section import facts_of
from diffeode.study.model import Study
from diffeode.study.runs import read_runs

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
EXPERIMENTS = ("oasis3-oasis3", "ixi-oasis3", "ixi-ixi")
PAPER_METHODS = {
    *(
        "ants-syn",
        "niftyreg",
        "deedsbcv",
        "otmorph-paper",
        "synthmorph",
        "transmatch",
        "multigradicon",
    ),
    *("dinoreg", "convexadam", "paper-mind", "paper-cl", "paper-lmi"),
}
UNITS = {
    "paper": 3 * 100 * 14,
    "paper-descriptors": 3 * 100 * 5,
    "paper-regularisation": 3 * 100 * 12,
    "poster": 100 * 8,
    "checks": (100 + 20) * 11,
    "unseen-contrast": 20 * 8,
    "questions": (20 + 100) * 5,
    "nodeo": None,
    "nodeo-ablation": 200 * 22,
}
"""Registrations of each study; None where pairs of two experiments are counted below."""


SMALL_UNITS = {
    "paper": (6 + 5 + 5) * 10,
    "descriptors": (6 + 5) * 5,
    "newborns": 6 * 5,
    "regularisation": 2 * 8,
    "poster": 5 * 7,
    "nodeo": 2 * 27,
    "checks": 5 * 11,
    "unseen-contrast": 2 * 7,
    "questions": 5 * 5,
    "anatomy": (4 + 4) * 6,
}
"""Registrations of each study of ``make paper-small``."""


@pytest.fixture(scope="module")
def load(tmp_path_factory) -> Iterator[Callable[[str], Study]]:
    """A function that plans a study by its name, each once, because the large ones take seconds."""
    folders = write_papers_folders(tmp_path_factory.mktemp("studies"))
    with pytest.MonkeyPatch.context() as patch:
        for variable, folder in folders.items():
            patch.setenv(variable, str(folder))
        yield cache(lambda name: load_study(REPOSITORY / "config" / f"{name}.yaml", REPOSITORY))


@pytest.mark.parametrize(("name", "units"), UNITS.items())
def test_a_study_registers_as_many_pairs_as_its_paper(load, name, units):
    study = load(name)
    pairs = {experiment.name: len(experiment.pairs) for experiment in study.experiments}
    if name == "nodeo":
        assert pairs["neurite-oasis"] == 200
        assert pairs["candi"] == 80
    else:
        assert len(study.units()) == units
    assert study.ours in {run.name for run in study.runs}
    assert all(set(sweep.points) <= {run.name for run in study.runs} for sweep in study.sweeps)


@pytest.mark.parametrize(("name", "units"), SMALL_UNITS.items())
def test_a_reduced_study_can_be_planned(real_data_root, monkeypatch, name, units):
    """Its networks and descriptors are trained on nobody who is registered."""
    monkeypatch.setenv("DIFFEODE_DATA", str(real_data_root))
    study = load_study(REPOSITORY / "config" / "small" / f"{name}.yaml", REPOSITORY)
    assert len(study.units()) == units
    assert study.ours in {run.name for run in study.runs}
    registered = set().union(*map(names_of, study.experiments))
    trained_on = set().union(*map(names_of, [*study.trainings, *study.taught_on.values()]))
    assert not registered & trained_on
    assert bool(trained_on) == (name in ("paper", "newborns", "unseen-contrast"))


def test_make_paper_small_runs_every_reduced_study():
    named = re.search(r"studies,([\w -]+),config/small", (REPOSITORY / "Makefile").read_text())
    files = {file.stem for file in (REPOSITORY / "config" / "small").glob("*.yaml")}
    assert sorted(named[1].split()) == sorted(files) == sorted(SMALL_UNITS)


def test_the_first_experiment_has_the_twelve_methods_and_trains_two_for_each_experiment(load):
    study = load("paper")
    assert {run.name for run in study.runs} >= PAPER_METHODS
    assert {run.name for run in study.trained_runs()} == {"otmorph-paper", "transmatch"}
    trained_on = {name: e.name for name, e in study.train_on.items()}
    assert list(trained_on) == list(EXPERIMENTS)
    assert len(set(trained_on.values())) == 3
    for experiment in study.experiments:
        training = study.train_on[experiment.name]
        for side in ("fixed", "moving"):
            dataset = getattr(experiment, side).dataset.name
            assert getattr(training, side).dataset.name == dataset


@pytest.mark.parametrize(("name", "trainings"), [("paper", 6), ("nodeo", 1)])
def test_every_network_has_pairs_to_train_and_to_validate_on(load, name, trainings):
    study = load(name)
    found = [
        split_by_person(experiment.pairs, trained_method(run).validation_persons, study.seed)
        for experiment in study.trainings
        for run in study.trained_runs()
    ]
    assert len(found) == trainings
    for training, validation in found:
        assert len(training) >= 300
        assert len(validation) >= 8


def test_the_descriptor_is_trained_on_persons_of_oasis3_whom_nobody_registers(load):
    for name in ("paper", "paper-descriptors", "paper-regularisation", "checks"):
        study = load(name)
        assert set(study.taught_on) == {"oasis3"}
        registered = set().union(*(experiment.persons for experiment in study.experiments))
        assert not registered & study.taught_on["oasis3"].persons
        (trained,) = facts_of(study)["descriptors"]
        persons = len(study.taught_on["oasis3"].persons)
        assert (trained["name"], trained["steps"], trained["persons"]) == ("oasis3", 20000, persons)
        assert trained["held_out"] == 4
        assert set(trained["scans"]) == {"T1w", "T2w"}
        assert all(rule.endswith("drawn at random") for rule in trained["choice"])
        described = [run for run in study.runs if run.name.startswith("paper-cl")]
        assert described
        for run in described:
            weights = run.build().descriptor_weights
            assert weights == "results/descriptors/oasis3/best.safetensors"


def test_the_descriptor_of_newborns_is_trained_on_newborns_whom_nobody_registers(
    data_root, monkeypatch
):
    """Beside it, the reduced study takes the weights in the package."""
    monkeypatch.setenv("DIFFEODE_DATA", str(data_root))
    study = load_study(REPOSITORY / "config" / "small" / "newborns.yaml", REPOSITORY)
    (registered,) = study.experiments
    (taught_on,) = study.taught_on.values()
    assert names_of(taught_on) == {f"albert-third/{number:02}" for number in range(1, 7)}
    assert names_of(registered) == {f"albert-third/{number:02}" for number in range(7, 11)}
    assert len(registered.pairs) == 6
    (trained,) = facts_of(study)["descriptors"]
    assert trained["name"] == "albert-third"
    assert trained["runs"] == ["Neural ODE (CL, trained on newborns)"]
    assert (trained["persons"], trained["held_out"]) == (6, 2)
    weights = "results/descriptors/albert-third/best.safetensors"
    beside = study.run("paper-cl").changed({"similarity": {"descriptor": {"weights": weights}}})
    assert study.run("paper-cl-newborns").parameters == beside.parameters


def test_the_descriptor_of_the_reduced_unseen_contrast_learned_from_no_flair(
    data_root, monkeypatch
):
    monkeypatch.setenv("DIFFEODE_DATA", str(data_root))
    study = load_study(REPOSITORY / "config" / "small" / "unseen-contrast.yaml", REPOSITORY)
    (registered,) = study.experiments
    (taught_on,) = study.taught_on.values()
    seen = {side.modality for side in (taught_on.fixed.selection, taught_on.moving.selection)}
    assert registered.fixed.selection.modality == "FLAIR"
    assert seen == {"T1w", "T2w"}
    assert names_of(registered) == {"openms-heads/patient01", "openms-heads/patient03"}
    weights = [getattr(run.build(), "descriptor_weights", "") for run in study.runs]
    assert {*weights} == {"", "results/descriptors/albert-third/best.safetensors"}


def names_of(experiment):
    return {person.name for person in experiment.persons}


@pytest.mark.parametrize("size", ["", "small/"])
def test_the_barrier_of_all_runs_takes_the_same_values_and_the_largest_is_node_diff(size):
    """Two blocks make one curve of each run, and so a title of its own for the largest barrier."""
    names = {"": "paper-regularisation", "small/": "small/regularisation"}
    file = REPOSITORY / "config" / f"{names[size]}.yaml"
    runs, sweeps = read_runs(yaml.safe_load(file.read_text())["runs"], str(file))
    values = defaultdict(list)
    for sweep in sweeps:
        values[sweep.title] += [value for (value,) in sweep.points.values()]
    curves = ["Neural ODE (MIND)", "Neural ODE (CL)", *(["SynthMorph"] * (not size))]
    assert values == {curve: [0.1, 0.25, 0.5, 0.75] for curve in curves}
    largest = [run for run in runs if run.name.startswith("paper") and run.name.endswith("0.75")]
    assert [run.title for run in largest] == [
        f"NODE-Diff ({descriptor}), barrier 0.75" for descriptor in ("MIND", "CL")
    ]


@pytest.mark.parametrize(("name", "labels"), [("nodeo", "candi"), ("small/nodeo", "neurite35")])
def test_nodeos_figures_show_the_structures_of_its_fourth_figure(name, labels):
    """The 28 structures of the paper, both hemispheres as one; Neurite-OASIS lacks one of them."""
    content = yaml.safe_load((REPOSITORY / "config" / f"{name}.yaml").read_text())
    table = read_label_table(REPOSITORY / "config" / "labels" / f"{labels}.tsv")
    wanted = {structure_name(structure) for structure in table["name"][table["subset"]]}
    structures = content["figures"]["structures"]
    assert (set(structures), len(structures)) == (wanted, 16 - (labels == "neurite35"))
    assert structures[:2] == ["Brain stem", "Thalamus"]
    if name == "nodeo":
        assert content["figures"]["runs"] == ["symnet", "nodeo"]


@pytest.mark.parametrize("name", ["nodeo", "small/nodeo"])
def test_nodeo_runs_by_its_text_as_by_its_code(name):
    runs, _ = read_runs(
        yaml.safe_load((REPOSITORY / "config" / f"{name}.yaml").read_text())["runs"], name
    )
    (text,) = (run.build() for run in runs if run.name == "nodeo-text")
    assert text.levels.iterations == (250,)


def test_nodeos_ablation_has_every_cell_of_its_second_table(load):
    study = load("nodeo-ablation")
    (sweep,) = study.sweeps
    assert Counter(sweep.points.values()) == Counter(
        (steps, iterations) for steps in range(1, 6) for iterations in (200, 250, 300)
    )
    for name, (steps, iterations) in sweep.points.items():
        method = study.run(name).build()
        assert (method.flow.steps, method.levels.iterations) == (steps, (iterations,))
    for kernel, width in (("", 15), ("-no-kernel", 1)):
        for steps in (1, 2, 3):
            method = study.run(f"nodeo-free-velocity{kernel}-{steps}").build()
            assert (method.velocity.knots, method.flow.steps) == (steps, steps)
            assert method.velocity.kernel.width == width
            assert farthest_voxels(method) > 10


def farthest_voxels(method):
    """The largest displacement that Adam can give a free velocity: it changes a number by about its
    learning rate in an iteration.
    """
    iterations = sum(method.levels.iterations)
    return method.descent.learning_rate * iterations * method.flow.steps * method.flow.step_size


def test_fixed_persons_are_those_of_the_appendix(load):
    fixed = {e.name: {pair.fixed.subject for pair in e.pairs} for e in load("paper").experiments}
    assert fixed == {
        "oasis3-oasis3": set(OASIS3_FIXED),
        "ixi-oasis3": set(OASIS3_FIXED),
        "ixi-ixi": set(IXI_FIXED),
    }


def test_severe_dementia_is_registered_to_healthy_persons(load):
    (severe,) = (e for e in load("checks").experiments if e.name == "oasis3-severe")
    assert {pair.fixed.group for pair in severe.pairs} <= {"dementia", "severe dementia"}
    assert {pair.moving.group for pair in severe.pairs} == {"healthy"}
