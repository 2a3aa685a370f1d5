"""Write the tables of registrations through the visits of ageing persons, and draw volumes."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.longitudinal import draw_ventricles
    from diffeode.statistics.export import write_page, write_table
    from diffeode.statistics.longitudinal import (
        by_trajectory,
        by_visit,
        judged_by,
        read_visits,
        shown,
    )

    out, captions = snakemake.output, snakemake.params
    table = read_visits(snakemake.input[0])
    for means, files, page, caption in (
        (by_visit(table), out.visits, out.visits_page, f"{captions.visits} {judged_by(table)}"),
        (by_trajectory(table), out.paths, out.paths_page, captions.paths),
    ):
        words = shown(means)
        write_table(means, Path(files[0]).with_suffix(""), caption, shown=words)
        write_page(words, Path(page), caption)
    draw_ventricles(table, list(map(Path, out.figure)))
