"""Inputs and parameters of the rules that make pairs."""

from functools import cache

from diffeode.datasets.pairs import pairs_table


def pair_rows(wildcards):
    """Return the rows of the table of an experiment's pairs, its header first."""
    experiment = STUDY.experiment(wildcards.experiment)
    table = pairs_table(experiment.pairs, experiment.seed)
    return [list(table.columns), *table.values.tolist()]


# ------------------------------------------------------------------------------- what one pair is made of


def aligned_pairs():
    """Return the receipt of every pair."""
    return [PAIR.format(**unit) for unit in pair_units()]


def alignment_of(unit):
    """Return the receipt of a pair, its inputs by name and its parameters."""
    parameters = {
        "datasets": datasets_of(unit),
        "alignment": alignment(unit),
        "code": aligning_code(),
    }
    return {"file": PAIR.format(**unit), "inputs": pair_scans(unit), "parameters": parameters}


def pair_scans(unit):
    """Return the receipts of the prepared scans of a pair."""
    pair = planned_pair(unit)
    return {"fixed": prepared(pair.fixed), "moving": prepared(pair.moving)}


def datasets_of(unit):
    """Return the datasets of the fixed and the moving scan of a pair."""
    pair = planned_pair(unit)
    return {"fixed_dataset": pair.fixed.dataset, "moving_dataset": pair.moving.dataset}


def alignment(unit):
    experiment = STUDY.experiment(unit.experiment)
    return {"alignment": experiment.alignment, "grids": experiment.grids, "seed": experiment.seed}


@cache
def aligning_code():
    """Return the identity of the code that aligns a pair."""
    return code_of("_aligning")


def pair_log(unit):
    """Return the path of the log of one alignment."""
    return logs("align", *unit)


def pair_costs(unit):
    """Return the path of the file that says what one alignment cost."""
    return benchmarks("align", *unit)


def alignment_steps():
    """Return how every pair is aligned, by the path of its receipt."""
    return {
        PAIR.format(**unit): Step(
            *("alignment", unit, job_of(unit, ALIGNED), pair_log(unit), pair_costs(unit)),
            alignment_of,
        )
        for unit in pair_units()
    }


# ------------------------------------------------------------------------------ what one job is made of


def scans_of_chunk(wildcards):
    return read_by_chunk(wildcards, pair_scans)


def alignments_of_chunk(wildcards):
    """Return what a job has to know about each pair of its chunk."""
    return [
        {
            "pair": unit.pair,
            "log": pair_log(unit),
            "costs": pair_costs(unit),
            "alignment": alignment_of(unit),
        }
        for unit in units_of_chunk(wildcards)
    ]


def aligning_minutes(wildcards):
    """Return how long a job may take on a cluster: 20 minutes, and five for each pair."""
    return 20 + 5 * waiting_in_chunk(wildcards, PAIR)
