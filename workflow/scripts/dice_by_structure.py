"""Draw the figure dice_by_structure."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.dice_by_structure import dice_by_structure
    from diffeode.statistics.tidy import read_tidy

    metrics = read_tidy(snakemake.input[0])
    look, chosen = snakemake.params.look, snakemake.params.chosen
    dice_by_structure(metrics, out=list(map(Path, snakemake.output)), **look, **chosen)
