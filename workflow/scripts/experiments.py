"""Write the table of the study's experiments."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.statistics.export import write_page, write_table
    from diffeode.statistics.reported import read_reported
    from diffeode.statistics.tables import experiments

    params, out = snakemake.params, snakemake.output
    reported = read_reported(snakemake.input.reported)
    table = experiments(params.rows, params.columns, reported)
    write_table(table, Path(out.table[0]).with_suffix(""), params.caption)
    write_page(table, Path(out.page), params.caption)
