"""List the registrations that failed, with their reasons and logs."""

from pathlib import Path

from _job import job

with job(snakemake):
    import pandas as pd

    from diffeode.io import write_text
    from diffeode.receipt import read_receipt
    from diffeode.statistics.page import write_page

    receipts = [(read_receipt(file), log) for file, log in zip(snakemake.input, snakemake.params.logs, strict=True)]
    failed = [{**receipt, "log": log} for receipt, log in receipts if receipt["status"] == "failed"]
    table = pd.DataFrame(failed, columns=["experiment", "pair", "run", "reason", "log"])
    write_text(snakemake.output.table, table.to_csv(sep="\t", index=False, lineterminator="\n"))
    write_page(table, Path(snakemake.output.page), snakemake.params.page)
