"""Write down the pairs of one experiment."""

from _job import job

with job(snakemake):
    from diffeode.files.io import write_text

    write_text(
        snakemake.output[0], "".join("\t".join(row) + "\n" for row in snakemake.params.pairs)
    )
