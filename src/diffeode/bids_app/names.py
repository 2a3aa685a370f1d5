"""The names of results by BIDS: of spaces, runs and files (BEP014 for transforms)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from diffeode.datasets.scan import Scan, person_prefix
from diffeode.errors import InputError
from diffeode.registration.runs import Run


def desc_of(run: str) -> str:
    """Return the label by which names of files tell a run; BIDS allows letters and digits only.

    >>> desc_of("node-mind")
    'nodeMind'
    """
    first, *others = (part for part in re.split(r"[^A-Za-z0-9]+", run) if part)
    return first + "".join(part[0].upper() + part[1:] for part in others)


def require_distinct_descs(runs: Iterable[Run]) -> None:
    """Raise :class:`InputError` where the results of two runs would have one name."""
    seen: dict[str, str] = {}
    for run in runs:
        other = seen.setdefault(desc_of(run.name), run.name)
        if other != run.name:
            raise InputError(
                f"The results of runs {other} and {run.name} would have one name by BIDS "
                f"(desc-{desc_of(run.name)}); leave one out."
            )


def space_of_scan(scan: Scan, seen_from: Scan) -> str:
    """Return the label of the space of ``scan`` in names of files that belong to ``seen_from``.

    It is the contrast alone where both are of one visit, and tells session or person, too, where
    these differ.
    """
    if scan.person != seen_from.person:
        session = f"ses{scan.session}" if scan.session else ""
        return f"sub{scan.subject}{session}{scan.modality}"
    if scan.session != seen_from.session:
        return f"ses{scan.session}{scan.modality}"
    return scan.modality


def anat_folder(out: Path, scan: Scan) -> Path:
    """Return the folder of the results that belong to the visit of ``scan``."""
    return out.joinpath(*person_prefix(scan.subject, scan.session).split("_"), "anat")


def transform_name(scan: Scan, source: str, target: str, run: str) -> str:
    """Return the stem of the name of a map that resamples images of space ``source`` to space
    ``target``.
    """
    person = person_prefix(scan.subject, scan.session)
    return f"{person}_from-{source}_to-{target}_mode-image_desc-{desc_of(run)}_xfm"


def warped_name(scan: Scan, space: str, run: str) -> str:
    """Return the stem of the name of ``scan`` resampled to ``space``."""
    person = person_prefix(scan.subject, scan.session)
    return f"{person}_space-{space}_desc-{desc_of(run)}_{scan.modality}"
