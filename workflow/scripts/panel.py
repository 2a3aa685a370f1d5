"""Draw one registered pair."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.pair_panel import pair_panel

    receipt, metrics = map(Path, snakemake.params.units)
    pair, out = Path(snakemake.input.pair).parent, Path(snakemake.output[0])
    pair_panel(receipt.parent, pair, snakemake.params.title, out, metrics)
