"""Scans of OASIS-3 as they are downloaded:
``OAS30001_MR_d0129/anat2/[NIFTI/]sub-OAS30001_ses-d0129[_run-01]_T1w.nii.gz``.

The layout of XNAT's own download (``.../scans/anat2-T1w/resources/NIFTI/files/``) is read as well,
and so are the BIDS folders of ``download_oasis_scans_bids.sh``. Source of the layouts and tables:
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
    """Return every scan of ``modalities`` under ``root``, sorted by name.

    A session's name tells its day (``d0129``). Where a session has several scans of a modality, the
    one with the shortest list of BIDS entities is taken (``T2w`` before ``acq-TSE_T2w``), and of
    several runs the first. Group, age and CDR are those of the visit nearest to the session; where
    no visit lies within ``within_days``, they are unknown.

    Args:
        table: the clinical table, ``OASIS3_UDSb4_cdr.csv`` or the older export with the column
            ``ADRC_ADRCCLINICALDATA ID``; by default it is looked for in ``root`` and in the folders
            ``*data_files`` below.

    Raises:
        InputError: there is no such folder, no session, no scan, or no clinical table, or several
            tables; the table cannot be read or lacks a column; a session or scan is there twice; or
            a file lies in another session's folder.
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
            f"OAS30001_MR_d0129/anat2/*_({'|'.join(modalities)}).nii.gz under {root}; put the "
            "sessions there, or correct the root of the dataset."
        )
    require_distinct(scans)
    return sorted(scans, key=lambda scan: scan.id)


def _sessions(root: Path) -> list[tuple[Path, str, str]]:
    """Return folder, subject and session of every session.

    Sessions lie in ``root`` or one folder below, where several downloads lie side by side.
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
    """Return the file's name without suffixes, with ``ses-`` for ``sess-``, as some files of
    OASIS-3 spell it.
    """
    return path.name.split(".")[0].replace("_sess-", "_ses-")


# ---------------------------------------------------------------------------------- clinical tables


def clinical_table(dataset: str, root: Path) -> Path:
    """Return the one table with the CDR by subject and day.

    It lies in ``root``, or in the folders ``*data_files`` below.

    Raises:
        InputError: there is no such table, or several.
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
    """Return the age at each visit of the older table, which tells only the age at entry."""
    days = pd.to_numeric(table[_OLD.day].str.extract(r"_d(\d+)$")[0], errors="coerce")
    return (pd.to_numeric(table[_OLD.age], errors="coerce") + days / _DAYS_PER_YEAR).astype(str)


def _sexes(path: Path) -> dict[str, str]:
    if not lies_at(path):
        return {}
    table = read_words(path)
    require_columns(table, ["OASISID", _SEX], path)
    return dict(zip(table["OASISID"], table[_SEX], strict=True))
