"""List the registrations that failed and those that are suspect, with their reasons and logs."""

from pathlib import Path

from _job import job

with job(snakemake):
    import pandas as pd

    from diffeode.files.io import write_text
    from diffeode.provenance.receipt import read_receipt
    from diffeode.statistics.export import write_page

    receipts = [
        {**read_receipt(file), "log": log}
        for file, log in zip(snakemake.params.units, snakemake.params.logs, strict=True)
    ]

    def write(rows, reason, table, page, caption):
        frame = pd.DataFrame(rows, columns=["experiment", "pair", "run", reason, "log"])
        write_text(table, frame.to_csv(sep="\t", index=False, lineterminator="\n"))
        write_page(frame, Path(page), caption)

    out, captions = snakemake.output, snakemake.params
    failed = [receipt for receipt in receipts if receipt["status"] == "failed"]
    suspect = [receipt for receipt in receipts if receipt.get("suspect")]
    write(failed, "reason", out.failures, out.failures_page, captions.failures)
    write(suspect, "verdict", out.suspects, out.suspects_page, captions.suspects)
