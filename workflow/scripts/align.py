"""Align one pair of prepared scans."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.prepare.pair import write_aligned_pair

    fixed, moving = (Path(receipt).parent for receipt in snakemake.input)
    write_aligned_pair(
        fixed,
        moving,
        Path(snakemake.output[0]).parent,
        threads=snakemake.threads,
        provenance={**dict(snakemake.wildcards.items()), **snakemake.params.datasets},
        **snakemake.params.alignment,
    )
