"""The settings in a study's files arrive in the library: seeds, threads, limits, choices, files,
titles, captions.

A study whose settings all differ from their defaults is planned once. Then every job's script runs
in this process with the inputs and parameters of the plan. Where the library would work for long,
its function is replaced by one that records how it was called.
"""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from ellipsoids import LABELS
from rich_study import THREADS

from diffeode.datasets.scan import Scan
from diffeode.datasets.shapes import PAIRS
from diffeode.errors import AlignmentError, InputError, KilledError, RegistrationError
from diffeode.figures.plane import BOUNDARY, REGULARISATION
from diffeode.files.io import write_image, write_labels
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.prepare.units import Before
from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import write_receipt
from diffeode.provenance.seals import seal
from diffeode.registration.plane import BORDERS, REGULARISATIONS
from diffeode.statistics.tidy import COLUMNS
from diffeode.units.pair import PairUnit

pytestmark = pytest.mark.workflow

MIXED = "sub-01_T1w__sub-05_T1w"
FIRST = "sub-01_T2w__sub-02_T1w"
TITLES = {
    "identity": "Initial",
    "brief": "Brief title",
    "learned": "Learned title",
    "taught": "Taught title",
    "multigradicon": "MultiGradICON",
    "swept-steps-2-iterations-3": "Swept title",
}
POPULATIONS = {
    "first": "First (whole heads)",
    "second": "Second (persons with labels)",
    "mixed": "Mixed (whole heads and persons with labels)",
}
LEARNED = {"steps": 2, "interval": 1, "window": 5}
LOOK = {"titles": TITLES, "experiments": POPULATIONS, "ours": "brief"}
KINDS = ("svg", "png", "pdf")
BRIEF_LEVELS = {"factors": [2], "iterations": [3]}
CHOSEN = {"runs": ["learned", "brief"], "structures": ["Thalamus", "Brain stem"]}


def head(person, kind, **more):
    """A scan of ``heads`` as scripts see it."""
    image = Path(f"raw/sub-{person}/anat/sub-{person}_{kind}.nii.gz")
    return Scan(
        "heads",
        person,
        None,
        kind,
        image,
        **{"labels": None, "landmarks": None, "group": None} | more,
    )


def drawn(person, kind, whole=True):
    """Return a scan of ``drawn``; with ``whole``, also its labels and landmarks."""
    stem = f"drawn/sub-{person}/anat/sub-{person}"
    about = {"labels": Path(f"{stem}_dseg.nii.gz"), "landmarks": Path(f"{stem}_landmarks.tsv")}
    about |= {"group": {"05": "patients", "06": "controls"}[person]}
    return Scan(
        "drawn",
        person,
        None,
        kind,
        Path(f"{stem}_{kind}.nii.gz"),
        **about if whole else dict.fromkeys(about),
    )


def folder(dataset, scan, step=""):
    return Path("results/prepared") / dataset / scan / step


# -------------------------------------------------------------------------------------------- scans


def test_a_cohort(rich_plan, run_script):
    made = run_script(rich_plan.the("cohort"), "diffeode.datasets.virtual.make_cohort")
    assert made.call == (
        (Path("results/sources/cohort"),),
        {"persons": 4, "spacing_mm": 6.5, "seed": 17, "processes": THREADS},
    )


def test_a_brain_is_found_as_the_dataset_says(rich_plan, run_script):
    found = run_script(rich_plan.the("strip", scan="sub-01_T2w"), "diffeode.prepare.strip.strip")
    given = (head("01", "T2w"), "synthstrip", Before(), folder("heads", "sub-01_T2w", "brain"))
    assert found.call == (given, {"threads": THREADS})
    found = run_script(rich_plan.the("strip", scan="sub-05_T1w"), "diffeode.prepare.strip.strip")
    before = Before(corrected=folder("drawn", "sub-05_T1w", "corrected"))
    given = (
        drawn("05", "T1w", whole=False),
        "mindgrab",
        before,
        folder("drawn", "sub-05_T1w", "brain"),
    )
    assert found.call == (given, {"threads": THREADS})


def test_intensities_are_corrected_as_the_dataset_says(rich_plan, run_script):
    corrected = run_script(
        rich_plan.the("correct", scan="sub-01_T2w"), "diffeode.prepare.correct.correct"
    )
    assert corrected.call == (
        (head("01", "T2w"),),
        {
            "bias": "n4",
            "intensity": "white-stripe",
            "before": Before(brain=folder("heads", "sub-01_T2w", "brain")),
            "folder": folder("heads", "sub-01_T2w", "corrected"),
            "threads": THREADS,
        },
    )
    corrected = run_script(
        rich_plan.the("correct", scan="sub-05_T1w"), "diffeode.prepare.correct.correct"
    )
    _, named = corrected.call
    assert (named["bias"], named["intensity"], named["before"]) == (
        "freesurfer",
        "freesurfer",
        Before(),
    )


def steps(dataset, scan, *names):
    return Before(**{name: folder(dataset, scan, name) for name in names})


def test_a_scan_is_placed_in_the_template_through_its_t1w(rich_plan, run_script):
    placed = run_script(rich_plan.the("place", scan="sub-01_T2w"), "diffeode.prepare.place.place")
    t1w = (head("01", "T1w"), steps("heads", "sub-01_T1w", "corrected", "brain", "placed"))
    before = steps("heads", "sub-01_T2w", "corrected", "brain")
    given = (head("01", "T2w"), "icbm152", before, t1w, folder("heads", "sub-01_T2w", "placed"))
    assert placed.call == (given, {"threads": THREADS, "seed": 5})


@pytest.mark.parametrize(
    ("dataset", "scan", "template"),
    [
        ("heads", head("02", "T1w"), "icbm152"),
        ("drawn", drawn("05", "T1w", whole=False), {"t1w": "mine.nii.gz"}),
    ],
    ids=["a T1w", "direct"],
)
def test_other_scans_are_placed_by_themselves(rich_plan, run_script, dataset, scan, template):
    placed = run_script(
        rich_plan.the("place", dataset=dataset, scan=scan.id), "diffeode.prepare.place.place"
    )
    before = steps(dataset, scan.id, "corrected", "brain")
    given = (scan, template, before, None, folder(dataset, scan.id, "placed"))
    assert placed.call == (given, {"threads": THREADS, "seed": 5})


@pytest.mark.parametrize(
    ("dataset", "scan", "choices"),
    [
        ("heads", head("01", "T2w"), {"intensity": "white-stripe", "spacing_mm": 2.5}),
        ("drawn", drawn("05", "T1w"), {"intensity": "freesurfer", "spacing_mm": None}),
    ],
    ids=["heads", "drawn"],
)
def test_a_scan_is_finished_as_the_dataset_says(rich_plan, run_script, dataset, scan, choices):
    finished = run_script(
        rich_plan.the("prepare", dataset=dataset, scan=scan.id),
        "diffeode.prepare.scan.prepare_scan",
    )
    before = steps(dataset, scan.id, "corrected", "brain", "placed")
    assert finished.call == ((scan, before, folder(dataset, scan.id)), {"seed": 5, **choices})


def test_a_virtual_scan_is_finished_without_steps_before(rich_plan, run_script):
    job = rich_plan.of("prepare", dataset="cohort")[0]
    (scan, before, _), choices = run_script(job, "diffeode.prepare.scan.prepare_scan").call
    assert (scan.dataset, before) == ("cohort", Before())
    assert choices == {"seed": 5, "intensity": "robust", "spacing_mm": 7.5}


def test_labels_are_made_as_the_dataset_says(rich_plan, run_script):
    labelled = run_script(
        rich_plan.the("segment", scan="sub-01_T2w"), "diffeode.prepare.segment.segment"
    )
    prepared = folder("heads", "sub-01_T2w")
    given = (head("01", "T2w"), "synthseg", prepared, prepared / "segmented")
    assert labelled.call == (given, {"threads": THREADS})


@pytest.mark.parametrize(
    ("dataset", "scan", "template", "table", "labels"),
    [
        ("heads", "sub-01_T2w", "icbm152", "synthseg", "segmented"),
        ("drawn", "sub-05_T1w", {"t1w": "mine.nii.gz"}, "virtual", ""),
    ],
)
def test_a_scan_is_looked_at_with_its_labels(
    rich_plan, run_script, monkeypatch, dataset, scan, template, table, labels
):
    job = rich_plan.the("inspect_scan", dataset=dataset, scan=scan)
    unit = folder(dataset, scan)
    (unit / labels).mkdir(parents=True)
    (unit / labels / "labels.nii.gz").touch()
    root = {"heads": "raw", "drawn": "drawn"}[dataset]
    original = Path(f"{root}/{scan[:6]}/anat/{scan}.nii.gz")
    write_there(original)
    monkeypatch.setattr(
        "diffeode.evaluation.preparation.PreparedScan.image",
        lambda self: SimpleNamespace(grid="its"),
    )
    chosen = SimpleNamespace(on=lambda grid: f"the template on {grid} grid")
    measured, drawn_, asked = run_script(
        job,
        "diffeode.evaluation.preparation.measure",
        "diffeode.figures.preparation.preparation_picture",
        "diffeode.prepare.template.chosen_template",
        measure={"scan": scan},
        chosen_template=chosen,
    )
    (prepared, references), _ = measured.call
    assert asked.call == ((template,), {})
    assert references == "the template on its grid"
    assert prepared.scan == original
    assert (prepared.name, prepared.modality, prepared.folder) == (scan, scan[-3:], unit)
    assert prepared.labels == unit / labels / "labels.nii.gz"
    assert prepared.label_table == Path(f"config/labels/{table}.tsv")
    assert drawn_.call == (
        (prepared, references, Path(f"results/quality/{dataset}/{scan}.png")),
        {},
    )
    numbers = Path(f"results/quality/{dataset}/{scan}.tsv").read_text(encoding="utf-8")
    assert numbers == f"scan\n{scan}\n"


def write_there(file: Path) -> None:
    """Write a file that no script reads, as only its presence is asked for."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("a scan", encoding="utf-8")


def failed(receipt: str) -> None:
    """Write the receipt of a unit that failed."""
    write_receipt(Path(receipt).parent, [], {"status": "failed", "reason": "It is cut off."})


def test_a_scan_that_was_not_prepared_is_on_the_page_with_the_reason(rich_plan, run_script):
    job = rich_plan.the("inspect_scan", dataset="drawn", scan="sub-05_T1w")
    Path(job.handed.input.prepared).parent.mkdir(parents=True)
    failed(job.handed.input.prepared)
    drawn_ = run_script(job, "diffeode.figures.style.say")
    picture = Path("results/quality/drawn/sub-05_T1w.png")
    assert drawn_.call == ((picture, "sub-05_T1w\nno picture: It is cut off."), {})
    page = rich_plan.the("quality", dataset="drawn")
    page.handed.input.numbers = page.handed.input.pictures = [
        "results/quality/drawn/sub-05_T1w.tsv"
    ]
    run_script(page)
    table = pd.read_csv("results/studies/rich/quality/drawn/preparation.tsv", sep="\t")
    assert table[["scan", "flags"]].values.tolist() == [
        ["sub-05_T1w", "no numbers: It is cut off."]
    ]
    assert "It is cut off." in Path(page.handed.output.page).read_text(encoding="utf-8")


def test_a_scan_whose_file_is_gone_since_is_on_the_page_with_the_reason(rich_plan, run_script):
    """It was prepared before; what is made of it stays."""
    job = rich_plan.the("inspect_scan", dataset="drawn", scan="sub-05_T1w")
    receipt = Path(job.handed.input.prepared)
    receipt.parent.mkdir(parents=True)
    write_receipt(receipt.parent, [], {"status": "done"})
    drawn_ = run_script(job, "diffeode.figures.style.say")
    reason = "There is no scan drawn/sub-05/anat/sub-05_T1w.nii.gz"
    ((_, sentence), _) = drawn_.call
    assert sentence == f"sub-05_T1w\nno picture: {reason}"
    numbers = pd.read_csv("results/quality/drawn/sub-05_T1w.tsv", sep="\t")
    assert numbers["failure"].tolist() == [reason]


def test_every_scan_of_a_dataset_is_on_its_page(rich_plan, run_script):
    job = rich_plan.the("quality", dataset="drawn")
    for file in job.handed.input.numbers:
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(f"scan\n{Path(file).stem}\n", encoding="utf-8")
    prefix = "diffeode.statistics.preparation"
    gathered, written = run_script(
        job, f"{prefix}.gather", f"{prefix}.write_preparation", gather="a table"
    )
    scans = sorted(f"sub-{person}_{kind}" for person in ("05", "06") for kind in ("T1w", "T2w"))
    used = sorted({job.wildcards["scan"] for job in rich_plan.of("prepare", dataset="drawn")})
    assert set(used) <= set(scans)
    (rows, adults), _ = gathered.call
    assert (sorted(row["scan"] for row in rows), adults) == (used, True)
    (table, pictures, where, caption), _ = written.call
    assert (table, where) == ("a table", Path("results/studies/rich/quality/drawn"))
    assert pictures == {scan: f"../../../../quality/drawn/{scan}.png" for scan in used}
    assert (
        caption
        == "Drawn, persons with labels: scans as they were prepared for the study A rich study."
    )


# --------------------------------------------------------------------------------- pairs, trainings


def test_pairs_are_written_down_with_their_seed(rich_plan, run_script):
    run_script(rich_plan.the("draw_pairs", experiment="first"))
    table = pd.read_csv("results/pairs/first/pairs.tsv", sep="\t", dtype=str)
    rows = [
        (FIRST, "sub-01_T2w", "sub-02_T1w"),
        ("sub-02_T2w__sub-01_T1w", "sub-02_T2w", "sub-01_T1w"),
    ]
    assert table.columns.tolist() == [
        "pair",
        "fixed",
        "moving",
        "fixed_dataset",
        "moving_dataset",
        "seed",
    ]
    assert table.to_numpy().tolist() == [[*row, "heads", "heads", "11"] for row in rows]


@pytest.mark.parametrize(
    ("experiment", "datasets", "settings"),
    [
        ("first", ("heads", "heads"), ("affine", "resample", 11)),
        ("second", ("drawn", "drawn"), ("none", "refuse", 12)),
        ("mixed", ("heads", "drawn"), ("affine", "resample", 13)),
        ("learned-from", ("cohort", "cohort"), ("affine", "resample", 14)),
        ("learned-otherwise", ("cohort", "cohort"), ("affine", "resample", 15)),
    ],
)
def test_a_pair_is_aligned_as_its_experiment_says(
    rich_plan, run_script, experiment, datasets, settings
):
    job = rich_plan.of("align", experiment=experiment)[0]
    (entry,) = job.handed.params.work
    pair, alignment = entry["pair"], entry["alignment"]
    fixed, moving = (
        folder(name, scan) for name, scan in zip(datasets, pair.split("__"), strict=True)
    )
    about = {
        "experiment": experiment,
        "pair": pair,
        "fixed_dataset": datasets[0],
        "moving_dataset": datasets[1],
    }
    aligned = aligning(run_script, job)
    assert aligned.write_aligned_pair.call == (
        (fixed, moving, Path(f"results/pairs/{experiment}/{pair}")),
        {
            "threads": THREADS,
            "provenance": about,
            **dict(zip(("alignment", "grids", "seed"), settings, strict=True)),
        },
    )
    scans = [str(scan / "receipt.json") for scan in (fixed, moving)]
    origin = (scans, alignment["parameters"])
    assert aligned.add_origin.call == ((Path(alignment["file"]), origin), {})
    costs = Path(f"results/benchmarks/align/{experiment}/{pair}.tsv").read_text(encoding="utf-8")
    assert costs == "seconds\n2.5\n"


def aligning(run_script, job, **other_answers):
    """Run the script of a job that aligns; return the recorders by name."""
    names = {
        "write_aligned_pair": "diffeode.prepare.pair",
        "write_failed_pair": "diffeode.prepare.pair",
        "origin_of": "diffeode.provenance.origin",
        "add_origin": "diffeode.provenance.receipt",
        "watched": "diffeode.process.watch",
        "measured": "diffeode.registration.harness",
    }
    answers = {
        "origin_of": lambda inputs, parameters: (inputs, parameters),
        "watched": lambda work: work(),
        "measured": lambda: nullcontext({"seconds": 2.5}),
    } | other_answers
    replaced = [f"{module}.{name}" for name, module in names.items()]
    return SimpleNamespace(**dict(zip(names, run_script(job, *replaced, **answers), strict=True)))


def fails(error):
    """A function that raises ``error``."""

    def failing(*arguments, **named):
        raise error

    return failing


def test_a_pair_that_cannot_be_aligned_is_written_down_with_the_reason(rich_plan, run_script):
    job = rich_plan.the("align", experiment="mixed")
    failure = RegistrationError("It lies elsewhere.")
    found = aligning(run_script, job, write_aligned_pair=fails(failure))
    about = {
        "experiment": "mixed",
        "pair": MIXED,
        "fixed_dataset": "heads",
        "moving_dataset": "drawn",
    }
    folder = Path(f"results/pairs/mixed/{MIXED}")
    assert found.write_failed_pair.call == ((folder, "It lies elsewhere.", about), {})
    assert found.add_origin.call[0][0] == folder / "receipt.json"
    (table,) = map(Path, job.handed.output)
    assert table.read_text(encoding="utf-8").splitlines()[1:] == [f"{MIXED}\tfailed"]


def test_a_killed_alignment_is_tried_again_until_the_last_attempt(rich_plan, run_script):
    job = rich_plan.the("align", experiment="mixed")
    killed = {"write_aligned_pair": fails(KilledError("It was killed."))}
    assert len(aligning(run_script, job, **killed).write_failed_pair.calls) == 1
    job.handed.resources["last_attempt"] = 0
    with pytest.raises(RegistrationError, match=f"^1 of 1 pairs could not be worked on: {MIXED}$"):
        aligning(run_script, job, **killed)


@pytest.mark.parametrize(("train_on", "count"), [("learned-from", 4), ("learned-otherwise", 12)])
def test_a_run_is_trained_on_the_pairs_of_its_experiment(rich_plan, run_script, train_on, count):
    trained = run_script(
        rich_plan.the("train", train_on=train_on),
        "diffeode.learning.method_training.train_to_folder",
    )
    (what, pairs, where, machine, about), _ = trained.call
    assert (what.name, what.method, what.parameters) == (
        "learned",
        "voxelmorph",
        {"steps": 2, "interval": 1, "window": 5},
    )
    assert (machine.threads, machine.seed, machine.device) == (THREADS, 5, "cuda")
    assert where == Path(f"results/networks/{train_on}/learned")
    assert about == {"train_on": train_on, "run": "learned"}
    assert len(pairs) == count
    for pair in pairs:
        fixed, moving = pair.folder.name.split("__")
        assert pair.folder.parent == Path(f"results/pairs/{train_on}")
        assert (pair.fixed_labels, pair.moving_labels) == (
            folder("cohort", fixed),
            folder("cohort", moving),
        )
        assert (pair.fixed_person, pair.moving_person) == (
            f"cohort/{fixed[4:6]}",
            f"cohort/{moving[4:6]}",
        )


def test_the_course_of_a_training_is_drawn(rich_plan, run_script):
    names = (
        "diffeode.figures.training_curves.training_curves",
        "diffeode.provenance.receipt.require_intact",
    )
    drawn_, _ = run_script(rich_plan.the("training_curves", train_on="learned-from"), *names)
    curves = Path("results/networks/learned-from/learned/curves.tsv")
    stem = Path("results/studies/rich/figures/networks/learned-from/learned")
    outs = [stem.with_suffix(f".{kind}") for kind in KINDS]
    title = "Learned title, trained on Learned from (nobody)"
    assert drawn_.call[0][:3] == (curves, title, outs)


def test_a_descriptor_is_trained_as_its_file_says(rich_plan, run_script, rich):
    loop, material = "diffeode.learning.loop", "diffeode.learning.descriptor.material"
    settings = SimpleNamespace(criterion="its criterion")
    threads, trained, read, drawn_, removed = run_script(
        rich_plan.the("descriptor_weights"),
        "diffeode.process.threads.use_threads",
        f"{material}.train_descriptor",
        f"{material}.read_training",
        "diffeode.figures.training_curves.training_curves",
        f"{loop}.remove_checkpoints",
        read_training=SimpleNamespace(settings=settings),
    )
    where = Path("results/descriptors/toys")
    assert threads.call == ((THREADS,), {})
    assert read.call[0][0].name == "toys.yaml"
    assert trained.call == ((read.call[0][0], rich.path("data"), where, "cuda"), {})
    assert removed.call == ((where,), {})
    assert drawn_.call == (
        (where / "curves.tsv", "toys", where / "curves.png", "its criterion"),
        {},
    )


# ------------------------------------------------------------------------------------------- visits


def test_visits_of_ageing_persons_are_registered_as_the_study_says(rich_plan, run_script):
    job = rich_plan.the("longitudinal")
    package = "diffeode.longitudinal"
    threads, persons, measured, written = run_script(
        job,
        "diffeode.process.threads.use_threads",
        f"{package}.person.person_of",
        f"{package}.measures.rows_of",
        "diffeode.statistics.longitudinal.write_visits",
        person_of=lambda number, design: f"person {number}",
        rows_of=lambda person, way, design: [{"time": 1, "of": person}],
    )
    assert threads.call == ((THREADS,), {})
    assert [arguments[0] for arguments, _ in persons.calls] == [4, 7]
    design = persons.calls[0][0][1]
    assert (design.persons, design.seed, design.times) == ((4, 7), 19, (0, 0.25, 0.5))
    assert (design.spacing_mm, design.labels_mm, design.knots) == (5.5, 3, 4)
    assert design.method(2).levels.iterations == (3,)
    ways = ("before", "free", "periodic", "stationary", "pairs", "truth")
    asked = [arguments for arguments, _ in measured.calls]
    assert asked == [(f"person {n}", way, design) for n in (4, 7) for way in ways]
    (file, rows), _ = written.call
    assert file == "results/studies/rich/longitudinal.tsv"
    assert rows == [
        {"person": n, "way": way, "time": 1, "of": f"person {n}"} for n in (4, 7) for way in ways
    ]


def test_trajectories_are_tabulated_and_drawn_from_the_study_s_table(rich_plan, run_script):
    from diffeode.statistics.longitudinal import write_visits

    job = rich_plan.the("trajectories")
    (file,) = job.handed.input
    Path(file).parent.mkdir(parents=True)
    measured = {"ventricles_ml": 9.0, "ventricles_true_ml": 9.5, "tre_mm": 0.5, "dice": 0.75}
    measured["landmarks"] = 81
    rows = [
        {"person": person, "way": "free", "time": 0.5, "structures": structures, **measured}
        for person, structures in ((4, 25), (7, 26))
    ]
    rows.append({"person": 4, "way": "free", "time": "all", "visit_speed_mm": 2.0})
    write_visits(file, rows)
    drawn = run_script(job, "diffeode.figures.longitudinal.draw_ventricles")
    folder = Path("results/studies/rich")
    assert drawn.call[0][1] == [folder / f"figures/longitudinal.{kind}" for kind in KINDS]
    assert len(drawn.call[0][0]) == 3
    means = pd.read_csv(folder / "tables/longitudinal_visits.tsv", sep="\t")
    assert (means["tre_mm_mean"][0], means["volume_error_ml_mean"][0]) == (0.5, -0.5)
    paths = (folder / "tables/longitudinal_paths.md").read_text(encoding="utf-8")
    who = "A rich study (virtual persons 04, 07, at 3 times). Nobody was scanned. "
    assert paths.startswith(who)
    page = (folder / "tables/longitudinal_visits.html").read_text(encoding="utf-8")
    assert who in page
    assert "a mean over 81 landmarks, and Dice is a mean over 25 to 26 structures." in page
    assert "landmarks" not in paths
    assert "One flow, free in time" in page


# ------------------------------------------------------------------------------------ registrations


def worked(run_script, job, **other_answers):
    """Run the script of a job that registers; return the recorders by name."""
    names = {
        "register_to_folder": "diffeode.registration.harness",
        "write_failure": "diffeode.registration.harness",
        "read_task": "diffeode.registration.harness",
        "programs_of": "diffeode.registration.registry",
        "require_intact": "diffeode.registration.runs",
        "read_receipt": "diffeode.provenance.receipt",
        "origin_of": "diffeode.provenance.origin",
        "add_origin": "diffeode.provenance.receipt",
        "seal": "diffeode.provenance.seals",
        "watched": "diffeode.process.watch",
        "evaluate_unit": "diffeode.evaluation.evaluate",
        "write_tidy": "diffeode.statistics.tidy",
        "reduce": "diffeode.units.registration.RegistrationUnit",
        "note_stillness": "diffeode.registration.stillness",
    }
    answers = {
        "read_task": "its task",
        "programs_of": "its programs",
        "require_intact": {"outputs": {"weights.safetensors": {"sha256": "its sum"}}},
        "read_receipt": {"status": "done", "suspect": False},
        "origin_of": lambda inputs, parameters: (inputs, parameters),
        "watched": lambda work: work(),
        "evaluate_unit": "numbers",
    } | other_answers
    replaced = [f"{module}.{name}" for name, module in names.items()]
    recorders = run_script(job, *replaced, **answers)
    return SimpleNamespace(**dict(zip(names, recorders, strict=True)))


def registered(run_script, job):
    """Return the arguments of a registration: run, task, machine, folder, provenance, limit in
    minutes, and what becomes of one whose process is killed.
    """
    found = worked(run_script, job)
    (what, task, machine, where, about, limit), named = found.register_to_folder.call
    return SimpleNamespace(
        run=what,
        task=task,
        machine=machine,
        folder=where,
        about=about,
        limit=limit,
        storing={name: named[name] for name in ("keep", "fields")},
        raises=named["raises_where_killed"],
        read=found.read_task.call,
    )


def test_a_registration_gets_its_pair_and_says_where_it_comes_from(rich_plan, run_script):
    found = registered(run_script, rich_plan.the("register", experiment="mixed", run="brief"))
    assert found.read == ((Path(f"results/pairs/mixed/{MIXED}"), folder("drawn", "sub-05_T1w")), {})
    assert found.task == "its task"
    assert found.folder == Path(f"results/registrations/mixed/{MIXED}/brief")
    assert found.about == {
        "experiment": "mixed",
        "pair": MIXED,
        "run": "brief",
        "fixed_dataset": "heads",
        "moving_dataset": "drawn",
        "programs": "its programs",
    }


def keep_meanwhile(plan, experiment, pair):
    """What stays of a registration until the figures are drawn: everything of a pair with a
    panel.
    """
    return "all" if plan.of("panel", experiment=experiment, pair=pair) else "numbers"


def test_a_registration_is_told_what_to_keep_and_how_to_write_its_maps(rich_plan, run_script):
    for job in rich_plan.of("register", run="brief"):
        (entry,) = job.handed.params.work
        keep = keep_meanwhile(rich_plan, job.wildcards["experiment"], entry["pair"])
        assert entry["keep"] == keep
        for other in (keep, "maps"):
            entry["keep"] = other
            found = registered(run_script, job)
            assert found.storing == {"keep": other, "fields": "rounded"}


def test_a_study_reduces_every_registration_once_it_was_evaluated_and_drawn(rich_plan, run_script):
    job = rich_plan.the("reduce")
    reduced, written = run_script(
        job,
        "diffeode.units.registration.RegistrationUnit.reduce",
        "diffeode.files.io.write_text",
        reduce=0,
    )
    units = [Path(unit["registration"]["file"]).parts[2:5] for unit in rich_plan.units()]
    assert reduced.calls == [(("numbers",), {})] * len(units)
    path, text = written.call[0]
    assert path == "results/studies/rich/storage.tsv"
    rows = [line.split("\t") for line in text.splitlines()[1:]]
    assert sorted(tuple(row[:3]) for row in rows) == sorted(units)
    read = set(map(str, job.handed.input))
    for rule in ("collect", "panel", "beside", "convergence"):
        for other in rich_plan.of(rule):
            assert read >= set(map(str, other.handed.output)), f"{rule} comes first"


def test_a_finished_registration_is_asked_whether_it_moved_something(rich_plan, run_script):
    job = rich_plan.the("register", experiment="mixed", run="brief")
    unit = Path(f"results/registrations/mixed/{MIXED}/brief")
    assert worked(run_script, job).note_stillness.call == ((unit, "its task"), {})
    failed_ = {"status": "failed", "reason": "It is cut off."}
    found = worked(run_script, job, read_receipt=lambda path: failed_)
    assert found.note_stillness.calls == []


def test_a_registration_of_a_pair_that_could_not_be_aligned_fails_for_that_reason(
    rich_plan, run_script
):
    job = rich_plan.the("register", experiment="mixed", run="brief")
    reason = AlignmentError("The pair could not be aligned: it lies elsewhere.")
    found = worked(run_script, job, read_task=fails(reason))
    assert found.register_to_folder.calls == []
    (run, machine, where, about, error), _ = found.write_failure.call
    assert (run.name, machine.seed, error) == ("brief", 5, reason)
    assert where == Path(f"results/registrations/mixed/{MIXED}/brief")
    assert about["pair"] == MIXED
    assert found.evaluate_unit.calls


def receipts_with_a_failure(file: str):
    """Return what receipts say of which that of ``file`` tells a failure."""
    failure = {"status": "failed", "reason": "It is cut off."}
    return lambda path: failure if str(path) == file else {"status": "done", "suspect": False}


@pytest.mark.parametrize("trained", ["network", "descriptor"])
def test_a_registration_whose_training_failed_fails_for_that_reason(rich_plan, run_script, trained):
    run = {"network": "learned", "descriptor": "taught"}[trained]
    job = rich_plan.the("register", experiment="mixed", run=run)
    (file,) = job.handed.params.work[0]["registration"]["inputs"][trained]
    Path(file).parent.mkdir(parents=True)
    Path(file).touch()
    if trained == "descriptor":
        seal(Path(file), Path("results"), origin_of([], {}), failure="It is cut off.")
    found = worked(run_script, job, read_receipt=receipts_with_a_failure(file))
    assert found.register_to_folder.calls == []
    (*_, error), _ = found.write_failure.call
    assert str(error) == f"Its {trained} was not trained: It is cut off."


def test_a_registration_with_a_scan_for_its_weights_fails_for_that_reason(
    rich_plan, run_script, tmp_path, monkeypatch
):
    """Where jobs run on other computers, only they look at the map of weights."""
    scan = tmp_path / "scan.nii.gz"
    write_image(scan, Image(np.arange(512.0).reshape(8, 8, 8), Grid((8, 8, 8), np.eye(4))))
    job = rich_plan.the("register", experiment="mixed", run="brief")
    parameters = job.handed.params.work[0]["registration"]["parameters"]
    weighted = {"method": "neural-ode", "parameters": {"weight_map": str(scan)}}
    monkeypatch.setitem(parameters, "run", weighted)
    found = worked(run_script, job)
    assert found.register_to_folder.calls == []
    (*_, error), _ = found.write_failure.call
    assert str(error).startswith(f"{scan} is no map of weights: it reaches 511")


def test_where_a_segmentation_failed_everything_but_labels_is_measured(rich_plan, run_script):
    job = rich_plan.of("register", experiment="first", run="brief")[0]
    inputs = job.handed.params.work[0]["evaluation"]["inputs"]
    (*_, table), _ = worked(run_script, job).evaluate_unit.call
    assert table is not None
    labels = Path(inputs["moving_labels"])
    labels.parent.mkdir(parents=True)
    labels.touch()
    found = worked(run_script, job, read_receipt=receipts_with_a_failure(str(labels)))
    (*_, table), _ = found.evaluate_unit.call
    assert table is None
    (_, _, origin), _ = found.seal.call
    assert str(labels) in origin[0], "the numbers are stale once it is segmented"


def test_a_label_map_of_other_structures_costs_the_metrics_of_labels_alone(rich_plan, run_script):
    """The numbers are sealed with the reason, by the side whose label map it is."""
    job = rich_plan.of("register", experiment="second", run="brief")[0]
    inputs = job.handed.params.work[0]["evaluation"]["inputs"]
    (table,) = map(Path, inputs["label_table"])
    table.parent.mkdir(parents=True)
    table.write_text(LABELS, encoding="utf-8")
    for side, value in (("fixed_labels", 1), ("moving_labels", 9)):
        unit = Path(inputs[side]).parent
        unit.mkdir(parents=True)
        map_ = Labels(np.full((2, 2, 2), value, dtype=np.int32), Grid((2, 2, 2), np.eye(4)))
        write_labels(unit / "labels.nii.gz", map_)

    def measured(*units):
        if units[-1] is not None:
            raise InputError("It holds none of them.")
        return "numbers"

    found = worked(run_script, job, evaluate_unit=measured)
    assert [call[-1] for call, _ in found.evaluate_unit.calls] == [table, None]
    assert found.write_tidy.call == (
        (Path(job.handed.params.work[0]["evaluation"]["file"]), "numbers"),
        {},
    )
    (_, named) = found.seal.call
    assert named["left_out"].keys() == {"moving_labels"}
    assert "holds none of the ids of label table" in named["left_out"]["moving_labels"]


def test_an_evaluation_that_fails_for_another_reason_fails(rich_plan, run_script):
    job = rich_plan.of("register", experiment="second", run="brief")[0]
    (table,) = map(Path, job.handed.params.work[0]["evaluation"]["inputs"]["label_table"])
    table.parent.mkdir(parents=True)
    table.write_text(LABELS, encoding="utf-8")

    def measured(*units):
        raise InputError("The map is damaged.")

    found = worked(run_script, job, evaluate_unit=measured)
    (_, named) = found.seal.call
    assert named == {"failure": "The map is damaged."}


TAUGHT = {
    "similarity": {
        "mind": {},
        "descriptor": {"weights": "results/descriptors/toys/best.safetensors"},
    }
}
WEIGHTS = {
    "weights": "results/networks/learned-from/learned/weights.safetensors",
    "weights_sha256": "its sum",
}


@pytest.mark.parametrize(
    ("name", "method", "parameters", "device", "minutes"),
    [
        ("identity", "identity", {}, "cpu", 0.5),
        ("brief", "neural-ode", {"levels": {"factors": [2], "iterations": [3]}}, "cuda", 2),
        ("learned", "voxelmorph", LEARNED | WEIGHTS, "cuda", 0.5),
        ("taught", "neural-ode", TAUGHT, "cuda", 0.5),
    ],
)
def test_a_registration_gets_its_run_seed_device_and_limit(
    rich_plan, run_script, name, method, parameters, device, minutes
):
    found = registered(run_script, rich_plan.the("register", experiment="second", run=name))
    assert (found.run.name, found.run.method, found.run.parameters) == (name, method, parameters)
    assert (found.machine.threads, found.machine.seed, found.machine.device) == (THREADS, 5, device)
    assert found.limit == minutes


def test_without_a_limit_there_is_none(rich_plan, run_script):
    job = rich_plan.the("register", experiment="second", run="identity")
    job.handed.resources["time_limit_seconds"] = 0
    assert registered(run_script, job).limit is None


def test_a_method_works_in_its_own_environment(rich_plan):
    found = {job.wildcards["run"]: job.environment for job in rich_plan.of("register")}
    assert found == dict.fromkeys(TITLES, "base.yaml") | {"multigradicon": "baselines.yaml"}


@pytest.mark.parametrize(
    ("experiment", "train_on"), [("second", "learned-from"), ("mixed", "learned-otherwise")]
)
def test_what_a_registration_waits_for(rich_plan, experiment, train_on):
    jobs = {job.wildcards["run"]: job for job in rich_plan.of("register", experiment=experiment)}
    trained = {
        "learned": [f"results/networks/{train_on}/learned/receipt.json"],
        "taught": ["results/descriptors/toys/best.safetensors"],
    }
    for run, job in jobs.items():
        (entry,) = job.handed.params.work
        inputs = entry["registration"]["inputs"]
        assert [*inputs["network"], *inputs["descriptor"]] == trained.get(run, [])
        assert set(trained.get(run, [])) <= set(job.handed.input)


def test_a_registration_and_its_evaluation_say_what_they_are_made_from(rich_plan, run_script):
    job = rich_plan.the("register", experiment="mixed", run="learned")
    (entry,) = job.handed.params.work
    found = worked(run_script, job)
    receipt = Path(entry["registration"]["file"])
    (registered_from, evaluated_from) = [
        (paths, step["parameters"])
        for step, paths in (
            (entry["registration"], [*PAIR_AND_SCAN, TRAINED]),
            (entry["evaluation"], [str(receipt), PAIR_AND_SCAN[0], *JUDGED]),
        )
    ]
    assert found.add_origin.call == ((receipt, registered_from), {})
    assert found.seal.call == (
        (Path(entry["evaluation"]["file"]), Path("results"), evaluated_from),
        {"left_out": {}},
    )
    assert registered_from[1]["seed"] == 5
    assert registered_from[1]["run"] == {"method": "voxelmorph", "parameters": LEARNED}


PAIR_AND_SCAN = [
    f"results/pairs/mixed/{MIXED}/receipt.json",
    "results/prepared/drawn/sub-05_T1w/receipt.json",
]
TRAINED = "results/networks/learned-otherwise/learned/receipt.json"
JUDGED = [
    "results/prepared/heads/sub-01_T1w/receipt.json",
    "results/prepared/drawn/sub-05_T1w/receipt.json",
    "results/prepared/heads/sub-01_T1w/segmented/receipt.json",
    "results/prepared/drawn/sub-05_T1w/receipt.json",
]


def test_the_inputs_of_the_next_pair_are_read_while_one_is_registered(rich_plan, run_script):
    one, other = rich_plan.of("register", experiment="first", run="brief")
    one.handed.params.work.extend(other.handed.params.work)
    events = []

    def register(run, task, machine, folder, *more, meanwhile, **named):
        events.append(f"{folder.parent.name} begins")
        meanwhile()
        events.append(f"{folder.parent.name} ends")

    worked(
        run_script,
        one,
        read_task=lambda pair, moving: events.append(f"{pair.name} is read"),
        register_to_folder=register,
        evaluate_unit=lambda registration, *more: events.append("evaluated"),
    )
    first, second = (entry["pair"] for entry in one.handed.params.work)
    assert events == [
        *(f"{first} is read", f"{first} begins", f"{second} is read", f"{first} ends", "evaluated"),
        *(f"{second} begins", f"{second} ends", "evaluated"),
    ]


@pytest.mark.parametrize(("attempt", "raises"), [(0, True), (1, False)])
def test_a_killed_registration_is_tried_again_until_the_last_attempt(
    rich_plan, run_script, attempt, raises
):
    job = rich_plan.the("register", experiment="second", run="brief")
    assert job.handed.resources["last_attempt"] == 1  # the default profile tries nothing again
    job.handed.resources["last_attempt"] = attempt
    assert registered(run_script, job).raises == raises


@pytest.mark.parametrize(
    ("experiment", "table", "labelled"),
    [("first", "synthseg", "segmented"), ("second", "virtual", ""), ("mixed", None, None)],
)
def test_a_registration_is_judged_by_the_labels_of_its_experiment(
    rich_plan, run_script, experiment, table, labelled
):
    job = rich_plan.of("register", experiment=experiment, run="brief")[0]
    pair = job.handed.params.work[0]["pair"]
    found = worked(run_script, job)
    datasets = {
        "first": ("heads", "heads"),
        "second": ("drawn", "drawn"),
        "mixed": ("heads", "drawn"),
    }[experiment]
    scans = [folder(*where) for where in zip(datasets, pair.split("__"), strict=True)]
    steps = ("segmented", "") if labelled is None else (labelled, labelled)
    labels = [scan / step for scan, step in zip(scans, steps, strict=True)]
    units = [
        Path(f"results/registrations/{experiment}/{pair}/brief"),
        Path(f"results/pairs/{experiment}/{pair}"),
    ]
    table = Path(f"config/labels/{table}.tsv") if table else None
    assert found.evaluate_unit.call == ((*units, *scans, *labels, table), {})
    written = Path(f"results/metrics/{experiment}/{pair}/brief.tsv")
    assert found.write_tidy.call == ((written, "numbers"), {})
    assert found.reduce.call == ((keep_meanwhile(rich_plan, experiment, pair),), {})


def test_every_registration_is_collected(rich_plan, run_script):
    collected, written = run_script(
        rich_plan.the("collect"),
        "diffeode.statistics.tidy.collect",
        "diffeode.statistics.tidy.write_tidy",
        collect="table",
    )
    (paths,), _ = collected.call
    units = [
        (job.wildcards["experiment"], entry["pair"], job.wildcards["run"])
        for job in rich_plan.of("register")
        for entry in job.handed.params.work
    ]
    assert sorted(paths) == sorted(
        Path("results/metrics", *unit[:2], f"{unit[2]}.tsv") for unit in units
    )
    assert written.call == (("results/studies/rich/metrics.tsv", "table"), {})


# ------------------------------------------------------------------------------------------ figures


@pytest.mark.parametrize("name", ["dice_boxplot", "dice_by_structure", "regularity"])
def test_a_figure_of_the_study_gets_its_titles_and_our_run(rich_plan, run_script, name):
    drawn_, read = run_script(
        rich_plan.the(name),
        f"diffeode.figures.{name}.{name}",
        "diffeode.statistics.tidy.read_tidy",
        read_tidy="the table",
    )
    assert read.call == (("results/studies/rich/metrics.tsv",), {})
    outs = [Path(f"results/studies/rich/figures/{name}.{kind}") for kind in KINDS]
    chosen = CHOSEN if name == "dice_by_structure" else {}
    assert drawn_.call == (("the table",), {"out": outs, **LOOK, **chosen})


def test_methods_side_by_side_are_those_that_the_study_chooses(rich_plan, run_script):
    job = rich_plan.the("beside", experiment="mixed")
    drawn_ = run_script(job, "diffeode.figures.beside.beside")
    runs, pair = CHOSEN["runs"], Path(f"results/pairs/mixed/{MIXED}")
    registrations = {run: Path(f"results/registrations/mixed/{MIXED}/{run}") for run in runs}
    metrics = {run: Path(f"results/metrics/mixed/{MIXED}/{run}.tsv") for run in runs}
    title = "sub-05_T1w to sub-01_T1w (whole heads and persons with labels)"
    outs = [Path(f"results/studies/rich/figures/beside/mixed/{MIXED}.{kind}") for kind in KINDS]
    assert drawn_.call == ((registrations, pair, metrics, TITLES, title, outs), {})
    assert list(drawn_.call[0][0]) == runs


def test_shapes_and_a_slice_are_registered_in_the_plane(rich_plan, run_script):
    """The slice is that half way through the fixed brain, the patient's right at its left edge and
    the front above, in both images; each has one bright voxel there, and another one elsewhere.
    """
    job = rich_plan.the("plane")
    (receipt,) = job.handed.params.units
    assert receipt == f"results/pairs/mixed/{MIXED}/receipt.json"
    shape = (10, 12, 14)
    grid = Grid(shape, np.diag([-1.0, 1, 1, 1]))  # its first axis points to the patient's left
    images = []
    for lowest, highest, bright in ((3, 8, [(1, 7, 5), (8, 3, 7)]), (1, 5, [(3, 4, 5), (6, 6, 3)])):
        data = np.zeros(shape, np.float32)
        data[1:9, 3:10, lowest : highest + 1] = 0.5
        for place in bright:
            data[place] = 1
        images.append(Image(data, grid))
    Path(receipt).parent.mkdir(parents=True)
    PairUnit(Path(receipt).parent).write(*images, Affine(), {})
    registered_, drawn_ = run_script(
        job,
        "diffeode.registration.plane.register_in_plane",
        "diffeode.figures.plane.plane_figure",
        register_in_plane=lambda *given: given,
    )
    run, *_ = registered_.calls[0][0]
    assert (run.method, run.parameters) == ("neural-ode", {"levels": BRIEF_LEVELS})
    (boundary, *one), (regularisation, *other) = (arguments for arguments, _ in drawn_.calls)
    folder = Path("results/studies/rich/figures")
    assert one == [BOUNDARY, [folder / f"plane_boundary.{kind}" for kind in KINDS]]
    assert other == [REGULARISATION, [folder / f"plane_regularisation.{kind}" for kind in KINDS]]
    brain = "slice of a brain"
    assert list(boundary) == [f"{n}\n{case}" for n in (*PAIRS, brain) for case in BORDERS]
    both = ("star to cross", brain)
    assert list(regularisation) == [f"{n}\n{case}" for n in both for case in REGULARISATIONS]
    for title, (_, fixed, moving, by, seed) in (boundary | regularisation).items():
        name, case = title.split("\n")
        assert (by, seed) == ((BORDERS | REGULARISATIONS)[case], 5)
        if name == brain:
            # from the left: 9 - x, since the first axis is turned round; from above: 11 - y
            marks = [np.argwhere(picture == picture.max()).tolist() for picture in (fixed, moving)]
            assert marks == [[[11 - 7, 9 - 1]], [[11 - 4, 9 - 3]]]
        else:
            shapes = [part(144) for part in PAIRS[name]]
            np.testing.assert_array_equal([fixed, moving], shapes)


def test_where_no_pair_was_aligned_the_shapes_are_drawn_alone(rich_plan, run_script):
    job = rich_plan.the("plane")
    (receipt,) = job.handed.params.units
    Path(receipt).parent.mkdir(parents=True)
    failed(receipt)
    _, drawn_ = run_script(
        job,
        "diffeode.registration.plane.register_in_plane",
        "diffeode.figures.plane.plane_figure",
    )
    (boundary, *_), (regularisation, *_) = (arguments for arguments, _ in drawn_.calls)
    assert list(boundary) == [f"{name}\n{case}" for name in PAIRS for case in BORDERS]
    assert list(regularisation) == [f"star to cross\n{case}" for case in REGULARISATIONS]


def test_a_panel_gets_its_registration_and_title(rich_plan, run_script):
    job = rich_plan.the("panel", experiment="mixed", run="brief")
    drawn_ = run_script(job, "diffeode.figures.pair_panel.pair_panel")
    units = (
        Path(f"results/registrations/mixed/{MIXED}/brief"),
        Path(f"results/pairs/mixed/{MIXED}"),
    )
    title = "Brief title: sub-05_T1w to sub-01_T1w (whole heads and persons with labels)"
    stem = f"results/studies/rich/figures/panels/mixed/{MIXED}/brief"
    outs = [Path(f"{stem}.{kind}") for kind in ("png", "svg", "pdf")]
    metrics = Path(f"results/metrics/mixed/{MIXED}/brief.tsv")
    assert drawn_.call == ((*units, title, outs, metrics), {})


def test_panels_are_of_as_many_pairs_as_the_study_shows(rich_plan):
    shown = {(job.wildcards["experiment"], job.wildcards["pair"]) for job in rich_plan.of("panel")}
    assert len(shown) == 4
    assert len(rich_plan.of("panel")) == 4 * len(TITLES)
    assert {
        (job.wildcards["experiment"], job.wildcards["pair"]) for job in rich_plan.of("convergence")
    } == shown


def status(receipt):
    """One run has failed."""
    return {"status": "failed" if "taught" in str(receipt) else "done"}


def test_energies_are_drawn_of_all_runs_that_succeeded(rich_plan, run_script, monkeypatch):
    job = rich_plan.the("convergence", experiment="mixed")
    monkeypatch.setattr("diffeode.units.registration.require_intact", status)
    drawn_ = run_script(job, "diffeode.figures.convergence.convergence")
    folder = Path(f"results/registrations/mixed/{MIXED}")
    traces = {name: folder / name / "trace.tsv" for name in TITLES if name != "taught"}
    title = "sub-05_T1w to sub-01_T1w (whole heads and persons with labels)"
    outs = [
        Path(f"results/studies/rich/figures/convergence/mixed/{MIXED}.{kind}") for kind in KINDS
    ]
    assert drawn_.call == ((traces, TITLES, title, outs, "brief"), {})


@pytest.mark.parametrize(
    ("experiment", "shown", "caption"),
    [
        (
            "first",
            {f"sub-{person}_T2w": folder("heads", f"sub-{person}_T2w") for person in ("01", "02")},
            "Heads, whole heads: the fixed scans of the experiment First.",
        ),
        ("second", None, "Drawn, persons with labels: the fixed scans of the experiment Second."),
    ],
)
def test_fixed_scans_are_shown_with_their_groups(rich_plan, run_script, experiment, shown, caption):
    if shown is None:
        person = rich_plan.units("align", experiment="second")[0]["pair"][4:6]
        group = {"05": "patients", "06": "controls"}[person]
        shown = {f"sub-{person}_T2w\n{group}": folder("drawn", f"sub-{person}_T2w")}
    names = (
        "diffeode.figures.coronal_overview.coronal_overview",
        "diffeode.units.scan.require_intact",
    )
    drawn_, _ = run_script(rich_plan.the("coronal_overview", experiment=experiment), *names)
    images = {name: unit / "image.nii.gz" for name, unit in shown.items()}
    stem = f"results/studies/rich/figures/coronal_overview/{experiment}"
    outs = [Path(f"{stem}.{kind}") for kind in KINDS]
    assert drawn_.call == ((images, outs, caption), {})


def test_fixed_scans_that_were_not_prepared_are_counted_and_not_shown(rich_plan, run_script):
    job = rich_plan.the("coronal_overview", experiment="first")
    one, other = job.handed.input
    for receipt in (one, other):
        Path(receipt).parent.mkdir(parents=True)
    failed(one)
    names = (
        "diffeode.figures.coronal_overview.coronal_overview",
        "diffeode.units.scan.require_intact",
    )
    drawn_, _ = run_script(job, *names)
    (images, _, caption), _ = drawn_.call
    assert list(images.values()) == [Path(other).parent / "image.nii.gz"]
    assert caption.endswith(" Scans that could not be prepared and are not shown: 1.")
    failed(other)
    said = run_script(job, "diffeode.figures.style.say")
    assert said.call[0][1].endswith("not shown: 2.\nThere is nothing to show.")


@pytest.mark.parametrize("metric", ["dice", "nmi"])
def test_the_methods_section_hears_of_every_receipt(rich_plan, run_script, metric):
    """It claims Dice only where some was measured."""
    measured = pd.DataFrame([("e", "a__b", "r", "a", "b", metric, "", "", 0.5)], columns=COLUMNS)
    entries = [SimpleNamespace(text="@misc{one"), SimpleNamespace(text="@misc{two")]
    read, known, cited, said, _, _, tidy = run_script(
        rich_plan.the("methods_section"),
        "diffeode.provenance.receipt.read_receipt",
        "diffeode.study.bibliography.read_bibliography",
        "diffeode.study.methods_section.cited_entries",
        "diffeode.study.methods_section.methods_section",
        "diffeode.study.methods_section.as_markdown",
        "diffeode.study.methods_section.as_html",
        "diffeode.statistics.tidy.read_tidy",
        read_tidy=measured,
        as_markdown="text",
        as_html="page",
        read_bibliography=["known"],
        cited_entries=entries,
    )
    assert known.call == (("config/references.bib",), {})
    assert cited.call == said.call
    written = Path("results/studies/rich/references.bib").read_text(encoding="utf-8")
    assert written == "@misc{one\n\n@misc{two\n"
    receipts = {
        str(file) for file in (file for job in rich_plan.jobs for file in job.handed.output)
    }
    receipts |= {unit["registration"]["file"] for unit in rich_plan.units()}
    receipts |= {unit["alignment"]["file"] for unit in rich_plan.units("align")}
    receipts = {file for file in receipts if file.endswith("receipt.json")}
    assert {str(arguments[0]) for arguments, _ in read.calls} == receipts
    (facts, read_receipts, version, bibliography), _ = said.call
    assert bibliography == ["known"]
    assert facts["title"] == "A rich study"
    assert facts["has_labels"] == (metric == "dice")
    assert tidy.call == (("results/studies/rich/metrics.tsv",), {})
    assert len(read_receipts) == len(receipts)
    assert version
    assert Path("results/studies/rich/methods.md").read_text(encoding="utf-8") == "text"
    assert Path("results/studies/rich/methods.html").read_text(encoding="utf-8") == "page"
