"""Prepare one scan."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.datasets.scan import Scan
    from diffeode.prepare.scan import Recipe, prepare_scan

    words = snakemake.params.scan
    files = {key: Path(words[key]) if key in words else None for key in ("image", "labels", "landmarks")}
    others = {key: words.get(key) for key in ("dataset", "subject", "session", "modality", "group")}
    folder = Path(snakemake.output[0]).parent
    recipe = Recipe(**snakemake.params.recipe)
    prepare_scan(Scan(**others, **files), recipe, folder, threads=snakemake.threads, seed=snakemake.params.seed)
