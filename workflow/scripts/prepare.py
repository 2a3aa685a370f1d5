"""Prepare one scan."""

from pathlib import Path

from _job import job
from _scan import scan_from, units_before

with job(snakemake):
    from diffeode.prepare.scan import prepare_scan

    folder = Path(snakemake.output[0]).parent
    scan, before = scan_from(snakemake.params.scan), units_before(snakemake.input)
    prepare_scan(scan, before, folder, seed=snakemake.params.seed, **snakemake.params.choices)
