"""Write the table of the study's sweeps, and draw their curves."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.sweep import sweep_curves
    from diffeode.statistics.export import write_page, write_table
    from diffeode.statistics.reported import read_reported
    from diffeode.statistics.sweep import points_table, sweep_table
    from diffeode.statistics.tables import BOLD
    from diffeode.statistics.tables import sweep as shown_sweep
    from diffeode.statistics.tidy import read_tidy

    params, out, experiments = snakemake.params, snakemake.output, snakemake.params.experiments
    metrics, reported = read_tidy(snakemake.input.metrics), read_reported(snakemake.input.reported)
    points = points_table(params.points)
    table = sweep_table(metrics, points)
    shown = shown_sweep(table, experiments, reported)
    write_table(table, Path(out.table[0]).with_suffix(""), params.caption, BOLD, shown)
    write_page(shown, Path(out.page), params.caption, BOLD)
    sweep_curves(metrics, points, experiments, list(map(Path, out.figure)))
