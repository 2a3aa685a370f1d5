"""Register one pair with one run."""

import shutil
from pathlib import Path

from _job import job

with job(snakemake) as say:
    from diffeode.provenance.receipt import read_receipt
    from diffeode.registration.base import Machine
    from diffeode.registration.harness import read_task, register_to_folder
    from diffeode.registration.registry import programs_of
    from diffeode.registration.runs import Run, with_weights

    pair, moving_scan = (
        Path(receipt).parent for receipt in (snakemake.input.pair, snakemake.input.moving_scan)
    )
    folder = Path(snakemake.output[0]).parent
    machine = Machine(
        threads=snakemake.threads,
        seed=snakemake.params.seed,
        device="cuda" if snakemake.resources.get("gpu", 0) else "cpu",
        progress=lambda fraction, message: print(f"{100 * fraction:3.0f} % {message}", flush=True),
    )
    run = Run(snakemake.wildcards.run, title=snakemake.wildcards.run, **snakemake.params.run)
    for receipt in snakemake.input.get("network", []):
        run = with_weights(run, Path(receipt).parent)
    # nothing of an earlier registration may lie beside the receipt of one that fails
    shutil.rmtree(folder, ignore_errors=True)
    task = read_task(pair, moving_scan)
    provenance = {
        **dict(snakemake.wildcards.items()),
        **snakemake.params.datasets,
        "programs": programs_of(run.method),
    }
    limit = snakemake.resources.time_limit_seconds / 60 or None
    storing = {"keep": snakemake.resources.keep, "fields": snakemake.params.fields}
    succeeded = register_to_folder(run, task, machine, folder, provenance, limit, **storing)
    receipt = read_receipt(snakemake.output[0])
    if not succeeded:
        say(f"failed and is shown as missing: {receipt['reason']}")
    elif receipt["suspect"]:
        say(receipt["verdict"])
