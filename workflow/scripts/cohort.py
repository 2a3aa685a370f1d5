"""Make a virtual cohort."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.datasets.virtual import make_cohort

    make_cohort(
        Path(snakemake.output[0]).parent,
        **snakemake.params.cohort,
        processes=snakemake.threads,
    )
