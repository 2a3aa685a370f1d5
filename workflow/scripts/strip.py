"""Find the brain of one head."""

from pathlib import Path

from _job import job
from _scan import scan_from, units_before

with job(snakemake):
    from diffeode.prepare.strip import strip

    folder = Path(snakemake.output[0]).parent
    scan, choice = scan_from(snakemake.params.scan), snakemake.params.choices["brain"]
    strip(scan, choice, units_before(snakemake.input), folder, threads=snakemake.threads)
