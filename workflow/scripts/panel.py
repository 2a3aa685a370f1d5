"""Draw one registered pair."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.pair_panel import pair_panel

    pair, receipt, metrics = map(Path, snakemake.params.units)
    out = list(map(Path, snakemake.output))
    pair_panel(receipt.parent, pair.parent, snakemake.params.title, out, metrics)
