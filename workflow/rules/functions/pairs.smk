"""Inputs and parameters of the rules that make pairs."""

from diffeode.datasets.pairs import pairs_table


def pair_rows(wildcards):
    """Return the rows of the table of an experiment's pairs, its header first."""
    experiment = STUDY.experiment(wildcards.experiment)
    table = pairs_table(experiment.pairs, experiment.seed)
    return [list(table.columns), *table.values.tolist()]


def pair_scans(wildcards):
    pair = planned_pair(wildcards)
    return [prepared(pair.fixed), prepared(pair.moving)]


def datasets_of(wildcards):
    """Return the datasets of the fixed and the moving scan of a pair."""
    pair = planned_pair(wildcards)
    return {"fixed_dataset": pair.fixed.dataset, "moving_dataset": pair.moving.dataset}


def alignment(wildcards):
    experiment = STUDY.experiment(wildcards.experiment)
    return {"alignment": experiment.alignment, "grids": experiment.grids, "seed": experiment.seed}
