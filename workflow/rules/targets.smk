"""Every file that a study makes."""


def receipts():
    """Every receipt of the study, in the order of work."""
    virtual = [name for name, dataset in STUDY.datasets().items() if dataset.kind == "virtual"]
    return [
        *(SOURCE.format(dataset=name) for name in virtual),
        *(receipt for scan in SCANS.values() for receipt in units_of(scan)),
        *(PAIR.format(experiment=e, pair=pair) for e, pair in PLANNED),
        *networks(),
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
    of_study = [
        f"{FIGURES}/{name}"
        for name in ("dice_boxplot", "dice_by_structure", "regularity", "significance")
    ]
    of_pairs = [CONVERGENCE.format(experiment=e, pair=pair) for e, pair in shown_pairs()]
    return [
        *(
            f"{stem}.{kind}"
            for stem in of_study + of_pairs + network_curves()
            for kind in ("svg", "png")
        ),
        *(OVERVIEW.format(experiment=name) for name in EXPERIMENTS),
        *(
            PANEL.format(experiment=e, pair=pair, run=run.name)
            for e, pair in shown_pairs()
            for run in STUDY.runs
        ),
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


def units_of(scan):
    """Every receipt of a scan, in the order of work."""
    recipe = recipe_of(scan)
    lends = scan.id in {
        label_scan(other).id for other in STUDY.scans().values() if other.dataset == scan.dataset
    }
    steps = {
        BRAIN: recipe.finds_brain,
        CORRECTED: recipe.corrects,
        PLACED: recipe.places,
        PREPARED: True,
        SEGMENTED: recipe.segments and lends,
    }
    return [unit(pattern, scan) for pattern, taken in steps.items() if taken]
