"""Units that failed: the receipt that says why, and what a job is told of the units that it reads.

The receipt of a failed unit lists no files. The next run of the workflow makes the unit again.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from diffeode.provenance.receipt import RECEIPT, failure_in, write_receipt
from diffeode.units.scan import ScanUnit


def first_failure(files: Iterable[Path | str]) -> str | None:
    """Return why the first failed unit among ``files`` failed, or None where none did.

    Args:
        files: receipts of units, and other files, which are passed over.
    """
    receipts = (Path(file) for file in files if Path(file).name == RECEIPT)
    reasons = (failure_in(file) for file in receipts if file.is_file())
    return next((reason for reason in reasons if reason is not None), None)


def write_failed_unit(snakemake, reason: str) -> None:
    """Write the receipt of the job's unit, which says that it failed.

    Nothing of an earlier unit stays beside it. Snakemake asks for all outputs of a rule, so those
    that are no receipt are empty files.
    """
    receipt, *others = map(Path, snakemake.output)
    unit = ScanUnit(receipt.parent)
    files = (unit.image_file, unit.mask_file, unit.labels_file, unit.landmarks_file)
    for file in (*files, unit.to_scan_file):
        file.unlink(missing_ok=True)
    for file in others:
        file.touch()
    about = {"step": snakemake.rule, "status": "failed", "reason": reason}
    write_receipt(receipt.parent, [], {**dict(snakemake.wildcards.items()), **about})
