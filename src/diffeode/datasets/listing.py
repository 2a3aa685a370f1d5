"""List the scans of a dataset by the adapter of its kind."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffeode.datasets.bids import list_scans
from diffeode.datasets.demographics import WITHIN_DAYS, Columns, Demographics, read_demographics
from diffeode.datasets.folder import list_folder
from diffeode.datasets.ixi import list_ixi
from diffeode.datasets.listed import read_list
from diffeode.datasets.oasis3 import list_oasis3
from diffeode.datasets.scan import Scan


def list_dataset(
    name: str,
    kind: str,
    root: Path,
    modalities: Sequence[str],
    layout: Mapping[str, Any],
    label_maps: bool = True,
) -> list[Scan]:
    """Return every scan of ``modalities``, sorted by name.

    Args:
        kind: ``bids``, ``oasis3``, ``ixi``, ``folder`` or ``listed``.
        layout: the keys ``scans``, ``label_maps``, ``demographics`` and ``table`` of the dataset's
            file, as far as it has them.
        label_maps: whether label maps are wanted.

    Raises:
        InputError: as the adapter of that kind raises it.
    """
    demographics = dict(layout.get("demographics", {}))
    table = root / demographics.pop("table") if demographics else None
    within_days = demographics.pop("within_days", WITHIN_DAYS)
    if kind == "oasis3":
        return list_oasis3(name, root, modalities, table, within_days)
    if kind == "ixi":
        return list_ixi(name, root, modalities, table)
    if kind == "listed":
        return read_list(name, root, root / layout["table"], modalities, label_maps)
    if kind == "folder":
        known = (
            read_demographics(table, Columns(**demographics), within_days)
            if table
            else Demographics()
        )
        maps = layout.get("label_maps") if label_maps else None
        return list_folder(name, root, layout["scans"], modalities, maps, known)
    return list_scans(name, root, modalities, label_maps)
