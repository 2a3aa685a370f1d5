"""Label maps (``dseg``) of the scans of a BIDS folder, and the table of their structures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from diffeode.bids_app.request import AUTO, NONE, Request
from diffeode.datasets.bids import has_entity, space_of, volumes
from diffeode.datasets.scan import Scan, person_prefix
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.presence import without_hidden
from diffeode.files.tables import read_words
from diffeode.geometry.space import Grid
from diffeode.names import nearest
from diffeode.prepare.scan import LABEL_GRID_TOLERANCE_MM

SUFFIX = "dseg"
_OWN_SPACES = (None, "orig")
_SIDE = re.compile(r"(?:^|[\s_-])(left|right|lh|rh)(?:[\s_-]|$)", re.IGNORECASE)
_SIDE_OF = {"l": "left", "r": "right"}


def with_label_maps(request: Request, scans: Iterable[Scan]) -> tuple[list[Scan], list[str]]:
    """Return the scans with the label maps that belong to them, and sentences about label maps that
    cannot be used.

    A label map belongs to a scan where it lies on the scan's grid and is of the same visit. One
    whose name says ``space-<contrast>`` belongs to that contrast alone; one that names another
    space, to none. Of several, ``<visit>_dseg`` is taken.

    Raises:
        InputError: the folder that is named holds none, several folders of derivatives hold some
            and none is named, or a scan has several.
    """
    folder = _folder(request)
    if folder is None:
        return list(scans), []
    found, notes = [], []
    for scan in scans:
        labels, why = _of_scan(scan, folder, request.dseg_desc)
        found.append(replace(scan, labels=labels))
        notes += why
    if not any(scan.labels for scan in found) and request.dseg_desc:
        raise InputError(
            f"No label map below {folder} fits: none has desc-{request.dseg_desc} in its name, "
            "the space and the grid of a scan; name another --dseg-desc."
        )
    return found, list(dict.fromkeys(notes))


def structures(scans: Iterable[Scan]) -> list[dict[str, Any]]:
    """Return the rows of the label table of all structures in the scans' label maps.

    Names are those of ``*_dseg.tsv`` beside a label map, or of such a table above it, with the
    columns ``index`` and ``name``; a structure without a name there is called ``structure 7``.

    Raises:
        InputError: a label map or such a table cannot be read.
    """
    ids: set[int] = set()
    names: dict[int, dict[str, str]] = {}
    for labels in sorted({scan.labels for scan in scans if scan.labels}):
        ids |= _content(labels)[1]
        for table in _tables_of(labels):
            names = {**_names_in(table), **names}
    return [_row(i, names.get(i, {})) for i in sorted(ids)]


def _folder(request: Request) -> Path | None:
    """Return the folder, laid out as BIDS, whose label maps are used; None for no label maps."""
    if request.dseg == NONE:
        return None
    if request.dseg != AUTO:
        return _named(request)
    if _has_label_maps(request.source):
        return request.source
    derivatives = [
        folder for folder in _derivatives(request) if _has_label_maps(folder, request.dseg_desc)
    ]
    if len(derivatives) > 1:
        names = ", ".join(folder.name for folder in derivatives)
        raise InputError(
            f"Several folders of {request.source / 'derivatives'} have label maps ({names}); name "
            "one (--dseg NAME), or --dseg none."
        )
    return derivatives[0] if derivatives else None


def _named(request: Request) -> Path:
    known = _derivatives(request)
    folders = [*(folder for folder in known if folder.name == str(request.dseg)), request.dseg]
    folder = Path(folders[0])
    if not folder.is_dir():
        raise InputError(
            f"There is no folder {request.dseg} of label maps"
            f"{nearest(str(request.dseg), [f.name for f in known])}."
        )
    if not _has_label_maps(folder):
        raise InputError(f"{folder} has no label maps (sub-*/anat/*_dseg.nii.gz); name another.")
    return folder


def _derivatives(request: Request) -> list[Path]:
    folders = without_hidden((request.source / "derivatives").glob("*"))
    ours = request.out.resolve()
    return [folder for folder in folders if folder.is_dir() and folder.resolve() != ours]


def _has_label_maps(folder: Path, desc: str | None = None) -> bool:
    end = f"*_desc-{desc}_{SUFFIX}.*" if desc else f"*_{SUFFIX}.*"
    return any(
        without_hidden(folder.glob(f"{visit}/anat/{end}")) for visit in ("sub-*", "sub-*/ses-*")
    )


def _of_scan(scan: Scan, folder: Path, desc: str | None) -> tuple[Path | None, list[str]]:
    """Return the label map of a scan, and sentences about those that do not fit."""
    visit = person_prefix(scan.subject, scan.session)
    anat = folder.joinpath(*visit.split("_"), "anat")
    grid = io.read_grid(scan.image)
    fitting, notes = [], []
    for path in volumes(anat, SUFFIX):
        named = path.name.startswith(f"{visit}_") and (
            desc is None or has_entity(path, {f"desc-{desc}"})
        )
        if not named or space_of(path) not in (*_OWN_SPACES, scan.modality):
            continue
        if why := _why_unusable(path, scan, grid):
            notes.append(why)
        else:
            fitting.append(path)
    plain = [path for path in fitting if path.name.split(".")[0] == f"{visit}_{SUFFIX}"]
    chosen = plain or fitting
    if len(chosen) > 1:
        names = ", ".join(path.name for path in chosen)
        raise InputError(
            f"{anat} has several label maps of {scan.id} ({names}); choose by --dseg-desc, or "
            "leave them out (--dseg none)."
        )
    return (chosen[0] if chosen else None), notes


def _why_unusable(path: Path, scan: Scan, grid: Grid) -> str | None:
    try:
        of_labels, ids = _content(path)
    except InputError as error:
        return f"Without Dice for {scan.id}: {error}"
    if not of_labels.matches(grid, LABEL_GRID_TOLERANCE_MM):
        return f"Without Dice for {scan.id}: {path.name} lies on another grid than the scan."
    if not ids:
        return f"Without Dice for {scan.id}: {path.name} is empty (0 everywhere)."
    return None


@lru_cache(maxsize=100_000)
def _content(path: Path) -> tuple[Grid, frozenset[int]]:
    """Return the grid and the ids of a label map, which several scans may share."""
    labels = io.read_labels(path)
    return labels.grid, frozenset(int(i) for i in np.unique(labels.data) if i > 0)


def _tables_of(labels: Path) -> Iterator[Path]:
    """Yield the tables that may name the structures of a label map, the nearest first."""
    yield from _existing([labels.with_name(f"{labels.name.split('.')[0]}.tsv")])
    above = [folder for folder in labels.parents if not folder.name.startswith(("sub-", "ses-"))]
    root = next(folder for folder in above if folder.name != "anat")
    descs = [part for part in labels.name.split("_") if part.startswith("desc-")]
    names = [*(f"{desc}_{SUFFIX}.tsv" for desc in descs), f"{SUFFIX}.tsv"]
    yield from _existing([root / name for name in names])


def _existing(paths: Sequence[Path]) -> list[Path]:
    return [path for path in paths if path.is_file()]


def _names_in(table: Path) -> dict[int, dict[str, str]]:
    rows = read_words(table)
    for column in ("index", "name"):
        if column not in rows:
            raise InputError(
                f"{table} has no column {column!r}, which names structures of label maps; add it, "
                "or leave label maps out (--dseg none)."
            )
    return {
        int(row["index"]): row
        for row in rows.to_dict("records")
        if row["index"].isdecimal() and row["name"].strip()
    }


def _row(number: int, about: Mapping[str, str]) -> dict[str, Any]:
    name = " ".join(about.get("name", "").split()) or f"structure {number}"
    side = _SIDE.search(name)
    return {
        "id": number,
        "name": name,
        "abbreviation": " ".join(about.get("abbreviation", "").split()) or str(number),
        "hemisphere": _SIDE_OF[side.group(1)[0].lower()] if side else "none",
        "group": "all",
    }
