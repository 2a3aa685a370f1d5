"""Draw the fixed scans of one experiment."""

from pathlib import Path

from _failed import first_failure
from _job import job

with job(snakemake):
    from diffeode.figures import style
    from diffeode.figures.coronal_overview import coronal_overview
    from diffeode.units.scan import ScanUnit

    out, caption = list(map(Path, snakemake.output)), snakemake.params.caption
    units = dict(zip(snakemake.params.names, map(Path, snakemake.input), strict=True))
    usable = {
        name: ScanUnit(file.parent) for name, file in units.items() if not first_failure([file])
    }
    for unit in usable.values():
        unit.require_intact()
    missing = len(units) - len(usable)
    if missing:
        caption += f" Scans that could not be prepared and are not shown: {missing}."
    if usable:
        coronal_overview({name: unit.image_file for name, unit in usable.items()}, out, caption)
    else:
        style.say(out, f"{caption}\nThere is nothing to show.")
