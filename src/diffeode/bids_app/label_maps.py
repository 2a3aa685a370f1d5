"""Label maps (``dseg``) of the scans of a BIDS folder, and the table of their structures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
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
from diffeode.files.label_ids import shown
from diffeode.files.presence import without_hidden
from diffeode.files.tables import read_words
from diffeode.geometry.space import Grid
from diffeode.names import nearest
from diffeode.prepare.scan import LABEL_GRID_TOLERANCE_MM

SUFFIX = "dseg"
_OWN_SPACES = (None, "orig")
_SIDE = re.compile(r"(?:^|[\s_-])(left|right|lh|rh)(?:[\s_-]|$)", re.IGNORECASE)
_SIDE_OF = {"l": "left", "r": "right"}
_Rows = Mapping[int, Mapping[str, Any]]
"""Rows of a label table by their ids."""


def with_label_maps(
    request: Request, scans: Iterable[Scan]
) -> tuple[list[Scan], dict[str, str], list[str]]:
    """Return the scans with the label maps that belong to them; what is wrong with those of these
    label maps that cannot be used, by the names of the scans; and sentences about others.

    A label map belongs to a scan where it lies on the scan's grid and is of the same visit. One
    whose name says ``space-<contrast>`` belongs to that contrast alone; one that names another
    space, to none. Of several, ``<visit>_dseg`` is taken. One that is empty or cannot be read
    belongs to the scan where it has no other: the workflow then registers the scan without it, and
    names it among what cannot be used.

    Raises:
        InputError: the folder that is named holds none, several folders of derivatives hold some
            and none is named, a scan has several, or none has the ``desc`` that is asked for.
    """
    folder = _folder(request)
    if folder is None and request.dseg_desc:
        raise InputError(_why_no_desc(request))
    if folder is None:
        return list(scans), {}, []
    found, faults, notes = [], {}, []
    for scan in scans:
        fitting, faulty, elsewhere = _of_scan(scan, folder, request.dseg_desc)
        labels = _chosen(scan, fitting or list(faulty), folder)
        found.append(replace(scan, labels=labels))
        if labels in faulty:
            faults[scan.id] = faulty[labels]
        notes += [
            f"Without Dice for {scan.id}: {path.name} lies on another grid than the scan."
            for path in elsewhere
        ]
    if not any(scan.labels for scan in found) and request.dseg_desc:
        raise InputError(
            f"No label map below {folder} fits: none has desc-{request.dseg_desc} in its name, "
            "the space and the grid of a scan; name another --dseg-desc."
        )
    return found, faults, notes


def structures(scans: Iterable[Scan]) -> list[dict[str, Any]]:
    """Return the rows of the label table of all structures in the scans' label maps.

    Names are those of ``*_dseg.tsv`` beside a label map, or of such a table above it, with the
    columns ``index`` and ``name``; a structure without a name there is called ``structure 7``.

    Raises:
        InputError: such a table cannot be read.
    """
    ids: set[int] = set()
    names: dict[int, dict[str, str]] = {}
    for labels in sorted({scan.labels for scan in scans if scan.labels}):
        with suppress(InputError):  # said where label maps are looked for
            ids |= _content(labels)[1]
        for table in _tables_of(labels):
            names = {**_names_in(table), **names}
    return [_row(i, names.get(i, {})) for i in sorted(ids)]


def structures_in_both(
    template: Scan, scans: Iterable[Scan]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of the label table of the structures that the label map of a template shares
    with label maps of the scans, and sentences about what a user should know of the ids.

    A structure that an atlas has and no scan can have would count as Dice 0.

    Raises:
        InputError: there is no such structure, or a table of names cannot be read.
    """
    here, there = ({row["id"]: row for row in structures(of)} for of in ([template], scans))
    both = sorted(here.keys() & there.keys())
    if not both:
        raise InputError(
            f"The label map of the template, {template.labels}, and those of the scans share no id "
            f"(it has {shown(sorted(here))}; they have {shown(sorted(there))}); give label maps "
            "whose ids mean the same."
        )
    alone = (
        ("the label map of the template has", sorted(here.keys() - there.keys())),
        ("label maps of scans have", sorted(there.keys() - here.keys())),
    )
    notes = [
        f"Not measured, because only {who} them: ids {shown(ids)}." for who, ids in alone if ids
    ]
    rows = [there[i] if _is_named(there[i]) else here[i] for i in both]
    return rows, [*notes, *_about_names(here, there, both)]


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


def _why_no_desc(request: Request) -> str:
    """Return why no label map has the ``desc`` that is asked for, although no folder is named."""
    if request.dseg == NONE:
        return (
            "--dseg none leaves label maps out, and --dseg-desc chooses among them; give one of "
            "the two."
        )
    return (
        f"Neither {request.source} nor its derivatives have a label map with "
        f"desc-{request.dseg_desc} in its name; correct --dseg-desc, or name the folder (--dseg)."
    )


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


def _of_scan(
    scan: Scan, folder: Path, desc: str | None
) -> tuple[list[Path], dict[Path, str], list[Path]]:
    """Return the label maps of a scan that fit; those that cannot be used, with the reason; and
    those that lie on another grid.
    """
    visit = person_prefix(scan.subject, scan.session)
    grid = io.read_grid(scan.image)
    fitting: list[Path] = []
    faulty: dict[Path, str] = {}
    elsewhere: list[Path] = []
    for path in volumes(folder.joinpath(*visit.split("_"), "anat"), SUFFIX):
        named = path.name.startswith(f"{visit}_") and (
            desc is None or has_entity(path, {f"desc-{desc}"})
        )
        if not named or space_of(path) not in (*_OWN_SPACES, scan.modality):
            continue
        try:
            of_labels, ids = _content(path)
        except InputError as error:
            faulty[path] = str(error)
            continue
        if not of_labels.matches(grid, LABEL_GRID_TOLERANCE_MM):
            elsewhere.append(path)
        elif not ids:
            faulty[path] = f"{path.name} is empty (0 everywhere)."
        else:
            fitting.append(path)
    return fitting, faulty, elsewhere


def _chosen(scan: Scan, paths: Sequence[Path], folder: Path) -> Path | None:
    """Return the label map of a scan among ``paths``, or None where there is none.

    Raises:
        InputError: there are several.
    """
    visit = person_prefix(scan.subject, scan.session)
    plain = [path for path in paths if path.name.split(".")[0] == f"{visit}_{SUFFIX}"]
    chosen = plain or paths
    if len(chosen) > 1:
        names = ", ".join(path.name for path in chosen)
        anat = folder.joinpath(*visit.split("_"), "anat")
        raise InputError(
            f"{anat} has several label maps of {scan.id} ({names}); choose by --dseg-desc, or "
            "leave them out (--dseg none)."
        )
    return chosen[0] if chosen else None


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


def _is_named(row: Mapping[str, Any]) -> bool:
    return row["name"] != _row(row["id"], {})["name"]


def _about_names(here: _Rows, there: _Rows, ids: Sequence[int]) -> list[str]:
    """Return a sentence about those of ``ids`` whose names by the tables of a template (``here``)
    and of scans (``there``) differ; none where there are none.
    """
    named = [i for i in ids if _is_named(here[i]) and _is_named(there[i])]
    names = {i: (here[i]["name"], there[i]["name"]) for i in named}
    differing = [i for i, (one, other) in names.items() if one.casefold() != other.casefold()]
    if not differing:
        return []
    one, other = names[differing[0]]
    return [
        f"Ids {shown(differing)} have another name in the table of the template than in that of "
        f"the scans ({differing[0]} is {one!r} and {other!r}); Dice means nothing where they are "
        "other structures."
    ]
