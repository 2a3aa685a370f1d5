"""Inputs and parameters of the rules that train networks."""

from diffeode.registration.registry import method_class


def networks(*of):
    """Return the receipts of the networks that the study trains.

    With an experiment and a run given as ``of``, return only the receipt of the network that
    registers the pairs of that experiment; the list is empty where the run needs no training.
    """
    trained = [run.name for run in STUDY.trained_runs()]
    wanted = [of] if of else [(e.name, run) for e in STUDY.experiments for run in trained]
    receipts = (
        NETWORK.format(train_on=STUDY.train_on[experiment].name, run=run)
        for experiment, run in wanted
        if run in trained
    )
    return list(dict.fromkeys(receipts))


def network_of(wildcards):
    """Return the receipt of the network whose training is drawn."""
    return NETWORK.format(**wildcards)


def network_curves():
    """Return the figures of the trainings of networks, without their suffixes."""
    return [
        NETWORK_CURVES.format(train_on=experiment.name, run=run.name)
        for experiment in STUDY.trainings
        for run in STUDY.trained_runs()
    ]


def pairs_trained_on(wildcards):
    return STUDY.experiment(wildcards.train_on).pairs


def pair_receipts(wildcards):
    """Return the receipts of the pairs of the experiment to train on."""
    pairs = pairs_trained_on(wildcards)
    return [PAIR.format(experiment=wildcards.train_on, pair=pair.id) for pair in pairs]


def network_inputs(wildcards):
    """Return the labels of both sides of every pair of the experiment to train on."""
    pairs = pairs_trained_on(wildcards)
    return {
        "fixed_labels": [labels_of(pair.fixed) for pair in pairs],
        "moving_labels": [labels_of(pair.moving) for pair in pairs],
    }


def trained_persons(wildcards):
    """Return the fixed and the moving person of each pair."""
    return [
        ["/".join(scan.person) for scan in (pair.fixed, pair.moving)]
        for pair in pairs_trained_on(wildcards)
    ]


def train_code(wildcards):
    """Return the identity of the code of the run's method and of the training."""
    return code_of("train", method_class(STUDY.run(wildcards.run).method))


def curves_title(wildcards):
    experiment = STUDY.experiment(wildcards.train_on)
    title = STUDY.run(wildcards.run).title
    return f"{title}, trained on {experiment.title} ({experiment.population})"
