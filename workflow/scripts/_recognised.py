"""Refuses a label map in place of a scan. :mod:`_job` asks this before the first step that reads a
scan, so that the identity of no step of preparation depends on it.
"""

from __future__ import annotations

from _scan import scan_from

from diffeode.files import io
from diffeode.prepare.recognised import IN_A_STUDY, require_scan

_EARLIER = ("corrected", "brain", "placed")
"""Names of the inputs that an earlier step of the same scan has made."""


def require_scan_of(snakemake) -> None:
    """Raise :class:`InputError` where a job's scan looks like a label map or a mask.

    Nothing is looked at where an earlier step has read the scan.
    """
    if any(snakemake.input.get(step) for step in _EARLIER):
        return
    scan = scan_from(snakemake.params.scan)
    require_scan(io.read_image(scan.image, scan.orientation).data, str(scan.image), IN_A_STUDY)
