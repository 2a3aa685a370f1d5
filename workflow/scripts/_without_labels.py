"""Prepares a scan without its label map or its landmarks where these cannot be used. They serve
metrics alone, so they cost no registration.

:mod:`_job` calls this where the script of the rule has failed. So scans that are in order are read
once, and their preparation depends on none of this.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from _failed import remove_earlier
from _scan import scan_from, units_before

from diffeode.errors import InputError, reason_of
from diffeode.files.landmarks import read_landmarks
from diffeode.prepare.scan import prepare_scan, read_scan_labels
from diffeode.provenance.receipt import RECEIPT, note_left_out

_CALLED = {"labels": "label map", "landmarks": "landmarks"}


def prepare_without(snakemake) -> dict[str, str]:
    """Prepare the scan of a job of rule ``prepare`` without those files that cannot be used, and
    return why, by what they are; empty where all can be used, and nothing was done.

    Raises:
        InputError: the scan itself cannot be used.
    """
    scan, before = scan_from(snakemake.params.scan), units_before(snakemake.input)
    left_out = dict(_faults(scan, before))
    if left_out:
        remove_earlier(snakemake)
        rest = replace(scan, **dict.fromkeys(left_out))
        folder = Path(snakemake.output[0]).parent
        prepare_scan(rest, before, folder, seed=snakemake.params.seed, **snakemake.params.choices)
        note_left_out(folder / RECEIPT, left_out)
    return left_out


def sentence_about(left_out: Mapping[str, str]) -> str:
    """Return what the console says of a scan that was prepared without these files."""
    what = " and ".join(f"its {_CALLED[name]}" for name in left_out)
    return f"prepared without {what}, so metrics are missing: {' '.join(left_out.values())}"


def _faults(scan, before) -> Iterator[tuple[str, str]]:
    """Yield what the unusable files are, and why."""
    grid = before.image(scan).grid
    try:
        if scan.labels:
            read_scan_labels(scan.labels, grid, scan.image, scan.orientation)
    except InputError as error:
        yield "labels", reason_of(error)
    try:
        if scan.landmarks:
            read_landmarks(scan.landmarks)
    except InputError as error:
        yield "landmarks", reason_of(error)
