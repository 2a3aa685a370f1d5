"""Which files of registrations the study keeps, and which jobs read them."""

from functools import cache

from diffeode.units.registration import (
    READ_BY_CURVES,
    READ_BY_EVALUATION,
    READ_BY_PANELS,
    must_hold,
)


@cache
def held():
    """Return the names of the files that each registration has to hold, by its receipt."""
    return {REGISTRATION.format(**unit): must_hold(STUDY.keep) for unit in run_units()}


@cache
def files_read():
    """Return, by each file that is made from files of registrations, these files' names by the
    receipt of their registration.

    It is empty where the study keeps everything.
    """
    if STUDY.keep == "all":
        return {}
    found = {
        METRICS.format(**unit): {REGISTRATION.format(**unit): READ_BY_EVALUATION}
        for unit in run_units()
    }
    for experiment, pair in shown_pairs():
        names = {"experiment": experiment, "pair": pair}
        receipts = {run.name: REGISTRATION.format(**names, run=run.name) for run in STUDY.runs}
        beside = {receipts[run]: READ_BY_PANELS for run in runs_beside()}
        curves = dict.fromkeys(receipts.values(), READ_BY_CURVES)
        for kind in KINDS:
            for run, receipt in receipts.items():
                found[f"{PANEL.format(**names, run=run)}.{kind}"] = {receipt: READ_BY_PANELS}
            found[f"{BESIDE.format(**names)}.{kind}"] = beside
            found[f"{CONVERGENCE.format(**names)}.{kind}"] = curves
    return found


def readers_of_registrations(wildcards):
    """The table of all metrics, and the figures that are drawn from files of registrations."""
    metrics = set(unit_metrics())
    return [COLLECTED, *(file for file in files_read() if file not in metrics)]
