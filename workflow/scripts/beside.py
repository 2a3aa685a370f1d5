"""Draw several methods side by side on one pair."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.beside import beside

    params = snakemake.params
    pair, *units = map(Path, params.units)
    registrations = [receipt.parent for receipt in units[: len(params.runs)]]
    metrics = units[len(params.runs) :]
    beside(
        dict(zip(params.runs, registrations, strict=True)),
        pair.parent,
        dict(zip(params.runs, metrics, strict=True)),
        params.titles,
        params.title,
        list(map(Path, snakemake.output)),
    )
