"""Draw several methods side by side on one pair."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.beside import beside

    inputs, params = snakemake.input, snakemake.params
    registrations = [Path(receipt).parent for receipt in inputs.registrations]
    metrics = list(map(Path, inputs.metrics))
    for out in snakemake.output:
        beside(
            dict(zip(params.runs, registrations, strict=True)),
            Path(inputs.pair).parent,
            dict(zip(params.runs, metrics, strict=True)),
            params.titles,
            params.title,
            Path(out),
        )
