"""One-sided Wilcoxon signed-rank tests between runs, per experiment and over experiments."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.statistics.export import write_page, write_table
    from diffeode.statistics.tables import comparisons, largest
    from diffeode.statistics.tidy import mean_dice, read_tidy
    from diffeode.statistics.wilcoxon import compare_runs, upper_bound

    captions, out, look = snakemake.params, snakemake.output, snakemake.params.look
    tests = compare_runs(mean_dice(read_tidy(snakemake.input[0])))
    shown = comparisons(tests, **look)
    write_table(tests, Path(out.each[0]).with_suffix(""), captions.each, shown=shown)
    write_page(shown, Path(out.page), captions.each)
    bound = upper_bound(tests)
    shown = largest(bound, look["titles"], look["ours"])
    write_table(bound, Path(out.largest[0]).with_suffix(""), captions.largest, shown=shown)
    write_page(shown, Path(out.largest_page), captions.largest)
