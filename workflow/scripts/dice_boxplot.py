"""Draw the figure dice_boxplot."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.dice_boxplot import dice_boxplot
    from diffeode.statistics.tidy import read_tidy

    metrics = read_tidy(snakemake.input[0])
    for out in snakemake.output:
        dice_boxplot(metrics, out=Path(out), **snakemake.params.look)
