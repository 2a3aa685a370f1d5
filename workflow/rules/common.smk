"""The study, the names of its files, and what all stages ask about it."""

import os
import re
import sys
from pathlib import Path

from snakemake.logging import logger

# relative, so that a clone that is moved with its results stays up to date
REPOSITORY = Path(os.path.relpath(workflow.basedir))
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"

# a bare clone works without installation, here and in the scripts
sys.path[:0] = [f"{workflow.basedir}/src", f"{workflow.basedir}/workflow/lib"]
os.environ.update(
    PYTHONPATH=os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")]))
)

from diffeode.errors import InputError
from diffeode.provenance.source import code_hash
from diffeode.study.files import load_study, require_nameable, require_writable, study_paths
from diffeode.programs.tools import FOLDERS

from snakemake_internals import Internals


# built on a cluster or by hand; nothing below needs it (docs/workflow.md)
container: "docker://diffeode:0.1.0"


def refuse(sentence):
    """Stop before any job with one sentence instead of a traceback."""
    logger.error(sentence)
    sys.exit(1)


try:
    require_nameable([workflow.basedir])
    STUDY = load_study(config, REPOSITORY)
    require_writable(STUDY.results)
    require_nameable(study_paths(STUDY))
except InputError as error:
    refuse(str(error))

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

INTERNALS = Internals(workflow)
INTERNALS.show_one_line_per_job()

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
COLLECTED = f"{STUDIED}/metrics.tsv"
VERDICT = f"{STUDIED}/verdict.txt"
PANEL = f"{FIGURES}/panels/{{experiment}}/{{pair}}/{{run}}.png"
CONVERGENCE = f"{FIGURES}/convergence/{{experiment}}/{{pair}}"
OVERVIEW = f"{FIGURES}/coronal_overview/{{experiment}}.png"
SUFFIXES = (".tsv", ".md", ".tex")

SCANS = STUDY.prepared_scans()
EXPERIMENTS = [e.name for e in STUDY.experiments]
PLANNED = {(e.name, pair.id): pair for e in STUDY.drawn for pair in e.pairs}
UNITS = [dict(zip(("experiment", "pair", "run"), unit)) for unit in STUDY.units()]


def one_of(names):
    """A wildcard's constraint: these names and nothing else."""
    return "|".join(re.escape(name) for name in dict.fromkeys(names))


wildcard_constraints:
    dataset=one_of(STUDY.datasets()),
    scan=one_of(scan for _, scan in SCANS),
    experiment=one_of(e.name for e in STUDY.drawn),
    pair=one_of(pair for _, pair in PLANNED),
    run=one_of(run.name for run in STUDY.runs),


def logs(*parts):
    """The log of a job: its rule, and what tells it from the others of that rule."""
    return os.path.join(RESULTS, "logs", *parts) + ".log"


def benchmarks(*parts):
    """What a job took; the parts are those of its log."""
    return os.path.join(RESULTS, "benchmarks", *parts) + ".tsv"


def code(script, *found, apart_from=()):
    """What results depend on besides inputs and parameters: all code that a script uses.

    ``found`` is what the script finds by name when it runs; ``apart_from`` names what it uses but
    what decides no result. ``_job`` decides none.
    """
    return code_hash(*found, scripts=(SCRIPTS / f"{script}.py",), apart_from=("_job", *apart_from))


# -------------------------------------------------------------------------------------------- scans


def scan_of(wildcards):
    return SCANS[wildcards.dataset, wildcards.scan]


def recipe_of(scan):
    return STUDY.datasets()[scan.dataset].recipe


def unit(pattern, scan):
    """A scan's receipt of one step."""
    return pattern.format(dataset=scan.dataset, scan=scan.id)


def prepared(scan):
    """The receipt of a prepared scan."""
    return unit(PREPARED, scan)


def label_scan(scan):
    """Whose labels ``scan`` is evaluated with: its own, or those of the T1w of its visit."""
    dataset = STUDY.datasets()[scan.dataset]
    return dataset.t1w_of(scan) if dataset.recipe.borrows_labels(scan) else scan


def labels_of(scan):
    """The receipt of the unit that holds a scan's labels."""
    return unit(SEGMENTED if recipe_of(scan).segments else PREPARED, label_scan(scan))


def planned_pair(wildcards):
    return PLANNED[wildcards.experiment, wildcards.pair]


def run_of(wildcards):
    run = STUDY.run(wildcards.run)
    return {"method": run.method, "parameters": dict(sorted(run.parameters.items()))}
