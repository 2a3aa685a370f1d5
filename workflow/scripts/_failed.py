"""Jobs that failed: the receipt or the seal that says why, and what a job is told of the units that
it reads.

The receipt of a failed unit lists no files. The next run of the workflow makes again what failed.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import RECEIPT, failure_in, left_out_in, write_receipt
from diffeode.provenance.seals import seal
from diffeode.units.scan import ScanUnit


def first_failure(files: Iterable[Path | str]) -> str | None:
    """Return why the first failed unit among ``files`` failed, or None where none did.

    Args:
        files: receipts of units, and other files, which are passed over.
    """
    receipts = (Path(file) for file in files if Path(file).name == RECEIPT)
    reasons = (failure_in(file) for file in receipts if file.is_file())
    return next((reason for reason in reasons if reason is not None), None)


def left_out(receipt: Path | str) -> dict[str, str]:
    """Return the files that the unit of a receipt was made without, and why, by what they are;
    empty where there is no receipt.
    """
    return left_out_in(receipt) if Path(receipt).is_file() else {}


def remove_earlier(snakemake) -> None:
    """Remove what an earlier unit of a scan left beside the receipts that a job writes.

    Snakemake removes the declared outputs alone. A label map, landmarks or an affine of a scan that
    no longer has them would otherwise be taken for those of the new unit.
    """
    for file in map(Path, snakemake.output):
        if file.name == RECEIPT:
            _remove_files_of_scan(file.parent)


def _remove_files_of_scan(folder: Path) -> None:
    unit = ScanUnit(folder)
    made = (unit.image_file, unit.mask_file, unit.labels_file, unit.landmarks_file)
    for file in (*made, unit.to_scan_file):
        file.unlink(missing_ok=True)


def write_failure(snakemake, reason: str) -> None:
    """Write the outputs of a job that failed: the receipt of a failed unit, or files whose seals
    tell the failure.

    Nothing of an earlier unit stays beside its receipt. Snakemake asks for all outputs of a rule,
    so those that are no receipt are empty files, and pictures say the reason.
    """
    files = list(map(Path, snakemake.output))
    receipts = [file for file in files if file.name == RECEIPT]
    for receipt in receipts:
        _remove_files_of_scan(receipt.parent)
    for file in files:
        if file.suffix == ".png":
            from diffeode.figures import style  # it takes a second, and few jobs need it

            style.say(file, f"failed: {reason}")
        elif file not in receipts:
            file.write_bytes(b"")
    for receipt in receipts:
        about = {"step": snakemake.rule, "status": "failed", "reason": reason}
        write_receipt(receipt.parent, [], {**dict(snakemake.wildcards.items()), **about})
    for file in files if not receipts else ():
        seal(file, Path(snakemake.config["results"]), origin_of([], {}), failure=reason)
