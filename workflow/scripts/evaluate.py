"""Evaluate one registration."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.evaluation.evaluate import evaluate_unit
    from diffeode.statistics.tidy import write_tidy

    given = snakemake.input
    folders = (Path(receipt).parent for receipt in (given.registration, given.pair, given.fixed, given.moving))
    table = Path(given.labels[0]) if given.labels else None
    write_tidy(snakemake.output[0], evaluate_unit(*folders, table))
