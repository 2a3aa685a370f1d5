"""What tables are made from, and what stands above them."""

from diffeode.registration.runs import load_run, run_names
from diffeode.statistics.reported import read_reported, require_known_runs
from diffeode.study.experiments_table import COLUMNS as EXPERIMENT_COLUMNS
from diffeode.study.experiments_table import experiments_table

REPORTED = str(REPOSITORY / "config" / "reported.tsv")
try:
    require_known_runs(read_reported(REPORTED), run_names(), REPORTED)
except InputError as error:
    refuse(str(error))

# the runs of sweeps, as rows of series, run, setting and value
SWEPT = [
    [load_run(sweep.run).title, run, setting, value]
    for sweep in STUDY.sweeps
    for run, values in sweep.points.items()
    for setting, value in zip(sweep.settings, values)
]


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
    populations = " and ".join(dict.fromkeys(side.dataset.population for side in sides))
    return f"{STUDY.title} ({populations}). {sentence}"
