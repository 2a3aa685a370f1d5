"""Mean and standard deviation of every metric, and Dice of every structure."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.statistics.export import write_table
    from diffeode.statistics.page import write_page
    from diffeode.statistics.summary import dice_by_label, summarise
    from diffeode.statistics.tidy import read_tidy

    metrics = read_tidy(snakemake.input[0])
    summary, captions, out = summarise(metrics), snakemake.params, snakemake.output
    write_table(summary, Path(out.summary[0]).with_suffix(""), captions.summary, bold=["dice"])
    write_table(dice_by_label(metrics), Path(out.by_label[0]).with_suffix(""), captions.by_label)
    write_page(summary, Path(out.page), captions.summary)
