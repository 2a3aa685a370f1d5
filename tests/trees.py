"""Made-up trees of files in the layouts of the papers' datasets, with real names and columns of
tables, but tiny or empty images of nobody.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Sequence
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd

OASIS3_FIXED = ("OAS30088", "OAS30273", "OAS30884", "OAS30110", "OAS30682")
"""The paper's fixed persons (appendix A1), here with CDR 0, 0.5, 1, 2 and 3 in this order at every
visit.
"""
IXI_FIXED = ("IXI186", "IXI027", "IXI344", "IXI560", "IXI458")
"""The paper's fixed persons (appendix A2)."""
CANDI_GROUPS = ("BPDwPsy", "BPDwoPsy", "HC", "SS")
RATINGS = (0.0, 0.5, 1.0, 2.0, 3.0)

CDR_TABLE = "OASIS3_UDSb4_cdr.csv"
_SITES = (("Guys", 0.55), ("HH", 0.32), ("IOP", 0.13))
_IMAGES = 8
_RATING_ODDS = (0.66, 0.2, 0.09, 0.04, 0.01)
_DIAGNOSES = (
    "Cognitively normal",
    "uncertain dementia",
    "AD Dementia",
    "AD Dementia",
    "AD Dementia",
)


def write_oasis3(root: Path, persons: int, seed: int) -> None:
    """Write OASIS-3 as ``download_oasis_scans.sh`` lays it out, with ``OASIS3_UDSb4_cdr.csv`` and
    the demographics.

    Folders are ``OAS30001_MR_d0129/anat1/sub-OAS30001_ses-d0129[_run-01]_T1w.nii.gz``, each with
    its ``.json``. Persons have 1 to 4 sessions; some sessions have two T1w, a T2w named
    ``acq-TSE``, no T2w, or files spelt ``sess-d0129``. The persons of ``OASIS3_FIXED`` always have
    T1w and T2w, and one CDR each; the others' CDR is drawn and gets no better with time, and one
    person in forty has none.
    """
    random = np.random.default_rng(seed)
    others = (f"OAS3{number:04d}" for number in range(1, 1379))
    names = _first(OASIS3_FIXED, others, persons)
    visits, demographics = [], []
    for name in names:
        fixed = RATINGS[OASIS3_FIXED.index(name)] if name in OASIS3_FIXED else None
        age, days = random.uniform(45, 90), _days(random)
        demographics.append(
            (
                name,
                round(age, 2),
                None,
                int(random.integers(1, 3)),
                int(random.integers(8, 21)),
                "R",
            )
        )
        visits += (
            _visits(name, age, days, fixed, random)
            if fixed is not None or random.random() > 1 / 40
            else []
        )
        for day in days:
            _write_session(root, name, day, random, whole=fixed is not None)
    columns = ["OASISID", "AgeatEntry", "AgeatDeath", "GENDER", "EDUC", "HAND"]
    pd.DataFrame(demographics, columns=columns).to_csv(
        root / "OASIS3_demographics.csv", index=False
    )
    pd.DataFrame(visits).to_csv(root / CDR_TABLE, index=False)


def write_ixi(root: Path, persons: int, seed: int) -> None:
    """Write IXI as its tar files unpack: ``IXI-T1`` and ``IXI-T2``, and ``IXI.xls``.

    Names are ``IXI012-HH-1211-T1.nii.gz``. About one person in fifty lacks T2, one in thirty is not
    in the table, and one is there twice, as in the original.
    """
    random = np.random.default_rng(seed)
    names = _first(IXI_FIXED, (f"IXI{number:03d}" for number in range(2, 663)), persons)
    sites, odds = zip(*_SITES, strict=True)
    for position, name in enumerate(names):
        site = random.choice(sites, p=odds)
        stem = f"{name}-{site}-{700 + position:04d}"
        whole = name in IXI_FIXED or random.random() > 1 / 50
        for contrast in ("T1", "T2") if whole else ("T1",):
            write_image(root / f"IXI-{contrast}" / f"{stem}-{contrast}.nii.gz", random)
    write_xls(root / "IXI.xls", ixi_table(names, random))


def write_papers_folders(root: Path) -> dict[str, Path]:
    """Write made-up trees of all scans that the papers' studies need, and return their folders by
    the variables that name them.

    Scans that only have to be listed are empty files.
    """
    folders = {name: root / name.lower() for name in ("OASIS3", "IXI", "NEURITE_OASIS", "CANDI")}
    write_oasis3(folders["OASIS3"], 200, seed=11)
    write_ixi(folders["IXI"], 200, seed=12)
    for scan in (folders["IXI"] / "IXI-T2").iterdir():
        _touch(folders["IXI"] / "IXI-PD" / scan.name.replace("-T2.", "-PD."))
    for number in range(1, 160):
        for kind in ("norm", "seg35"):
            visit = folders["NEURITE_OASIS"] / f"OASIS_OAS1_{number:04d}_MR1"
            _touch(visit / f"aligned_{kind}.nii.gz")
    for group, number in product(CANDI_GROUPS, range(1, 8)):
        person = f"{group}_{number:03d}"
        for kind in ("procimg", "seg"):
            _touch(folders["CANDI"] / f"{group}_2008" / person / f"{person}_{kind}.nii.gz")
    return folders


def _touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


def ixi_table(names: Sequence[str], random: np.random.Generator) -> pd.DataFrame:
    """Return ``IXI.xls`` of these persons, with its columns, its zeros for unknown values and a
    person who is there twice.
    """
    listed = [name for name in names if name in IXI_FIXED or random.random() > 1 / 30]
    count = len(listed)
    table = pd.DataFrame(
        {
            "IXI_ID": [int(name.removeprefix("IXI")) for name in listed],
            "SEX_ID (1=m, 2=f)": random.integers(1, 3, count),
            "HEIGHT": random.integers(150, 195, count),
            "WEIGHT": random.integers(50, 100, count),
            "ETHNIC_ID": 1,
            "MARITAL_ID": random.integers(1, 6, count),
            "OCCUPATION_ID": 1,
            "QUALIFICATION_ID": random.integers(1, 6, count),
            "DOB": "1970-01-01",
            "DATE_AVAILABLE": 1,
            "STUDY_DATE": "2005-06-01",
            "AGE": random.uniform(19, 87, count).round(2),
        }
    )
    unknown = table.iloc[[0]].assign(
        **{"SEX_ID (1=m, 2=f)": 0, "HEIGHT": 0, "WEIGHT": 0, "AGE": np.nan}
    )
    return pd.concat([unknown, table], ignore_index=True).sort_values(
        "IXI_ID", ignore_index=True, kind="stable"
    )


def write_image(path: Path, random: np.random.Generator | None = None) -> None:
    """Write a scan of 8 x 8 x 8 voxels of 1 mm: a bright cube on 0."""
    data = np.zeros((_IMAGES,) * 3, dtype=np.float32)
    data[2:6, 2:6, 2:6] = (random or np.random.default_rng(0)).uniform(100, 200, (4, 4, 4))
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data, np.diag([1.0, 1.0, 1.0, 1.0])), path)


def write_xls(path: Path, table: pd.DataFrame) -> None:
    """Write ``table`` as an Excel workbook of version 2, the simplest ``.xls``; no library writes
    ``.xls`` any more.
    """
    records = [
        struct.pack("<HHHH", 0x0009, 4, 0x0007, 0x0010),
        struct.pack("<HHH", 0x0042, 2, 1252),
    ]
    rows = [list(table.columns), *table.astype(object).to_numpy().tolist()]
    for row, values in enumerate(rows):
        records += [
            _cell(row, column, value) for column, value in enumerate(values) if not pd.isna(value)
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join([*records, struct.pack("<HH", 0x000A, 0)]))


def _cell(row: int, column: int, value: object) -> bytes:
    place = struct.pack("<HH3x", row, column)
    if isinstance(value, str):
        text = value.encode("cp1252")
        kind, content = 0x0004, place + struct.pack("<B", len(text)) + text
    else:
        kind, content = 0x0003, place + struct.pack("<d", value)
    return struct.pack("<HH", kind, len(content)) + content


def _first(wanted: Sequence[str], others: Iterable[str], count: int) -> list[str]:
    """Return ``count`` names, sorted; ``wanted`` are always among them."""
    rest = [name for name in others if name not in wanted]
    return sorted([*wanted, *rest[: count - len(wanted)]])


def _days(random: np.random.Generator) -> list[int]:
    gaps = random.integers(200, 1400, random.integers(1, 5))
    return [int(day) for day in np.cumsum(gaps) - gaps[0] + random.integers(0, 150)]


def _visits(
    name: str, age: float, days: list[int], fixed: float | None, random: np.random.Generator
) -> list[dict]:
    """Return rows of the clinical table: a visit within some weeks of each session, and the first
    one at entry.
    """
    drawn = sorted(random.choice(RATINGS, p=_RATING_ODDS) for _ in range(len(days) + 1))
    ratings = drawn if fixed is None else [fixed] * len(drawn)
    seen = sorted({0, *(max(0, day + int(random.integers(-60, 60))) for day in days)})
    return [
        _visit(name, age, day, rating, random) for day, rating in zip(seen, ratings, strict=False)
    ]


def _visit(name: str, age: float, day: int, rating: float, random: np.random.Generator) -> dict:
    boxes = {
        box: rating for box in ("memory", "orient", "judgment", "commun", "homehobb", "perscare")
    }
    return {
        "OASISID": name,
        "OASIS_session_label": f"{name}_UDSb4_d{day:04d}",
        "days_to_visit": f"{day:04d}",
        "age at visit": round(age + day / 365.25, 2),
        "MMSE": int(random.integers(24, 31)),
        **boxes,
        "CDRSUM": sum(boxes.values()),
        "CDRTOT": rating,
        "dx1": _DIAGNOSES[RATINGS.index(rating)],
    }


def _write_session(
    root: Path, name: str, day: int, random: np.random.Generator, whole: bool
) -> None:
    folder = root / f"{name}_MR_d{day:04d}"
    runs = ("_run-01", "_run-02") if random.random() < 0.3 else ("",)
    session = "sess" if random.random() < 0.03 else "ses"
    names = [f"{run}_T1w" for run in runs]
    if whole or random.random() > 0.15:
        names.append("_T2w" if random.random() < 0.5 else "_acq-TSE_T2w")
    for number, ending in enumerate([*names, "_bold"], start=1):
        kind = "func" if ending == "_bold" else "anat"
        stem = folder / f"{kind}{number}" / f"sub-{name}_{session}-d{day:04d}{ending}"
        write_image(stem.with_name(f"{stem.name}.nii.gz"), random)
        stem.with_name(f"{stem.name}.json").write_text(
            json.dumps({"MagneticFieldStrength": 1.5}), encoding="utf-8"
        )
