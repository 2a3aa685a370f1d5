"""Label one prepared scan."""

from pathlib import Path

from _job import job
from _scan import scan_from

with job(snakemake):
    from diffeode.prepare.segment import segment

    scan, choice = scan_from(snakemake.params.scan), snakemake.params.choices["labels"]
    prepared, folder = Path(snakemake.input.prepared).parent, Path(snakemake.output[0]).parent
    segment(scan, choice, prepared, folder, threads=snakemake.threads)
