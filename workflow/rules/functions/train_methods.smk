"""What the runs that are learned are trained on."""

from diffeode.registration.registry import method_class


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
    return [
        ["/".join(scan.person) for scan in (pair.fixed, pair.moving)]
        for pair in STUDY.training.pairs
    ]


def train_code(wildcards):
    """The code of this run's method and of the training, not of any other method."""
    return code("train", method_class(STUDY.run(wildcards.run).method))
