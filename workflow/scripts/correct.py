"""Correct the intensities of one scan."""

from pathlib import Path

from _job import job
from _scan import scan_from, units_before

with job(snakemake):
    from diffeode.prepare.correct import correct

    folder = Path(snakemake.output[0]).parent
    scan, before = scan_from(snakemake.params.scan), units_before(snakemake.input)
    correct(
        scan, before=before, folder=folder, threads=snakemake.threads, **snakemake.params.choices
    )
