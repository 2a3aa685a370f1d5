"""List the registrations that failed, with their reasons and logs."""

from _job import job

with job(snakemake):
    from diffeode.io import write_text
    from diffeode.receipt import read_receipt

    rows = [["experiment", "pair", "run", "reason", "log"]]
    for file, log in zip(snakemake.input, snakemake.params.logs, strict=True):
        receipt = read_receipt(file)
        if receipt["status"] == "failed":
            rows.append([receipt["experiment"], receipt["pair"], receipt["run"], receipt["reason"], log])
    write_text(snakemake.output[0], "".join("\t".join(row) + "\n" for row in rows))
