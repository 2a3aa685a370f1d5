"""Evaluate one registration, and remove what the study does not keep of it."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.evaluation.evaluate import evaluate_unit
    from diffeode.statistics.tidy import write_tidy
    from diffeode.units.registration import RegistrationUnit

    given = snakemake.input
    units = ("registration", "pair", "fixed", "moving", "fixed_labels", "moving_labels")
    folders = [Path(given[name]).parent for name in units]
    table = Path(given.label_table[0]) if given.label_table else None
    write_tidy(snakemake.output[0], evaluate_unit(*folders, table))
    RegistrationUnit(folders[0]).reduce(snakemake.resources.keep)
