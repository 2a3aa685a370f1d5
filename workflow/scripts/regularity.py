"""Draw the figure regularity."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.regularity import regularity
    from diffeode.statistics.tidy import read_tidy

    metrics = read_tidy(snakemake.input[0])
    regularity(metrics, out=list(map(Path, snakemake.output)), **snakemake.params.look)
