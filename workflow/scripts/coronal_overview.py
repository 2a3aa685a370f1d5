"""Draw the fixed scans of one experiment."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.coronal_overview import coronal_overview
    from diffeode.units.scan import ScanUnit

    units = [ScanUnit(Path(receipt).parent) for receipt in snakemake.input]
    for unit in units:
        unit.require_intact()
    images = [unit.image_file for unit in units]
    shown = dict(zip(snakemake.params.names, images, strict=True))
    coronal_overview(shown, Path(snakemake.output[0]), snakemake.params.caption)
