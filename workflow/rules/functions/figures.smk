"""What figures are drawn from, and what stands in them."""

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
