"""Write the table of two settings that one sweep varies, one down and one across."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.statistics.export import write_page, write_table
    from diffeode.statistics.reported import read_reported
    from diffeode.statistics.sweep import points_table, sources_of, sweep_table
    from diffeode.statistics.tables import crossed
    from diffeode.statistics.tidy import read_tidy

    params, out = snakemake.params, snakemake.output
    metrics, reported = read_tidy(snakemake.input.metrics), read_reported(snakemake.input.reported)
    table = sweep_table(metrics, points_table(params.points))
    shown = crossed(table, *params.settings, params.experiments, reported)
    caption = params.caption
    if any(name.startswith("reported") for name in shown):
        caption += f" Columns called reported: {sources_of(reported, params.settings)}."
    write_table(table, Path(out.table[0]).with_suffix(""), caption, shown=shown)
    write_page(shown, Path(out.page), caption)
