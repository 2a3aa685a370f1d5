"""Draw the fixed scans of one experiment."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.coronal_overview import coronal_overview
    from diffeode.receipt import require_intact

    for receipt in snakemake.input:
        require_intact(receipt)
    images = [Path(receipt).with_name("image.nii.gz") for receipt in snakemake.input]
    shown = dict(zip(snakemake.params.names, images, strict=True))
    coronal_overview(shown, Path(snakemake.output[0]), snakemake.params.caption)
