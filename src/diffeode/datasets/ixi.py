"""Scans of IXI as its tar files unpack, ``IXI012-HH-1211-T1.nii.gz``, flat or in folders such as
``IXI-T1``, and ``IXI.xls`` beside them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from diffeode.datasets.demographics import (
    GROUPS,
    Columns,
    Demographics,
    demographics_of,
)
from diffeode.datasets.scan import Scan, require_distinct, require_folder
from diffeode.errors import InputError
from diffeode.files.presence import lies_at, without_hidden
from diffeode.files.tables import SUFFIXES, read_words, require_columns
from diffeode.names import nearest, short

CONTRASTS = {"T1w": "T1", "T2w": "T2", "PDw": "PD"}
"""IXI's names of the modalities."""

SCAN_NAME = re.compile(r"(?P<subject>IXI\d{3})-[A-Za-z]+-\d+-(?:T1|T2|PD)\.nii(?:\.gz)?")
"""The file name of a scan."""

_COLUMNS = Columns("IXI_ID", age="AGE", sex="SEX_ID (1=m, 2=f)")


def list_ixi(
    dataset: str, root: Path, modalities: Sequence[str] = ("T1w", "T2w"), table: Path | None = None
) -> list[Scan]:
    """Return every scan of ``modalities`` in ``root`` or one folder below, sorted by name.

    All persons of IXI are healthy. Age and sex come from the demographics. In the original table a
    few persons are missing, and some have two rows, which complete each other.

    Args:
        table: the demographics; by default ``IXI.xls`` (or ``.xlsx``, ``.csv``, ``.tsv``) in
            ``root``, if there is one.

    Raises:
        InputError: there is no such folder, modality or scan, or a person was scanned twice; or the
            table cannot be read or lacks a column.
    """
    root = Path(root)
    require_folder(dataset, root)
    demographics = _read_table(table or _table(root))
    scans = [
        _scan(dataset, path, match["subject"], modality, demographics)
        for modality in modalities
        for path in _files(root, modality)
        if (match := SCAN_NAME.fullmatch(path.name))
    ]
    if not scans:
        wanted = "|".join(CONTRASTS[modality] for modality in modalities)
        raise InputError(
            f"Dataset {dataset} has no scan IXI012-HH-1211-({wanted}).nii.gz in {root} or a folder "
            "below; fetch the scans ('make ixi'), or correct the root of the dataset."
        )
    require_distinct(scans)
    return sorted(scans, key=lambda scan: scan.id)


def _files(root: Path, modality: str) -> list[Path]:
    if modality not in CONTRASTS:
        raise InputError(f"IXI has no modality {short(modality)}{nearest(modality, CONTRASTS)}.")
    ending = f"IXI*-{CONTRASTS[modality]}.nii*"
    return without_hidden([*root.glob(ending), *root.glob(f"*/{ending}")])


def _scan(
    dataset: str, path: Path, subject: str, modality: str, demographics: Demographics
) -> Scan:
    person = demographics.of(subject)
    return Scan(
        dataset=dataset,
        subject=subject,
        session=None,
        modality=modality,
        image=path,
        labels=None,
        landmarks=None,
        group=GROUPS[0.0],
        age=person.age,
        sex=person.sex,
    )


def _table(root: Path) -> Path | None:
    return next((path for suffix in SUFFIXES if lies_at(path := root / f"IXI{suffix}")), None)


def _read_table(path: Path | None) -> Demographics:
    if path is None:
        return Demographics()
    table = read_words(path)
    require_columns(table, _COLUMNS.named(), path)
    numbers = table[_COLUMNS.subject].str.extract(r"(\d+)")[0]
    names = ("IXI" + numbers.str.zfill(3)).fillna("")
    table = table.assign(**{_COLUMNS.subject: names})
    return demographics_of(table, _COLUMNS, path)
