"""The methods section of a study: every choice has its words, every number in brackets has its
reference, and every reference its number.
"""

import dataclasses
import json
import re
from pathlib import Path

import pytest

from diffeode.datasets.selection import Draw
from diffeode.methods.neural_ode import NeuralODE
from diffeode.methods.neural_ode.penalties import PENALTIES
from diffeode.methods.neural_ode.similarities import SIMILARITIES
from diffeode.methods.neural_ode.velocity import FIELDS, KERNELS
from diffeode.prepare.described import described
from diffeode.prepare.recipe import recipe_choices
from diffeode.registration.knobs import OneOf, as_parameters, dotted, knob_of, leaves_of
from diffeode.registration.runs import load_run
from diffeode.study import energy
from diffeode.study.bibliography import read_bibliography
from diffeode.study.descriptors import TrainedDescriptor
from diffeode.study.files import load_study
from diffeode.study.methods_section import (
    as_html,
    as_markdown,
    cited_entries,
    facts_of,
    methods_section,
    said,
)

REPOSITORY = Path(__file__).resolve().parents[2]
SILENT = {("bias", "none"), ("template", "none"), ("through", "direct")}
SOFTWARE = {"python": "3.11.2", "torch": "2.13.0"}


def registration(run: str, pair: str = "a__b", **changes) -> dict:
    about = {
        "pair": pair,
        "run": run,
        "status": "done",
        "threads": 1,
        "device": "cpu",
        "software": SOFTWARE,
    }
    return about | {"programs": {}} | changes


@pytest.fixture
def facts():
    return facts_of(load_study(REPOSITORY / "config" / "config.yaml", REPOSITORY))


def text_of(facts, *receipts) -> str:
    return as_markdown("Demo: methods", methods_section(facts, receipts, "9.27.1"))


def test_a_study_without_label_maps_claims_neither_overlap_nor_tests(facts):
    assert facts["has_labels"]
    told = text_of(facts)
    without = text_of({**facts, "has_labels": False})
    for word in ("Dice", "HD95", "Wilcoxon"):
        assert word in told
        assert word not in without
    assert "NMI is the normalised mutual information" in without
    assert told.count("Folds are voxels") == without.count("Folds are voxels") == 1


def test_persons_who_are_registered_at_several_times_are_told_where_there_are_such(facts):
    assert facts["longitudinal"] is None
    assert "Several times" not in text_of(facts)
    study = load_study(REPOSITORY / "config" / "small" / "questions.yaml", REPOSITORY)
    told = text_of(json.loads(json.dumps(facts_of(study))))
    assert "1 virtual person (02; seed 7), scanned by nobody" in told
    assert "at the times [0, 0.5, 1] as fractions" in told
    assert "voxels of 5 mm, labels in voxels of 2 mm" in told
    assert "free in time (3 knots)" in told
    assert "flow.step_size 0.125" in told


def test_every_choice_of_a_recipe_has_its_words():
    choices = [(step, choice) for step, known in recipe_choices().items() for choice in known]
    assert {item for item in choices if not described(*item).text} == SILENT
    assert "ICBM152" in described("template", "icbm152").text
    assert described("template", "none").text == ""
    assert (
        "a.nii (t1w) and b.nii (t2w)"
        in described("template", {"t2w": "b.nii", "t1w": "a.nii"}).text
    )
    assert described("spacing_mm", 2.0).text == "prepared scans have voxels of 2 mm"
    assert described("spacing_mm", None).text == ""


def test_weights_are_cited_with_the_step_that_reads_them():
    assert any("2506.11860" in citation for citation in described("brain", "mindgrab").citations)


def test_facts_are_plain_words(facts):
    assert json.loads(json.dumps(facts)) == facts


def test_numbers_and_references_belong_together(facts):
    text, references = text_of(facts, registration("node-mind")).split("## References\n\n")
    used = [int(number) for number in re.findall(r" \[(\d+)\]", text)]
    listed = [
        int(number) for number in re.findall(r"^- \[(\d+)\] \S", references, flags=re.MULTILINE)
    ]
    assert listed == list(range(1, len(listed) + 1))
    assert list(dict.fromkeys(used)) == listed  # numbered as they are first met
    assert references.count("ANTs similarity metric") == 1
    assert "None" not in references


def test_the_demo_in_its_own_words(facts):
    text = text_of(facts, registration("node-mind"))
    for sentence in (
        "- Virtual cohort [1]: virtual adults; 3 T1w and 5 T2w of 5 persons. Source: Made here "
        "from the ICBM152",
        "- Virtual cohort: the scans come skull-stripped, and the brain is what is above zero; "
        "the brain's 0.1 and 99.9 percentiles become 0 and 1; structures are those that come "
        "with the data.",
        "T1w of Virtual cohort to T2w of Virtual cohort, 5 pairs, aligned by an affine map",
        "Seed 2512; 1 thread on cpu.",
        "- diffeode (LMI) (node-lmi): Neural ODE [5] [6] with "
        "similarity.local_mutual_information.weight 1, similarity.local_mutual_information.",
        "penalties.gradient.weight 2, velocity.",
        "Chosen for this run: penalties.gradient.weight, "
        "similarity.local_mutual_information.weight.",
        "- Initial (identity): Initial, which has no settings. Licence",
        "diffeode (MIND + NGF + NCC + NMI) is put against the others.",
        "- Registrations: python 3.11.2, torch 2.13.0.",
        "- The study was run by Snakemake 9.27.1 [",
    ):
        assert sentence in text


def test_a_neural_ode_says_its_terms_and_its_solver(facts):
    """Two runs of one method differ in what they cite."""
    items = methods_section(facts, [], "9")[3].items
    lines = {
        name: next(item for item in items if f"({name}): " in item)
        for name in ("node-mind", "node-lmi", "ants-syn")
    }
    rest = (
        "Regularisation: the gradient of the displacement [5]. Velocity: a free velocity at every "
        "voxel of its grid, smoothed by a Gaussian. Solver: scaling and squaring [10]. Licence: "
    )
    mind = "the self-similarity context of MIND (MIND-SSC) [7]"
    assert f" guaranteed. Similarity: {mind}. {rest}" in lines["node-mind"]
    assert f" guaranteed. Similarity: local mutual information [5]. {rest}" in lines["node-lmi"]
    assert "Similarity: " not in lines["ants-syn"]


CITED = {
    "node-lmi": {energy.MULTIMODAL, energy.SQUARING},
    "node-mind": {energy.SSC, energy.MULTIMODAL, energy.SQUARING},
    "paper-cl": {energy.MULTIMODAL, energy.NODEO, energy.LDDMM, energy.RUNGE_KUTTA},
    "paper-ngf": {
        *(energy.GRADIENT_FIELDS, energy.MULTIMODAL, energy.NODEO, energy.LDDMM),
        energy.RUNGE_KUTTA,
    },
    "nodeo": {energy.CORRELATION, energy.MULTIMODAL, energy.NODEO, energy.RUNGE_KUTTA},
}


@pytest.mark.parametrize("name", CITED)
def test_a_run_of_a_neural_ode_cites_the_sources_of_its_own_parts(name):
    parts = energy.parts_of(load_run(name)).values()
    assert {work for found in parts for part in found for work in part.citations} == CITED[name]


def test_terms_without_weight_and_kernels_that_smooth_nothing_are_left_out():
    run = load_run("node-mind").changed(
        {"penalties.gradient.weight": 0, "velocity.kernel.gaussian.width": 0}
    )
    parts = energy.parts_of(run)
    assert parts["Regularisation"] == []
    assert [part.text for part in parts["Velocity"]] == [energy.FIELDS["grid"].text]
    adjoint = run.changed({"flow.solver": "rk4", "flow.gradient": "adjoint"})
    assert energy.ADJOINT in energy.parts_of(adjoint)["Solver"][1].citations


def test_every_part_of_a_neural_ode_has_its_words():
    """Those that one setting tells apart have words for each of its values."""

    def choices(knob: str) -> set:
        domain = knob_of(leaves_of(NeuralODE)[knob]).domain
        return set(domain.known) if isinstance(domain, OneOf) else {True, False}

    apart = {
        "similarity": {
            "mind": choices("similarity.mind.form"),
            "mutual_information": choices("similarity.mutual_information.normalised"),
            "descriptor": choices("similarity.descriptor.kind"),
        },
        "penalties": {"jacobian": choices("penalties.jacobian.squared")},
    }
    for family, known, words in (
        ("similarity", SIMILARITIES, energy.SIMILARITIES),
        ("penalties", PENALTIES, energy.PENALTIES),
    ):
        kinds = {name: apart[family].get(name, {None}) for name in known}
        assert words.keys() == {(name, kind) for name, of_name in kinds.items() for kind in of_name}
    assert energy.FIELDS.keys() == FIELDS.keys()
    assert energy.KERNELS.keys() == KERNELS.keys()
    assert energy.SOLVERS.keys() == choices("flow.solver")


def test_every_run_says_all_its_settings(facts):
    """Iterations, metrics and weights of every run stand there, also where they are defaults."""
    items = dict(
        (re.search(r"\((\S+)\): ", item)[1], item)
        for item in text_of(facts).split("## Registration\n\n")[1].split("\n\n")[0].split("\n")[1:]
    )
    for name, item in items.items():
        for setting, value in dotted(as_parameters(load_run(name).build(), whole=True)).items():
            assert f" {said(setting, value)}" in item, (name, setting)
        assert "default" not in item
    assert "levels.iterations [" in items["node-mind"]
    assert "similarity.mind.weight 1" in items["node-mind"]
    assert "iterations [100, 70, 50, 20]" in items["ants-syn"]


TRAINED = TrainedDescriptor(
    "mine", ("node-mind",), 160, 1, {"recipe.crop": 32, "settings.seed": 9}, {}
)


def with_descriptor(trained, **changes):
    study = load_study(REPOSITORY / "config" / "config.yaml", REPOSITORY)
    return facts_of(dataclasses.replace(study, descriptors=(trained,), **changes))


def test_a_descriptor_that_is_trained_on_an_experiment_says_on_whom_and_how():
    content = {
        **{"study": "s", "title": "S", "experiments": ["virtual-training"], "runs": ["identity"]},
        **{"ours": "identity", "seed": 1, "results": "results"},
    }
    (experiment,) = load_study(content, REPOSITORY).experiments
    draw = Draw(persons=3)
    chosen = dataclasses.replace(
        experiment.fixed.selection, part="train", sessions="first", draw=draw, groups=("a", "b")
    )
    side = dataclasses.replace(experiment.fixed, selection=chosen)
    experiment = dataclasses.replace(experiment, fixed=side)
    facts = with_descriptor(TRAINED, taught_on={"mine": experiment})
    assert json.loads(json.dumps(facts)) == facts
    (line,) = [line for line in text_of(facts).splitlines() if line.startswith("- mine, the ")]
    title, population = experiment.fixed.dataset.title, experiment.population
    persons = len(experiment.persons)
    scans = {m: sum(scan.modality == m for scan in experiment.scans) for m in ("T1w", "T2w")}
    assert line == (
        f"- mine, the descriptor of diffeode (MIND): It was trained for this study on prepared "
        f"scans, {scans['T1w']} T1w and {scans['T2w']} T2w of {persons} persons: those in the "
        f"{len(experiment.pairs)} pairs of the experiment {experiment.title} ({population}), whose "
        f"sides are T2w of {title}, groups a, b, the part of its split to train on, the first "
        f"session of each person, 3 persons in all, drawn at random; and T1w of {title}. The "
        "training held out 1 person of them, chosen by the seed among those with two contrasts of "
        "one visit, and kept the weights that were best there. None of these persons is "
        "registered. The training took 160 steps, with recipe.crop 32, settings.seed 9; settings "
        "that are not named here have the values in config/README.md."
    )
    assert text_of(facts).index("## Pairs") < text_of(facts).index("## Descriptors")


def test_a_descriptor_that_is_trained_on_files_names_them():
    files = {"scans": ("a/*", "b/*"), "validation": ("c/*",)}
    text = text_of(with_descriptor(dataclasses.replace(TRAINED, files=files)))
    assert (
        "on files below the folder of the data (scans: a/*, b/*; scans to validate on: c/*). None "
        "of their persons is registered. The training took 160 steps, with recipe.crop 32"
    ) in text


def test_a_study_that_trains_no_descriptor_has_nothing_about_them(facts):
    assert facts["descriptors"] == []
    assert "## Descriptors" not in text_of(facts)


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "a.b yes"), ("", "a.b none"), ((1, 2.5), "a.b [1, 2.5]"), ({}, "a b"), (0, "a.b 0")],
)
def test_settings_are_said_as_people_read_them(value, shown):
    assert said("a.b", value) == shown


def test_references_have_their_dois_and_keys(facts):
    bibliography = read_bibliography(REPOSITORY / "config" / "references.bib")
    told = (facts, [registration("node-mind")], "9", bibliography)
    *_, references = methods_section(*told)
    joined = "\n".join(references.items)
    entries = cited_entries(*told)
    for entry in entries:
        assert entry.key in joined
        assert entry.doi in joined
    assert "doi:10.1016/j.media.2007.06.004 (avants2008syn)" in joined
    keys = [entry.key for entry in entries]
    assert {"holm1979multiple", "wilcoxon1945ranking", "wu2022nodeo"} <= set(keys)
    assert len(set(keys)) == len(keys) > len(references.items) - 2


def test_a_scan_that_goes_through_its_t1w_says_so_where_there_is_one(facts):
    dataset = facts["datasets"][0]
    dataset["recipe"]["template"] = "icbm152"
    assert "by way of the T1w of its visit" in text_of(facts)
    dataset["scans"] = {"T1w": 3}
    assert "by way of the T1w of its visit" not in text_of(facts)


def test_bias_of_whole_heads_comes_before_the_brain(facts):
    dataset = facts["datasets"][0]
    dataset["recipe"] |= {"bias": "freesurfer", "brain": "synthstrip"}
    dataset["corrects_heads"] = True
    assert re.search(r"N3 .*SynthStrip", text_of(facts))
    dataset["recipe"]["bias"] = "n4"
    dataset["corrects_heads"] = False
    assert re.search(r"SynthStrip .*N4", text_of(facts))


def test_what_differs_between_units_is_counted(facts):
    newer = SOFTWARE | {"torch": "2.14.0"}
    receipts = [
        registration("node-mind"),
        registration("node-mind", "c__d", status="failed"),
        registration("ants-syn", software=newer, device="cuda", threads=4),
        {"step": "brain", "software": {"python": "3.12.0"}, "programs": {}},
    ]
    text = text_of(facts, *receipts)
    assert "2 registrations: 1 thread on cpu; 1 registration: 4 threads on cuda" in text
    assert (
        "Registrations: 2 units: python 3.11.2, torch 2.13.0; 1 unit: python 3.11.2, torch 2.14.0."
        in text
    )
    assert "Preparation, alignment and training: python 3.12.0." in text
    assert "1 of 2 registrations failed." in text


def test_programs_have_their_versions_and_checksums(facts):
    told = {
        "reg_f3d": {"path": "/opt/reg_f3d", "sha256": "0123456789abcdef" * 4, "version": "2.0.0"}
    }
    silent = {"deedsBCV": {"path": "/opt/deedsBCV", "sha256": "f" * 64}}
    text = text_of(
        facts,
        registration("a", programs=told),
        registration("b", programs=silent),
        {"programs": told},
    )
    assert (
        "- Programs: deedsBCV of unknown version (SHA-256 ffffffffffff), reg_f3d 2.0.0 (SHA-256 "
        "0123456789ab).\n" in text
    )


def test_the_page_shows_what_would_be_markup(facts):
    facts["datasets"][0]["source"] = "a <b> & c"
    page = as_html("T", methods_section(facts, [], "9"))
    assert "a &lt;b&gt; &amp; c." in page
