"""OASIS-3 as downloaded:
``OAS30001_MR_d0129/anat2/[NIFTI/]sub-OAS30001_ses-d0129[_run-01]_T1w.nii.gz``.

Also read: what XNAT's own download gives (``.../scans/anat2-T1w/resources/NIFTI/files/``) and the
BIDS folders of ``download_oasis_scans_bids.sh``. Source of the layouts and tables:
NrgXnat/oasis-scripts and the OASIS-3 dictionaries.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from diffeode.datasets.demographics import (
    WITHIN_DAYS,
    Columns,
    Demographics,
    demographics_of,
)
from diffeode.datasets.scan import Scan, first_run, person_prefix, require_distinct, require_folder
from diffeode.errors import InputError
from diffeode.files.presence import lies_at, without_hidden
from diffeode.files.tables import read_words, require_columns

_SESSION = re.compile(r"(?P<subject>OAS3\d{4})_MR_(?P<session>d\d+)")
_BIDS_SESSION = re.compile(r"sub-(?P<subject>OAS3\d{4})/ses-(?P<session>d\d+)")
_PLACES = ("anat*", "anat*/NIFTI", "scans/anat*/resources/NIFTI/files")
_DAYS_PER_YEAR = 365.25

_PERSONS_TABLE = "OASIS3_demographics.csv"
_AGE, _SEX = "age at visit", "GENDER"
_NEW = Columns("OASISID", day="days_to_visit", age=_AGE, cdr="CDRTOT")
_OLD = Columns("Subject", day="ADRC_ADRCCLINICALDATA ID", age="ageAtEntry", cdr="cdr")


def list_oasis3(
    dataset: str,
    root: Path,
    modalities: Sequence[str] = ("T1w", "T2w"),
    table: Path | None = None,
    within_days: int = WITHIN_DAYS,
) -> list[Scan]:
    """Every scan of ``modalities`` under ``root``, sorted by name; a session's day is its name
    (``d0129``).

    Where a session has several of a modality, the one with the plainest name is taken (``T2w``
    before ``acq-TSE_T2w``), and of several runs the first. Group, age and CDR are those of the
    visit nearest to the session; a scan without one within ``within_days`` has none.

    Args:
        table: the clinical table, ``OASIS3_UDSb4_cdr.csv`` or the older export with
            ``ADRC_ADRCCLINICALDATA ID``; None looks for one in ``root`` and in the folders
            ``*data_files`` under it.

    Raises:
        InputError: no such folder, session, scan or clinical table, several such tables, a table
            that cannot be read or lacks a column, a session or scan that is there twice, or a file
            in another session's folder.
    """
    root = Path(root)
    require_folder(dataset, root)
    demographics = _read_clinical(table or clinical_table(dataset, root), within_days)
    scans = [
        _scan(dataset, folder, subject, session, modality, files, demographics)
        for folder, subject, session in _sessions(root)
        for modality in modalities
        if (files := _files(folder, modality))
    ]
    if not scans:
        raise InputError(
            f"Dataset {dataset} has no scan "
            f"OAS30001_MR_d0129/anat2/*_({'|'.join(modalities)}).nii.gz under {root}."
        )
    require_distinct(scans)
    return sorted(scans, key=lambda scan: scan.id)


def _sessions(root: Path) -> list[tuple[Path, str, str]]:
    """Folder, subject and session of every session, wherever a download of its own was put beside
    another.
    """
    folders = [
        *root.glob("OAS3*_MR_d*"),
        *root.glob("*/OAS3*_MR_d*"),
        *root.glob("sub-OAS3*/ses-d*"),
    ]
    found = []
    for folder in sorted(folders):
        name = _SESSION.fullmatch(folder.name) or _BIDS_SESSION.fullmatch(
            f"{folder.parent.name}/{folder.name}"
        )
        if name:
            found.append((folder, name["subject"], name["session"]))
    return found


def _files(folder: Path, modality: str) -> list[Path]:
    return without_hidden(
        path for place in _PLACES for path in folder.glob(f"{place}/*_{modality}.nii*")
    )


def _scan(
    dataset: str,
    folder: Path,
    subject: str,
    session: str,
    modality: str,
    files: list[Path],
    demographics: Demographics,
) -> Scan:
    person = person_prefix(subject, session)
    for path in files:
        if not _plain(path).startswith(f"{person}_"):
            raise InputError(
                f"{path} lies in the folder of {person} but is named otherwise; rename or move it."
            )
    return Scan(
        dataset=dataset,
        subject=subject,
        session=session,
        modality=modality,
        image=_taken(files, f"{person}_{modality}"),
        labels=None,
        landmarks=None,
        **demographics.of(subject, int(session.removeprefix("d"))).as_fields(),
    )


def _taken(files: list[Path], name: str) -> Path:
    by_name: dict[str, list[Path]] = {}
    for path in files:
        by_name.setdefault(re.sub(r"_run-\d+", "", _plain(path)), []).append(path)
    plainest = min(by_name, key=lambda plain: (plain.count("_"), plain))
    return first_run(by_name[plainest], name)


def _plain(path: Path) -> str:
    """The name without suffixes; some files of OASIS-3 spell their session ``sess-``."""
    return path.name.split(".")[0].replace("_sess-", "_ses-")


# ---------------------------------------------------------------------------------- clinical tables


def clinical_table(dataset: str, root: Path) -> Path:
    """The one table in ``root``, or in the folders ``*data_files`` under it, that has CDR by
    subject and day.

    Raises:
        InputError: there is none, or several.
    """
    tables = without_hidden([*root.glob("*.csv"), *root.glob("*data_files/**/*.csv")])
    found = [path for path in tables if _layout(read_words(path)) is not None]
    if len(found) > 1:
        raise InputError(
            f"Dataset {dataset} has several clinical tables ({found[0]}, {found[1]}); name one in "
            "its file (demographics: {table: ...})."
        )
    if not found:
        seen = ", ".join(path.name for path in tables) or "no .csv"
        raise InputError(
            f"Dataset {dataset} has no clinical table under {root} ({seen} there); put "
            f"OASIS3_UDSb4_cdr.csv (columns {', '.join(_NEW.named())}) there."
        )
    return found[0]


def _layout(table: pd.DataFrame) -> Columns | None:
    return next((c for c in (_NEW, _OLD) if {c.subject, c.day, c.cdr} <= set(table.columns)), None)


def _read_clinical(path: Path, within_days: int) -> Demographics:
    table = read_words(path)
    columns = _layout(table) or _NEW
    require_columns(table, columns.named(), path)
    if columns == _OLD:
        table = table.assign(**{_AGE: _age_at_visit(table)})
    sexes = _sexes(path.parent / _PERSONS_TABLE)
    table = table.assign(**{_SEX: table[columns.subject].map(sexes).fillna("")})
    return demographics_of(
        table,
        Columns(columns.subject, columns.day, age=_AGE, sex=_SEX, cdr=columns.cdr),
        path,
        within_days,
    )


def _age_at_visit(table: pd.DataFrame) -> pd.Series:
    """The older table knows the age at entry only."""
    days = pd.to_numeric(table[_OLD.day].str.extract(r"_d(\d+)$")[0], errors="coerce")
    return (pd.to_numeric(table[_OLD.age], errors="coerce") + days / _DAYS_PER_YEAR).astype(str)


def _sexes(path: Path) -> dict[str, str]:
    if not lies_at(path):
        return {}
    table = read_words(path)
    require_columns(table, ["OASISID", _SEX], path)
    return dict(zip(table["OASISID"], table[_SEX], strict=True))
