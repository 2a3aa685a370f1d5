"""Reads the study, names its files, and holds the functions that all stages use."""

import os
import re
import sys
from functools import cache
from pathlib import Path

from snakemake.logging import logger

# This path is relative, so that a clone that is moved with its results stays up to date.
REPOSITORY = Path(os.path.relpath(workflow.basedir))
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"

# A clone works without installation, here and in the scripts.
sys.path[:0] = [f"{workflow.basedir}/src", f"{workflow.basedir}/workflow/lib"]
os.environ.update(
    PYTHONPATH=os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
)

from lazily import import_when_used

# A plan reads no voxels and may draw no pairs, and most processes only run one job.
import_when_used("scipy.ndimage", "scipy.optimize")

from diffeode.datasets.copies import copies_among
from diffeode.errors import InputError, reason_of
from diffeode.provenance.source import code_hash
from diffeode.study.runs import crossed
from diffeode.study.unmatched import unmatched_names
from diffeode.study.files import load_study, require_nameable, require_writable, study_paths
from diffeode.programs.tools import FOLDERS

from snakemake_internals import Internals


# The container is built on a cluster or by hand; nothing below needs it (docs/workflow.md).
container: "docker://diffeode:0.1.0"


def refuse(sentence):
    """Stop before any job with one sentence instead of a traceback."""
    logger.error(sentence)
    sys.exit(1)


try:
    require_nameable([workflow.basedir])
    INTERNALS = Internals(workflow)
    STUDY = load_study(config, REPOSITORY, replaced=INTERNALS.given_on_command_line)
    require_writable(STUDY.results)
    if INTERNALS.plans:
        require_nameable(study_paths(STUDY))
except InputError as error:
    refuse(str(error))

for experiment in STUDY.experiments:
    if experiment.concern:
        logger.warning(experiment.concern)

if INTERNALS.plans:
    for sentence in [*unmatched_names(STUDY), *copies_among(STUDY.scans().values())]:
        logger.warning(sentence)

for folder in STUDY.tools if INTERNALS.plans else ():
    if not folder.is_dir():
        logger.warning(
            f"There is no folder {folder}, in which the study looks for programs first (tools), so "
            "those of PATH are taken; correct the path, unless the folder is on other computers."
        )

for dataset in STUDY.datasets().values():
    for path in (
        {} if isinstance(dataset.recipe.template, str) else dataset.recipe.template.values()
    ):
        if not Path(path).is_file():
            refuse(
                f"Dataset {dataset.name} names the template {path}, but there is no such file; "
                "correct the path."
            )

if STUDY.tools:
    folders = [str(folder.absolute()) for folder in STUDY.tools]
    os.environ[FOLDERS] = os.pathsep.join([*folders, *filter(None, [os.environ.get(FOLDERS)])])

INTERNALS.outlive_the_console()
INTERNALS.end_as_interrupted()
INTERNALS.look_for_jobs_when_one_may_start()
INTERNALS.submit_as(STUDY.name, STUDY.results, INTERNALS.show_one_line_per_job())
INTERNALS.open_reports_on_results(Path(workflow.basedir) / "workflow" / "report" / "opening.js")
INTERNALS.keep_reports_harmless()
INTERNALS.ignore_clocks()
INTERNALS.keep_failures_out_of_the_cache()
INTERNALS.name_this_run()
if INTERNALS.decides:
    INTERNALS.guard_locks(refuse)

# ----------------------------------------------------------------------------------- names of files

RESULTS = str(STUDY.results)
STUDIED = f"{RESULTS}/studies/{STUDY.name}"
TABLES = f"{STUDIED}/tables"
FIGURES = f"{STUDIED}/figures"
ENVIRONMENT = f"{workflow.basedir}/envs/base.yaml"

SOURCE = f"{RESULTS}/sources/{{dataset}}/receipt.json"
SCAN = f"{RESULTS}/prepared/{{dataset}}/{{scan}}"
PREPARED = f"{SCAN}/receipt.json"
BRAIN = f"{SCAN}/brain/receipt.json"
CORRECTED = f"{SCAN}/corrected/receipt.json"
PLACED = f"{SCAN}/placed/receipt.json"
SEGMENTED = f"{SCAN}/segmented/receipt.json"
NUMBERS = f"{RESULTS}/quality/{{dataset}}/{{scan}}.tsv"
PICTURE = f"{RESULTS}/quality/{{dataset}}/{{scan}}.png"
QUALITY = f"{STUDIED}/quality/{{dataset}}/index.html"
PAIRS = f"{RESULTS}/pairs/{{experiment}}/pairs.tsv"
PAIR = f"{RESULTS}/pairs/{{experiment}}/{{pair}}/receipt.json"
REGISTRATION = f"{RESULTS}/registrations/{{experiment}}/{{pair}}/{{run}}/receipt.json"
NETWORK = f"{RESULTS}/networks/{{train_on}}/{{run}}/receipt.json"
NETWORK_CURVES = f"{FIGURES}/networks/{{train_on}}/{{run}}"
DESCRIPTOR = f"{RESULTS}/descriptors/{{descriptor}}/best.safetensors"
DESCRIPTOR_CURVES = f"{RESULTS}/descriptors/{{descriptor}}/curves.png"
DESCRIPTOR_DATA = os.environ.get("DIFFEODE_DATA") or str(REPOSITORY / ".." / "shared" / "data")
METRICS = f"{RESULTS}/metrics/{{experiment}}/{{pair}}/{{run}}.tsv"
ALIGNED = f"{RESULTS}/chunks/{{experiment}}/{{chunk}}.tsv"
REGISTERED = f"{RESULTS}/chunks/{{experiment}}/{{run}}/{{chunk}}.tsv"
COLLECTED = f"{STUDIED}/metrics.tsv"
STORAGE = f"{STUDIED}/storage.tsv"
VISITS = f"{STUDIED}/longitudinal.tsv"
VERDICT = f"{STUDIED}/verdict.txt"
PANEL = f"{FIGURES}/panels/{{experiment}}/{{pair}}/{{run}}"
CONVERGENCE = f"{FIGURES}/convergence/{{experiment}}/{{pair}}"
OVERVIEW = f"{FIGURES}/coronal_overview/{{experiment}}"
SUFFIXES = (".tsv", ".md", ".tex")
KINDS = ("svg", "png", "pdf")
"""The formats of a figure; the first one stands in the report."""
CROSSED_TABLE = f"{TABLES}/crossed-{{crossed}}"
BESIDE = f"{FIGURES}/beside/{{experiment}}/{{pair}}"
LONG = 1
"""The priority of a job on which many others wait: where cores are free, it starts first. A cohort
takes several cores, so it would otherwise wait until all jobs that take one have ended.
"""

SCANS = STUDY.prepared_scans()
EXPERIMENTS = [e.name for e in STUDY.experiments]
CROSSED = crossed(STUDY.sweeps)
"""The sweeps of two settings, by the words in the names of their tables."""
PLANNED = {(e.name, pair.id): pair for e in STUDY.drawn for pair in e.pairs}
LOOK = {
    "titles": {run.name: run.title for run in STUDY.runs},
    "experiments": {e.name: f"{e.title} ({e.population})" for e in STUDY.experiments},
    "ours": STUDY.ours,
}


@cache
def pair_units():
    """Return the names of every pair; few of the processes that run one job need them."""
    return [INTERNALS.wildcards(experiment=e, pair=pair) for e, pair in PLANNED]


@cache
def run_units():
    """Return the names of every registration."""
    return [INTERNALS.wildcards(experiment=e, pair=pair, run=run) for e, pair, run in STUDY.units()]


def one_of(names):
    """Return the constraint of a wildcard that may be one of ``names`` and nothing else."""
    return "|".join(re.escape(name) for name in dict.fromkeys(names))


wildcard_constraints:
    dataset=one_of(STUDY.datasets()),
    scan=one_of(scan for _, scan in SCANS),
    experiment=one_of(e.name for e in STUDY.drawn),
    pair=one_of(pair for _, pair in PLANNED),
    run=one_of(run.name for run in STUDY.runs),
    chunk=r"\d+-\d+",
    crossed=one_of(CROSSED) or "none",


def logs(*parts):
    """Return the path of a job's log, made of its rule and of what tells it from other jobs."""
    return os.path.join(RESULTS, "logs", *parts) + ".log"


def benchmarks(*parts):
    """Return the path of a job's costs; ``parts`` are those of its log."""
    return os.path.join(RESULTS, "benchmarks", *parts) + ".tsv"


def other_kinds(stem):
    """A figure in the formats that the report does not show."""
    return [f"{stem}.{kind}" for kind in KINDS[1:]]


def code(script, apart_from=()):
    """Return the parameter ``code`` of the rule of a script.

    It is a function, so that a process that runs one job reads the code of that job only.
    """
    return lambda wildcards: code_of(script, apart_from=apart_from)


def code_of(script, *found, apart_from=()):
    """Return the identity of all code that a script uses, which its results depend on.

    ``found`` are classes or functions that the script finds by name when it runs. ``apart_from``
    names modules that the script uses but that change no result, as ``_job`` does.
    """
    return code_hash(*found, scripts=(SCRIPTS / f"{script}.py",), apart_from=("_job", *apart_from))


# -------------------------------------------------------------------------------------------- scans


def scan_of(wildcards):
    return SCANS[wildcards.dataset, wildcards.scan]


def recipe_of(scan):
    return STUDY.datasets()[scan.dataset].recipe


def unit(pattern, scan):
    """Return the receipt that ``pattern`` has for a scan."""
    return pattern.format(dataset=scan.dataset, scan=scan.id)


def prepared(scan):
    """Return the receipt of a prepared scan."""
    return unit(PREPARED, scan)


def label_scan(scan):
    """Return the scan whose labels ``scan`` is evaluated with: itself, or the T1w of its visit."""
    dataset = STUDY.datasets()[scan.dataset]
    return dataset.t1w_of(scan) if dataset.recipe.borrows_labels(scan) else scan


def labels_of(scan):
    """Return the receipt of the unit that holds the labels of a scan."""
    return unit(SEGMENTED if recipe_of(scan).segments else PREPARED, label_scan(scan))


def planned_pair(wildcards):
    return PLANNED[wildcards.experiment, wildcards.pair]


def run_of(wildcards):
    run = STUDY.run(wildcards.run)
    return {"method": run.method, "parameters": dict(sorted(run.parameters.items()))}
