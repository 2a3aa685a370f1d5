"""Mean and standard deviation of every metric, and Dice of every structure."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.statistics.export import write_page, write_table
    from diffeode.statistics.reported import read_reported
    from diffeode.statistics.summary import absent_labels, dice_by_label, summarise
    from diffeode.statistics.tables import BOLD, main_results, structures
    from diffeode.statistics.tidy import read_tidy

    metrics, reported = read_tidy(snakemake.input.metrics), read_reported(snakemake.input.reported)
    captions, out = snakemake.params, snakemake.output
    titles, experiments = captions.look["titles"], captions.look["experiments"]

    summary, by_label = summarise(metrics), dice_by_label(metrics)
    shown = main_results(summary, titles, experiments, reported)
    stem = Path(out.summary[0]).with_suffix("")
    write_table(summary, stem, captions.summary, BOLD, shown)
    write_page(shown, Path(out.page), captions.summary, BOLD)
    stem = Path(out.by_label[0]).with_suffix("")
    shown = structures(by_label, absent_labels(metrics), titles, experiments, captions.chosen)
    write_table(by_label, stem, captions.by_label, shown=shown)
    for page in out.by_label_page:
        write_page(shown, Path(page), captions.by_label)
