"""Draw one registered pair."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.pair_panel import pair_panel

    registration, pair = (Path(receipt).parent for receipt in snakemake.input)
    pair_panel(registration, pair, snakemake.params.title, Path(snakemake.output[0]))
