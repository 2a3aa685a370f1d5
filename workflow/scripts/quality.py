"""Gather what was measured and drawn of a dataset's prepared scans on one page."""

import os
from pathlib import Path

from _job import job

with job(snakemake):
    import pandas as pd

    from diffeode.statistics.preparation import gather, write_preparation

    folder = Path(snakemake.output.page).parent
    rows = [pd.read_csv(path, sep="\t").iloc[0].to_dict() for path in snakemake.input.numbers]
    pictures = {Path(path).stem: os.path.relpath(path, folder) for path in snakemake.input.pictures}
    write_preparation(
        gather(rows, snakemake.params.adults), pictures, folder, snakemake.params.caption
    )
