"""One-sided Wilcoxon signed-rank tests between runs, per experiment and over experiments."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.statistics.export import write_table
    from diffeode.statistics.page import write_page
    from diffeode.statistics.tidy import mean_dice, read_tidy
    from diffeode.statistics.wilcoxon import compare_runs, upper_bound

    tests, captions, out = (
        compare_runs(mean_dice(read_tidy(snakemake.input[0]))),
        snakemake.params,
        snakemake.output,
    )
    write_table(tests, Path(out.each[0]).with_suffix(""), captions.each)
    write_table(upper_bound(tests), Path(out.largest[0]).with_suffix(""), captions.largest)
    write_page(tests, Path(out.page), captions.each)
