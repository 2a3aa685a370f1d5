"""One-sided Wilcoxon signed-rank tests between runs, per experiment and over experiments."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.statistics.export import write_table
    from diffeode.statistics.tidy import mean_dice, read_tidy
    from diffeode.statistics.wilcoxon import compare_runs, upper_bound

    tests = compare_runs(mean_dice(read_tidy(snakemake.input[0])))
    write_table(tests, Path(snakemake.output.each).with_suffix(""), snakemake.params.each)
    write_table(upper_bound(tests), Path(snakemake.output.largest[0]).with_suffix(""), snakemake.params.largest)
