"""These functions list every file that a study makes."""

from functools import cache


def receipts():
    """Return every receipt of the study, in the order of work."""
    virtual = [name for name, dataset in STUDY.datasets().items() if dataset.kind == "virtual"]
    return [
        *(SOURCE.format(dataset=name) for name in virtual),
        *(receipt for scan in SCANS.values() for receipt in units_of(scan)),
        *aligned_pairs(),
        *networks(),
        *registrations(),
    ]


def tables():
    """Every table of the study."""
    swept = ["sweeps"] if SWEPT else []
    crossed = [f"crossed-{word}" for word in CROSSED]
    models = ["models"] if STUDY.shown.models else []
    tests = ["wilcoxon", "wilcoxon_largest_p"] if has_labels() else []
    visits = ["longitudinal_visits", "longitudinal_paths"] if STUDY.longitudinal else []
    paged = ["experiments", "summary", *tests, *swept, *crossed, *models, *visits]
    of_labels = ["dice_by_label"] if has_labels() else []
    listed = ["failures", "suspects", "unusable_scans"]
    pages = [f"{TABLES}/{stem}.html" for stem in [*paged, *of_labels, *listed]]
    lists = [f"{TABLES}/{stem}.tsv" for stem in listed]
    stems = [*paged, "dice_by_label"]
    return [*(f"{TABLES}/{stem}{suffix}" for stem in stems for suffix in SUFFIXES), *lists, *pages]


def figures():
    """Every figure of the study."""
    of_dice = ("dice_boxplot", "dice_by_structure", "regularity", "significance")
    of_study = [f"{FIGURES}/{name}" for name in of_dice] if has_labels() else []
    of_study += [f"{FIGURES}/sweeps"] if SWEPT else []
    plane = ["plane_boundary", "plane_regularisation"] if STUDY.shown.plane else []
    of_study += [f"{FIGURES}/{name}" for name in plane]
    of_study += [f"{FIGURES}/longitudinal"] if STUDY.longitudinal else []
    of_pairs = [
        stem.format(experiment=e, pair=pair)
        for e, pair in shown_pairs()
        for stem in (CONVERGENCE, BESIDE)
    ]
    overviews = [OVERVIEW.format(experiment=name) for name in EXPERIMENTS]
    panels = [
        PANEL.format(experiment=e, pair=pair, run=run.name)
        for e, pair in shown_pairs()
        for run in STUDY.runs
    ]
    return [
        f"{stem}.{kind}"
        for stem in of_study + of_pairs + network_curves() + overviews + panels
        for kind in KINDS
    ]


def has_labels():
    """Return whether Dice is measured in the study; without it, no figure and no test shows it."""
    return any(experiment.labels for experiment in STUDY.experiments)


def plain_files():
    """Return every file of the study that is no receipt and that no receipt lists."""
    pairs = [PAIRS.format(experiment=name) for name in EXPERIMENTS]
    about = [f"{STUDIED}/{name}" for name in ("methods.md", "methods.html", "references.bib")]
    reduced = [STORAGE] if STUDY.keep != "all" else []
    numbers = [*unit_metrics(), COLLECTED, *([VISITS] if STUDY.longitudinal else [])]
    return [*pairs, *quality(), *numbers, *tables(), *figures(), *reduced, *about]


def quality():
    """Return the numbers, pictures and pages of datasets whose preparation does more than scale."""
    looked_at = [name for name, dataset in STUDY.datasets().items() if dataset.recipe.is_work]
    scans = [scan for scan in SCANS.values() if scan.dataset in looked_at]
    return [
        *(unit(pattern, scan) for pattern in (NUMBERS, PICTURE) for scan in scans),
        *(QUALITY.format(dataset=name) for name in looked_at),
    ]


def everything(wildcards):
    """Return every file of the study except the verdict and those of pairs and registrations, which
    the tables and the trainings wait for.
    """
    return [file for file in (*receipts(), *plain_files()) if file not in made_in_chunks()]


def shown_pairs():
    """Return experiment and pair of the pairs that are shown one by one."""
    return STUDY.shown_pairs()


def units_of(scan):
    """Return every receipt of a scan, in the order of work."""
    return list(steps_taken(scan).values())


def steps_taken(scan):
    """Return the receipt of each step of a scan by the name of its rule, in the order of work."""
    recipe = recipe_of(scan)
    steps = {
        "strip": (BRAIN, recipe.finds_brain),
        "correct": (CORRECTED, recipe.corrects),
        "place": (PLACED, recipe.places),
        "prepare": (PREPARED, True),
        "segment": (SEGMENTED, recipe.segments and scan.key in lenders_of_labels()),
    }
    if recipe.corrects_heads:
        steps = {"correct": steps.pop("correct"), **steps}
    return {name: unit(pattern, scan) for name, (pattern, taken) in steps.items() if taken}


@cache
def lenders_of_labels():
    """Return the keys of the scans whose labels some scan of the study is evaluated with."""
    return {label_scan(scan).key for scan in STUDY.scans().values()}
