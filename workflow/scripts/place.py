"""Place one scan in the space of a template."""

from pathlib import Path

from _job import job
from _scan import scan_from, units_before

with job(snakemake):
    from diffeode.prepare.place import place

    folder = Path(snakemake.output[0]).parent
    scan, before = scan_from(snakemake.params.scan), units_before(snakemake.input)
    words = snakemake.params.t1w
    t1w = (scan_from(words), units_before(snakemake.input, "t1w_")) if words else None
    template, seed = snakemake.params.choices["template"], snakemake.params.seed
    place(scan, template, before, t1w, folder, threads=snakemake.threads, seed=seed)
