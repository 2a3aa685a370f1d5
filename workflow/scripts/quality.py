"""Gather what was measured and drawn of a dataset's prepared scans on one page."""

import os
from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.files.tables import read_numbers
    from diffeode.statistics.preparation import gather, write_preparation

    folder = Path(snakemake.output.page).parent
    tables = [
        read_numbers(path, texts=("scan", "modality", "failure"))
        for path in snakemake.input.numbers
    ]
    rows = [table.iloc[0].to_dict() for table in tables]
    pictures = {Path(path).stem: os.path.relpath(path, folder) for path in snakemake.input.pictures}
    write_preparation(
        gather(rows, snakemake.params.adults), pictures, folder, snakemake.params.caption
    )
