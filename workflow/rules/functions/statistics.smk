"""What tables are made from, and what stands above them."""

from collections import Counter

from diffeode.evaluation.labels import SUBSET, read_label_table
from diffeode.registration.registry import method_class
from diffeode.registration.runs import run_names
from diffeode.statistics.reported import read_reported, require_known_runs
from diffeode.study.experiments_table import COLUMNS as EXPERIMENT_COLUMNS
from diffeode.study.experiments_table import experiments_table

REPORTED = str(REPOSITORY / "config" / "reported.tsv")
LABELS = {experiment.labels for experiment in STUDY.experiments if experiment.labels}
try:
    require_known_runs(read_reported(REPORTED), run_names(), REPORTED)
    HAS_SUBSET = any(SUBSET in read_label_table(path) for path in LABELS)
except InputError as error:
    refuse(str(error))

ABOUT_SUBSET = (
    " Dice, subset, is over the structures that the label table marks." if HAS_SUBSET else ""
)
ABOUT_CHOSEN = (
    f" It shows the {len(STUDY.shown.runs)} of {len(STUDY.runs)} methods that the study chooses for its figures; dice_by_label.tsv has all."
    if STUDY.shown.runs
    else ""
)


def points_of(sweep):
    """Return the runs of a sweep, as rows of series, run, setting and value."""
    return [
        [sweep.title, run, setting, value]
        for run, values in sweep.points.items()
        for setting, value in zip(sweep.settings, values)
    ]


SWEPT = [row for sweep in STUDY.sweeps for row in points_of(sweep)]


def crossed_points(wildcards):
    return points_of(CROSSED[wildcards.crossed])


def crossed_settings(wildcards):
    """The setting whose values go down and the one whose values go across."""
    return list(CROSSED[wildcards.crossed].settings)


def first_pairs():
    """Return the receipt of the first pair of each experiment."""
    return [
        PAIR.format(experiment=experiment.name, pair=pair.id)
        for experiment in STUDY.experiments
        for pair in experiment.pairs[:1]
    ]


def runs_compared(wildcards):
    """The runs whose models are compared, with their methods and parameters."""
    runs = [STUDY.run(name) for name in STUDY.shown.models]
    return {run.name: {"method": run.method, "parameters": run.parameters} for run in runs}


def models_code(wildcards):
    return code_of("models", *{method_class(run["method"]) for run in runs_compared(None).values()})


def reported_numbers(wildcards):
    """What the papers report."""
    return {"reported": REPORTED}


def metrics_and_reported(wildcards):
    """The study's numbers, and what the papers report."""
    return {"metrics": COLLECTED, **reported_numbers(wildcards)}


def numbers_and_bibliography(wildcards):
    """The study's numbers, and the entries that it may cite."""
    return {"metrics": COLLECTED, "bibliography": str(REPOSITORY / "config" / "references.bib")}


def table_caption(sentence):
    """What a table shows, and of whom."""
    sides = (side for e in STUDY.experiments for side in (e.fixed, e.moving))
    populations = "; ".join(dict.fromkeys(side.dataset.population for side in sides))
    return f"{STUDY.title} ({populations}). {sentence}"


def labels_of_pairs(wildcards):
    """Return the receipts of the label maps of each registered pair, by the names of experiment and
    pair, and then by those of the inputs of its evaluation.
    """
    return {
        f"{experiment.name}/{pair.id}": {
            "fixed_labels": labels_of(pair.fixed),
            "moving_labels": labels_of(pair.moving),
        }
        for experiment in STUDY.experiments
        for pair in experiment.pairs
    }


def steps_of_scans(wildcards):
    """Return dataset and name of each scan, the number of pairs that need it, and name, receipt and
    log of each step of its preparation.
    """
    datasets = STUDY.datasets()

    def needed(pair):
        sides = (pair.fixed, pair.moving)
        helpers = (other for side in sides for other in datasets[side.dataset].helpers_of(side))
        return {scan.key for scan in (*sides, *helpers)}

    pairs = Counter(key for e in STUDY.drawn for pair in e.pairs for key in needed(pair))
    return [
        [
            *scan.key,
            pairs[scan.key],
            [[step, receipt, logs(step, *scan.key)] for step, receipt in steps_taken(scan).items()],
        ]
        for scan in SCANS.values()
    ]
