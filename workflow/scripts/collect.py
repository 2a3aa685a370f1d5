"""Collect the metrics of every unit in one tidy table."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.statistics.tidy import collect, write_tidy

    write_tidy(snakemake.output[0], collect(map(Path, snakemake.params.units)))
