"""What figures are drawn from, and what stands in them."""

from diffeode.registration.registry import method_class
from diffeode.registration.runs import load_run

CHOSEN = {"runs": list(STUDY.shown.runs), "structures": list(STUDY.shown.structures)}


# examples in the plane compare intensities, so their slices are of one contrast
ONE_CONTRAST = [
    (experiment.name, pair.id)
    for experiment in STUDY.experiments
    for pair in experiment.pairs[:1]
    if pair.fixed.modality == pair.moving.modality
]
if STUDY.shown.plane and not ONE_CONTRAST:
    refuse(
        f"Study {STUDY.name} registers in the plane (figures: plane), but none of its experiments "
        "has fixed and moving scans of one contrast; add one, or leave the key out."
    )


def pair_in_plane(wildcards):
    """The first pair of one contrast, in a list."""
    experiment, pair = ONE_CONTRAST[0]
    return [PAIR.format(experiment=experiment, pair=pair)]


def run_in_plane(wildcards):
    run = load_run(STUDY.shown.plane)
    return {"method": run.method, "parameters": run.parameters}


def plane_code(wildcards):
    return code_of("plane", method_class(load_run(STUDY.shown.plane).method))


def shown_unit(wildcards):
    """The pair that is shown, its registration, and the metrics of the registration."""
    return [pattern.format(**wildcards) for pattern in (PAIR, REGISTRATION, METRICS)]


def registrations_of_pair(wildcards):
    return [REGISTRATION.format(**wildcards, run=run.name) for run in STUDY.runs]


def units_beside(wildcards):
    """A pair, then its registrations that are shown side by side, and then their metrics."""
    of_runs = [
        pattern.format(**wildcards, run=run)
        for pattern in (REGISTRATION, METRICS)
        for run in runs_beside()
    ]
    return [PAIR.format(**wildcards), *of_runs]


def runs_beside():
    """The runs that are shown side by side: those that the study chooses, or all."""
    return CHOSEN["runs"] or [run.name for run in STUDY.runs]


def pair_title(wildcards):
    pair = PLANNED[wildcards.experiment, wildcards.pair]
    population = STUDY.experiment(wildcards.experiment).population
    return f"{pair.moving.id} to {pair.fixed.id} ({population})"


def panel_title(wildcards):
    return f"{STUDY.run(wildcards.run).title}: {pair_title(wildcards)}"


def fixed_scans(wildcards):
    """The fixed scans of an experiment, each once."""
    scans = (pair.fixed for pair in STUDY.experiment(wildcards.experiment).pairs)
    return list({scan.id: scan for scan in scans}.values())


def prepared_fixed_scans(wildcards):
    return [prepared(scan) for scan in fixed_scans(wildcards)]


def shown_names(wildcards):
    return [
        f"{scan.id}\n{scan.group}" if scan.group else scan.id for scan in fixed_scans(wildcards)
    ]


def overview_caption(wildcards):
    experiment = STUDY.experiment(wildcards.experiment)
    dataset = experiment.fixed.dataset
    return (
        f"{dataset.title}, {dataset.population}: the fixed scans of the experiment "
        f"{experiment.title}."
    )
