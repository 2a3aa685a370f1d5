"""Draw the energy of every run on one pair."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.convergence import convergence
    from diffeode.receipt import require_intact

    done = [receipt for receipt in map(Path, snakemake.input) if require_intact(receipt)["status"] == "done"]
    traces = {receipt.parent.name: receipt.parent / "trace.tsv" for receipt in done}
    look = snakemake.params.look
    for out in snakemake.output:
        convergence(traces, look["titles"], snakemake.params.title, Path(out), look["ours"])
