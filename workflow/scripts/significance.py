"""Draw the matrix of Wilcoxon tests."""

from pathlib import Path

from _job import job

with job(snakemake):
    import pandas as pd

    from diffeode.figures.significance import significance_matrix

    tests = pd.read_csv(snakemake.input[0], sep="\t")
    look = snakemake.params.look
    for out in snakemake.output:
        significance_matrix(tests, look["titles"], Path(out), look["ours"])
