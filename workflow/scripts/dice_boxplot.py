"""Draw the figure dice_boxplot."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.dice_boxplot import dice_boxplot
    from diffeode.statistics.tidy import read_tidy

    metrics = read_tidy(snakemake.input[0])
    dice_boxplot(metrics, out=list(map(Path, snakemake.output)), **snakemake.params.look)
