"""What figures are drawn from, and what stands in them."""

CHOSEN = {"runs": list(STUDY.shown.runs), "structures": list(STUDY.shown.structures)}


def registration_and_pair(wildcards):
    patterns = {"registration": REGISTRATION, "pair": PAIR, "metrics": METRICS}
    return {name: pattern.format(**wildcards) for name, pattern in patterns.items()}


def registrations_of_pair(wildcards):
    return [REGISTRATION.format(**wildcards, run=run.name) for run in STUDY.runs]


def registrations_beside(wildcards):
    """The registrations of one pair that are shown side by side, and the pair."""
    return {
        "pair": PAIR.format(**wildcards),
        "registrations": [REGISTRATION.format(**wildcards, run=run) for run in runs_beside()],
        "metrics": [METRICS.format(**wildcards, run=run) for run in runs_beside()],
    }


def runs_beside():
    """The runs that are shown side by side: those that the study chooses, or all."""
    return CHOSEN["runs"] or [run.name for run in STUDY.runs]


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
