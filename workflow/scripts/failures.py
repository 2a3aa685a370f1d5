"""List the registrations that failed, those that are suspect, and the scans that cannot be used or
have no usable labels, with their reasons and logs.
"""

from pathlib import Path

from _failed import first_failure, left_out
from _job import job

with job(snakemake):
    import pandas as pd

    from diffeode.files.io import write_text
    from diffeode.provenance.receipt import read_receipt
    from diffeode.provenance.seals import failure_sealed, left_out_sealed
    from diffeode.statistics.export import write_page

    out, given = snakemake.output, snakemake.params
    results = Path(snakemake.config["results"])
    count = len(given.logs)
    receipts, metrics = given.units[:count], given.units[count:]

    def registrations():
        """Yield the receipt of each registration with its log, and with why it could not be
        evaluated.
        """
        for receipt, evaluated, log in zip(receipts, metrics, given.logs, strict=True):
            content = {**read_receipt(receipt), "log": log}
            reason = failure_sealed(Path(evaluated), results)
            if content["status"] != "failed" and reason is not None:
                content |= {"status": "failed", "reason": f"It could not be evaluated: {reason}"}
            yield content

    def unknown_labels():
        """Yield the receipt of each label map that an evaluation left out, with the reason and the
        log.
        """
        for evaluated, log in zip(metrics, given.logs, strict=True):
            file = Path(evaluated)
            pair = f"{file.parts[-3]}/{file.parts[-2]}"
            for side, reason in left_out_sealed(file, results).items():
                yield given.labels[pair][side], {"reason": reason, "log": log}

    def unusable_scans():
        """Yield a row for each scan of which a step failed, with the first such step, and one for
        each file that a scan was prepared or evaluated without.
        """
        unknown = dict(unknown_labels())
        for dataset, scan, pairs, steps in given.scans:
            about = {"dataset": dataset, "scan": scan, "pairs": pairs}
            for step, receipt, log in steps:
                if (reason := first_failure([receipt])) is not None:
                    yield {**about, "step": step, "reason": reason, "log": log}
                    break
                for what, why in left_out(receipt).items():
                    yield {**about, "step": what, "reason": why, "log": log}
                if receipt in unknown:
                    yield {**about, "step": "labels", **unknown[receipt]}

    def write(rows, columns, table, page, caption):
        frame = pd.DataFrame(rows, columns=columns)
        write_text(table, frame.to_csv(sep="\t", index=False, lineterminator="\n"))
        write_page(frame, Path(page), caption)

    every = list(registrations())
    failed = [content for content in every if content["status"] == "failed"]
    suspect = [content for content in every if content.get("suspect")]
    unit = ["experiment", "pair", "run"]
    write(failed, [*unit, "reason", "log"], out.failures, out.failures_page, given.failures)
    write(suspect, [*unit, "verdict", "log"], out.suspects, out.suspects_page, given.suspects)
    scans = list(unusable_scans())
    columns = ["dataset", "scan", "step", "pairs", "reason", "log"]
    write(scans, columns, out.unusable_scans, out.unusable_scans_page, given.unusable_scans)
