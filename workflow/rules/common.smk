"""The study, the names of its files, and what the stages ask about it."""

import os
import re
import sys
from pathlib import Path

from snakemake.logging import logger

# relative, so that a clone that is moved with its results stays up to date
REPOSITORY = Path(os.path.relpath(workflow.basedir))
SCRIPTS = Path(workflow.basedir) / "workflow" / "scripts"

# a bare clone works without installation, here and in the scripts
sys.path[:0] = [f"{workflow.basedir}/src", str(SCRIPTS)]
os.environ.update(PYTHONPATH=os.pathsep.join(filter(None, [sys.path[0], os.environ.get("PYTHONPATH")])))

from diffeode.datasets.pairs import pairs_table
from diffeode.errors import InputError
from diffeode.methods.registry import method_class, method_module
from diffeode.methods_section import facts_of
from diffeode.prepare.backends import backend_modules, weights_read
from diffeode.source import code_hash
from diffeode.study_files import (
    load_dataset,
    load_study,
    require_nameable,
    require_untrained,
    require_writable,
    study_paths,
)
from diffeode.tools import FOLDERS

import progress


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
    for path in {} if isinstance(dataset.recipe.template, str) else dataset.recipe.template.values():
        if not Path(path).is_file():
            refuse(f"Dataset {dataset.name} names the template {path}, but there is no such file; correct the path.")

if STUDY.tools:
    folders = [str(folder.absolute()) for folder in STUDY.tools]
    os.environ[FOLDERS] = os.pathsep.join([*folders, *filter(None, [os.environ.get(FOLDERS)])])

progress.show_one_line_per_job(workflow)

# ------------------------------------------------------------------------------------------------ names of files

RESULTS = str(STUDY.results)
STUDIED = f"{RESULTS}/studies/{STUDY.name}"
TABLES = f"{STUDIED}/tables"
FIGURES = f"{STUDIED}/figures"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
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
TRAINED = f"{RESULTS}/trained/{{training}}/{{run}}/receipt.json"
TRAINING_CURVES = f"{FIGURES}/training/{{run}}"
DESCRIPTOR_WEIGHTS = f"{RESULTS}/training/{{training}}/best.safetensors"
CURVES = f"{RESULTS}/training/{{training}}/curves.png"
TRAINING_DATA = os.environ.get("DIFFEODE_DATA") or str(REPOSITORY / ".." / "shared" / "data")
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


def code(script, *modules, beside=()):
    """What results depend on besides inputs and parameters: a script, and modules with all that they import.

    ``beside`` names the scripts that it imports from; ``_job`` is left out, because it decides no result.
    """
    return code_hash(*(SCRIPTS / f"{name}.py" for name in (script, *beside)), *modules)


# ------------------------------------------------------------------------------------------------ what there will be


def receipts():
    """Every receipt of the study, in the order of work."""
    virtual = [name for name, dataset in STUDY.datasets().items() if dataset.kind == "virtual"]
    return [
        *(SOURCE.format(dataset=name) for name in virtual),
        *(receipt for scan in SCANS.values() for receipt in units_of(scan)),
        *(PAIR.format(experiment=e, pair=pair) for e, pair in PLANNED),
        *trainings(),
        *(REGISTRATION.format(**unit) for unit in UNITS),
    ]


def tables():
    """Every table of the study."""
    stems = ("summary", "dice_by_label", "wilcoxon", "wilcoxon_largest_p")
    pages = [f"{TABLES}/{stem}.html" for stem in ("summary", "wilcoxon", "failures", "suspects")]
    lists = [f"{TABLES}/{stem}.tsv" for stem in ("failures", "suspects")]
    return [*(f"{TABLES}/{stem}{suffix}" for stem in stems for suffix in SUFFIXES), *lists, *pages]


def figures():
    """Every figure of the study."""
    of_study = [f"{FIGURES}/{name}" for name in ("dice_boxplot", "dice_by_structure", "regularity", "significance")]
    of_pairs = [CONVERGENCE.format(experiment=e, pair=pair) for e, pair in shown_pairs()]
    return [
        *(f"{stem}.{kind}" for stem in of_study + of_pairs + training_curves() for kind in ("svg", "png")),
        *(OVERVIEW.format(experiment=name) for name in EXPERIMENTS),
        *(PANEL.format(experiment=e, pair=pair, run=run.name) for e, pair in shown_pairs() for run in STUDY.runs),
    ]


def plain_files():
    """Every file of the study that is no receipt and stands behind none."""
    pairs = [PAIRS.format(experiment=name) for name in EXPERIMENTS]
    about = [f"{STUDIED}/methods.{kind}" for kind in ("md", "html")]
    return [*pairs, *quality(), *unit_metrics(None), COLLECTED, *tables(), *figures(), *about]


def quality():
    """Numbers, pictures and pages of the datasets whose preparation is more than scaling."""
    looked_at = [name for name, dataset in STUDY.datasets().items() if dataset.recipe.is_work]
    scans = [scan for scan in SCANS.values() if scan.dataset in looked_at]
    return [
        *(unit(pattern, scan) for pattern in (NUMBERS, PICTURE) for scan in scans),
        *(QUALITY.format(dataset=name) for name in looked_at),
    ]


def everything(wildcards):
    """Every file of the study that a user owns, except the verdict over them."""
    return [*receipts(), *plain_files()]


def shown_pairs():
    """Experiment and pair of those shown one by one: the first of each experiment."""
    return [(e.name, pair.id) for e in STUDY.experiments for pair in e.pairs[: STUDY.panels]]


# ------------------------------------------------------------------------------------------------ scans


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


def units_of(scan):
    """Every receipt of a scan, in the order of work."""
    recipe = recipe_of(scan)
    lends = scan.id in {label_scan(other).id for other in STUDY.scans().values() if other.dataset == scan.dataset}
    steps = {
        BRAIN: recipe.finds_brain,
        CORRECTED: recipe.corrects,
        PLACED: recipe.places,
        PREPARED: True,
        SEGMENTED: recipe.segments and lends,
    }
    return [unit(pattern, scan) for pattern, taken in steps.items() if taken]


def label_scan(scan):
    """Whose labels ``scan`` is evaluated with: its own, or those of the T1w of its visit."""
    dataset = STUDY.datasets()[scan.dataset]
    return dataset.t1w_of(scan) if dataset.recipe.borrows_labels(scan) else scan


def labels_of(scan):
    """The receipt of the unit that holds a scan's labels."""
    return unit(SEGMENTED if recipe_of(scan).segments else PREPARED, label_scan(scan))


def scan_files(scan):
    """A scan's own files; those of a virtual cohort stand behind the cohort's receipt."""
    if STUDY.datasets()[scan.dataset].kind == "virtual":
        return {"source": SOURCE.format(dataset=scan.dataset)}
    files = {"image": scan.image, "labels": None if recipe_of(scan).segments else scan.labels}
    files["landmarks"] = scan.landmarks
    return {name: str(file) for name, file in files.items() if file}


def scan_fields(scan):
    """The scan as plain words, so that Snakemake can tell when it changes; nothing prepared hangs on who was scanned."""
    left_out = {"age", "sex", "cdr", *(["labels"] if recipe_of(scan).segments else [])}
    return {key: str(value) for key, value in vars(scan).items() if value is not None and key not in left_out}


def image_fields(scan):
    """The scan as plain words, without what was drawn on it."""
    return {key: word for key, word in scan_fields(scan).items() if key not in ("labels", "landmarks", "group")}


def image_file(scan):
    """What a step reads of the scan itself."""
    files = scan_files(scan)
    return files.get("image") or files["source"]


def before(scan, *steps):
    """Names and receipts of those of ``steps`` (brain, corrected, placed) that the scan's recipe has."""
    recipe = recipe_of(scan)
    units = {"corrected": (recipe.corrects, CORRECTED), "brain": (recipe.finds_brain, BRAIN)}
    units["placed"] = (recipe.places, PLACED)
    return {step: unit(units[step][1], scan) for step in steps if units[step][0]}


def template_files(scan):
    """The user's own template, where the scan's recipe names one."""
    template = recipe_of(scan).template
    return {} if isinstance(template, str) else {"template": sorted(template.values())}


def to_strip(wildcards):
    scan = scan_of(wildcards)
    corrected = before(scan, "corrected") if recipe_of(scan).corrects_heads else {}
    return {"image": image_file(scan), **corrected}


def to_correct(wildcards):
    scan = scan_of(wildcards)
    brain = {} if recipe_of(scan).corrects_heads else before(scan, "brain")
    return {"image": image_file(scan), **brain}


def to_place(wildcards):
    scan = scan_of(wildcards)
    found = {"image": image_file(scan), **before(scan, "corrected", "brain"), **template_files(scan)}
    if recipe_of(scan).leans_on_t1w(scan):
        t1w = STUDY.datasets()[scan.dataset].t1w_of(scan)
        found["t1w_image"] = image_file(t1w)
        found |= {f"t1w_{step}": receipt for step, receipt in before(t1w, "corrected", "brain", "placed").items()}
    return found


def to_prepare(wildcards):
    scan = scan_of(wildcards)
    return {**scan_files(scan), **before(scan, "corrected", "brain", "placed")}


def to_segment(wildcards):
    return {"prepared": PREPARED.format(**wildcards)}


def to_inspect(wildcards):
    scan = scan_of(wildcards)
    shown = STUDY.datasets()[scan.dataset].labels and (scan.dataset, scan.id) in STUDY.scans()
    labels = {"labels": labels_of(scan)} if shown else {}
    return {"image": image_file(scan), "prepared": prepared(scan), **labels, **template_files(scan)}


def label_table_of(wildcards):
    """The structures of a dataset, or none."""
    table = STUDY.datasets()[wildcards.dataset].labels
    return [str(table)] if table else []


def scans_of_dataset(wildcards):
    return [scan for scan in SCANS.values() if scan.dataset == wildcards.dataset]


def to_gather(wildcards):
    scans = scans_of_dataset(wildcards)
    return {"numbers": [unit(NUMBERS, s) for s in scans], "pictures": [unit(PICTURE, s) for s in scans]}


def quality_caption(wildcards):
    dataset = STUDY.datasets()[wildcards.dataset]
    return f"{dataset.title}, {dataset.population}: scans as they were prepared for the study {STUDY.title}."


def step_params(*choices):
    """The scan, and those of its recipe's choices that a step makes use of."""

    def given(wildcards):
        recipe = recipe_of(scan_of(wildcards))
        return {choice: getattr(recipe, choice) for choice in choices}

    return given


def step_reads(step):
    """Checksums of the trained weights that a step reads, as its scan's recipe chooses."""
    return lambda wildcards: weights_read(step, getattr(recipe_of(scan_of(wildcards)), step))


def t1w_fields(wildcards):
    """The T1w that a scan is placed through, as plain words; empty where there is none."""
    scan = scan_of(wildcards)
    return image_fields(STUDY.datasets()[scan.dataset].t1w_of(scan)) if recipe_of(scan).leans_on_t1w(scan) else {}


def step_code(script, *choices):
    """The code of a step and of the tools that a scan's recipe chooses for it."""

    def given(wildcards):
        recipe = recipe_of(scan_of(wildcards))
        chosen = backend_modules(**{choice: getattr(recipe, choice) for choice in choices})
        return code(script, f"diffeode.prepare.{script}", *chosen, beside=["_scan"])

    return given


# ------------------------------------------------------------------------------------------------ pairs


def planned_pair(wildcards):
    return PLANNED[wildcards.experiment, wildcards.pair]


def pair_rows(wildcards):
    """The table of an experiment's pairs, its header first."""
    experiment = STUDY.experiment(wildcards.experiment)
    table = pairs_table(experiment.pairs, experiment.seed)
    return [list(table.columns), *table.values.tolist()]


def pair_scans(wildcards):
    pair = planned_pair(wildcards)
    return [prepared(pair.fixed), prepared(pair.moving)]


def datasets_of(wildcards):
    """Where the fixed and the moving scan of a pair come from."""
    pair = planned_pair(wildcards)
    return {"fixed_dataset": pair.fixed.dataset, "moving_dataset": pair.moving.dataset}


def alignment(wildcards):
    experiment = STUDY.experiment(wildcards.experiment)
    return {"alignment": experiment.alignment, "grids": experiment.grids, "seed": experiment.seed}


# ------------------------------------------------------------------------------------------------ trainings


def trainings(*runs):
    """Receipts of the runs that are trained first, of all or of those named."""
    names = [run.name for run in STUDY.trained_runs() if not runs or run.name in runs]
    return [TRAINED.format(training=STUDY.training.name, run=name) for name in names]


def training_curves():
    """Figures of the trainings, without their suffixes."""
    return [TRAINING_CURVES.format(run=run.name) for run in STUDY.trained_runs()]


def trained_on(wildcards):
    """Every pair of the experiment to train on, and the labels of both sides."""
    pairs = STUDY.training.pairs
    return {
        "pairs": [PAIR.format(experiment=STUDY.training.name, pair=pair.id) for pair in pairs],
        "fixed_labels": [labels_of(pair.fixed) for pair in pairs],
        "moving_labels": [labels_of(pair.moving) for pair in pairs],
    }


def trained_persons(wildcards):
    """Who is on the fixed and on the moving side of each pair."""
    return [["/".join(scan.person) for scan in (pair.fixed, pair.moving)] for pair in STUDY.training.pairs]


def train_code(wildcards):
    """The code of this run's method and of the training, not of any other method."""
    return code("train", method_module(STUDY.run(wildcards.run).method), "diffeode.methods.training")


def training_description(wildcards):
    return f"{workflow.basedir}/config/training/{wildcards.training}.yaml"


def training_files(wildcards):
    """The scans and label maps that a training's file names; the training itself refuses persons who are tested on."""
    # here, because nothing but this needs torch while a study is planned
    from diffeode.descriptors.learning.material import read_training, trained_files

    try:
        training = read_training(training_description(wildcards))
        files = trained_files(training, Path(TRAINING_DATA))
        require_nameable(files)
        if wildcards.training in map(descriptor_training, [run.name for run in STUDY.runs]):
            require_untrained(STUDY, files)
    except InputError as error:
        refuse(str(error))
    return [str(file) for file in files]


def descriptors():
    """Weights and curves of the descriptors that are trained here for some run."""
    trained = filter(None, (descriptor_training(run.name) for run in STUDY.runs))
    return [
        file
        for name in dict.fromkeys(trained)
        for file in (DESCRIPTOR_WEIGHTS.format(training=name), CURVES.format(training=name))
    ]


def descriptor_training(run):
    """The training that a run's descriptor comes from, where its weights are those that a rule here makes; else None."""
    weights = STUDY.run(run).build().descriptor_weights
    name = Path(weights).parent.name
    described = (REPOSITORY / "config" / "training" / f"{name}.yaml").is_file()
    return name if described and weights == DESCRIPTOR_WEIGHTS.format(training=name) else None


# ------------------------------------------------------------------------------------------------ registrations


def registered(wildcards):
    """What a registration reads: its pair, and the trainings that its run and its descriptor come from, if any."""
    training = descriptor_training(wildcards.run)
    return {
        "pair": PAIR.format(**wildcards),
        "moving_scan": prepared(planned_pair(wildcards).moving),
        "training": trainings(wildcards.run),
        "descriptor": [DESCRIPTOR_WEIGHTS.format(training=training)] if training else [],
    }


def run_of(wildcards):
    run = STUDY.run(wildcards.run)
    return {"method": run.method, "parameters": dict(sorted(run.parameters.items()))}


def reads_of(wildcards):
    """Hashes of the files a run reads besides its pair, as of weights: other files, another run. None where they are
    missing, which a plan has to do without, or an input of the registration."""
    if descriptor_training(wildcards.run):
        return None
    try:
        return STUDY.run(wildcards.run).build().reads()
    except InputError:
        return None


def environment_of(wildcards):
    """Where a run's method works."""
    method = method_class(STUDY.run(wildcards.run).method)
    return f"{workflow.basedir}/envs/{method.needs.environment}.yaml"


def register_code(wildcards):
    """The code of this run's method and of the harness, not of any other method."""
    method = method_module(STUDY.run(wildcards.run).method)
    return code("register", method, "diffeode.methods.harness", "diffeode.prepare.pair")


def registrations(wildcards):
    return [REGISTRATION.format(**unit) for unit in UNITS]


def registration_logs(wildcards):
    return [f"{LOGS}/register/{u['experiment']}/{u['pair']}/{u['run']}.log" for u in UNITS]


# ------------------------------------------------------------------------------------------------ numbers


def unit_receipts(wildcards):
    pair = planned_pair(wildcards)
    scans = {"fixed": prepared(pair.fixed), "moving": prepared(pair.moving)}
    labels = {"fixed_labels": labels_of(pair.fixed), "moving_labels": labels_of(pair.moving)}
    found = {"registration": REGISTRATION.format(**wildcards), "pair": PAIR.format(**wildcards)}
    return {**found, **scans, **labels, "label_table": label_tables(wildcards)}


def label_tables(wildcards):
    """The table of structures to evaluate, or none."""
    table = STUDY.experiment(wildcards.experiment).labels
    return [str(table)] if table else []


def unit_metrics(wildcards):
    return [METRICS.format(**unit) for unit in UNITS]


def collected(wildcards):
    return COLLECTED


def table_caption(sentence):
    """What a table shows, and of whom."""
    sides = (side for e in STUDY.experiments for side in (e.fixed, e.moving))
    populations = " and ".join(dict.fromkeys(side.dataset.population for side in sides))
    return f"{STUDY.title} ({populations}). {sentence}"


# ------------------------------------------------------------------------------------------------ pictures

LOOK = {
    "titles": {run.name: run.title for run in STUDY.runs},
    "experiments": {e.name: f"{e.title} ({e.population})" for e in STUDY.experiments},
    "ours": STUDY.ours,
}


def registration_and_pair(wildcards):
    return [REGISTRATION.format(**wildcards), PAIR.format(**wildcards)]


def registrations_of_pair(wildcards):
    return [REGISTRATION.format(**wildcards, run=run.name) for run in STUDY.runs]


def pair_title(wildcards):
    fixed, moving = wildcards.pair.split("__")
    return f"{moving} to {fixed} ({STUDY.experiment(wildcards.experiment).population})"


def panel_title(wildcards):
    return f"{STUDY.run(wildcards.run).title}: {pair_title(wildcards)}"


def fixed_scans(wildcards):
    """The fixed scans of an experiment, each once."""
    scans = (pair.fixed for pair in STUDY.experiment(wildcards.experiment).pairs)
    return list({scan.id: scan for scan in scans}.values())


def prepared_fixed_scans(wildcards):
    return [prepared(scan) for scan in fixed_scans(wildcards)]


def shown_names(wildcards):
    return [f"{scan.id}\n{scan.group}" if scan.group else scan.id for scan in fixed_scans(wildcards)]


def overview_caption(wildcards):
    experiment = STUDY.experiment(wildcards.experiment)
    dataset = experiment.fixed.dataset
    return f"{dataset.title}, {dataset.population}: the fixed scans of the experiment {experiment.title}."


# ------------------------------------------------------------------------------------------------ downloads

# a study that has no use for IXI is not stopped by what is wrong in its file
IXI_FAULT = None
try:
    IXI = load_dataset("ixi", REPOSITORY).root
    require_nameable([IXI])
except InputError as error:
    IXI, IXI_FAULT = "ixi", str(error)


def ixi_receipts(wildcards):
    """What is to be fetched of IXI."""
    if IXI_FAULT:
        refuse(IXI_FAULT)
    return [f"{IXI}/{archive}/receipt.json" for archive in ("IXI-T1", "IXI-T2")]
