"""Draw the matrix of Wilcoxon tests."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.significance import significance_matrix
    from diffeode.files.tables import read_numbers

    tests = read_numbers(snakemake.input[0], "table of tests", ("experiment", "run", "other"))
    look, outs = snakemake.params.look, list(map(Path, snakemake.output))
    significance_matrix(tests, look["titles"], outs, look["ours"])
