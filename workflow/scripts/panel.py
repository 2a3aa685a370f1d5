"""Draw one registered pair."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.pair_panel import pair_panel

    inputs = snakemake.input
    registration, pair = (Path(receipt).parent for receipt in (inputs.registration, inputs.pair))
    out, metrics = Path(snakemake.output[0]), Path(inputs.metrics)
    pair_panel(registration, pair, snakemake.params.title, out, metrics)
