"""What the page about a registration at a desk says: the record of its folder in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffeode.desk.outputs import (
    AFFINE,
    ALIGNED_BY,
    METRICS,
    OVERVIEW,
    REPORT,
    START_BENDS,
    WARPED_LABELS,
    WARPED_PICTURE,
)
from diffeode.errors import DamagedFileError
from diffeode.figures.page import Account, Use, write_page
from diffeode.figures.page_scores import scores_of, signs_of, structures_of
from diffeode.figures.pair_panel import Scene
from diffeode.figures.slice_panel import SliceScene
from diffeode.files.pictures import SUFFIXES
from diffeode.files.presence import require_file
from diffeode.names import readable
from diffeode.registration.knobs import dotted
from diffeode.units.registration import RegistrationUnit

_INVERSE_ORIGIN = {
    "method": "The method gave both maps, each the inverse of the other.",
    "numerical": "The inverse was computed from the map, because the method gives none.",
}
_TEXTS = ("fixed", "moving", "title", "verdict", "inverse")
_TABLES = ("metrics", "signs", "parameters", "software")
_NUMBERS = ("metrics", "signs", "dice_by_label", "hd95_mm_by_label")


def write_report(scene: Scene | SliceScene, folder: Path) -> None:
    """Write the page of a registration to ``folder``, which holds all other files.

    Args:
        scene: what is drawn of the pair.

    Raises:
        InputError: the page cannot be written, or a file that it needs is missing or damaged.
    """
    trace = RegistrationUnit(folder).trace_file
    account = _account(read_record(folder / METRICS), folder, scene)
    write_page(scene, account, trace if trace.is_file() else None, folder / REPORT)


def read_record(path: Path) -> dict[str, Any]:
    """Return what ``metrics.json`` of a registration holds.

    Raises:
        InputError: there is no such file.
        DamagedFileError: the file is no record of a registration.
    """
    require_file(path, "record of a registration")
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError):
        record = None
    if not isinstance(record, dict):
        raise damaged(path, "it is no JSON")
    lacking: list[str] = [name for name in _TEXTS if not isinstance(record.get(name), str)]
    lacking += [name for name in _TABLES if not isinstance(record.get(name), dict)]
    lacking += [name for name in _NUMBERS if not _holds_numbers(record.get(name, {}))]
    lacking += [] if isinstance(record.get("notes", []), list) else ["notes"]
    if lacking:
        raise damaged(path, f"it lacks {' and '.join(dict.fromkeys(lacking))}")
    return record


def _holds_numbers(table: object) -> bool:
    return isinstance(table, dict) and all(
        value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        for value in table.values()
    )


def damaged(path: Path, why: str) -> DamagedFileError:
    """Return the error about a record that is none."""
    return DamagedFileError(
        f"{path} is no record of a registration ({why}); register the pair again."
    )


# ---------------------------------------------------------------------------- what the page says


def _account(record: Mapping[str, Any], results: Path, scene: Scene | SliceScene) -> Account:
    unit = RegistrationUnit(results)
    fixed, moving = (readable(Path(record[which]).name) for which in ("fixed", "moving"))
    spacing = scene.grid.spacing[: 2 if isinstance(scene, SliceScene) else 3]
    return Account(
        fixed_name=fixed,
        moving_name=moving,
        method=record["title"],
        program=f"diffeode {record['software'].get('diffeode', '')}".strip(),
        suspect=bool(record.get("suspect")),
        verdict=record["verdict"],
        signs=signs_of(record["signs"]),
        notes=[str(note) for note in record.get("notes", ())],
        scores=scores_of(record["metrics"], float(max(spacing))),
        structures=structures_of(
            record.get("dice_by_label", {}), record.get("hd95_mm_by_label", {})
        ),
        warp=unit.warp_file.name,
        inverse=unit.inverse_warp_file.name,
        inverse_origin=_INVERSE_ORIGIN.get(record["inverse"], ""),
        uses=_uses_of_slices(unit, scene.unit) if isinstance(scene, SliceScene) else _uses(unit),
        files=_files_of_slices(unit) if isinstance(scene, SliceScene) else _files(unit),
        command=str(record.get("command", "")),
        made=_made(record, "slice" if isinstance(scene, SliceScene) else "scan"),
        settings={name: str(value) for name, value in dotted(record["parameters"]).items()},
        brought="after the start" if record.get(START_BENDS) else "after the affine",
        versions={name: str(value) for name, value in record["software"].items()}
        | {name: str(value) for name, value in (record.get("programs") or {}).items()},
    )


def _made(record: Mapping[str, Any], scan: str) -> dict[str, str]:
    known = {
        f"fixed {scan}": record["fixed"],
        f"moving {scan}": record["moving"],
        "method": f"{record.get('run', '')} ({record['title']})",
        "start": record.get("init"),
        "aligned by": record.get(ALIGNED_BY),
        "seed": record.get("seed"),
        "threads": record.get("threads"),
        "device": record.get("device"),
        "orientation": record.get("orientation"),
        f"mask of the fixed {scan}": record.get("fixed_mask"),
        f"mask of the moving {scan}": record.get("moving_mask"),
        "skulls stripped": "yes" if record.get("brain") else None,
        "contrasts": _contrasts_in_words(record.get("contrasts")),
        "weight of the labels": record.get("label_weight"),
        "weight of the landmarks": record.get("landmark_weight"),
        "held stiff": record.get("stiff"),
    }
    return {name: readable(str(value)) for name, value in known.items() if value is not None}


def _contrasts_in_words(contrasts: Any) -> str | None:
    """Return the contrasts of the record with their shares; None where there is one alone."""
    if not isinstance(contrasts, list):
        return None
    return "; ".join(
        f"{one.get('moving')} to {one.get('fixed')} ({one.get('share', 0):.2g})"
        for one in contrasts
        if isinstance(one, dict)
    )


def _files(unit: RegistrationUnit) -> list[tuple[str, str]]:
    """Return name and meaning of the files that are there or are about to be."""
    known = {
        unit.warp_file.name: "the map: a displacement field on the grid of the fixed scan",
        unit.inverse_warp_file.name: "the way back: a displacement field on the grid of the moving "
        "scan",
        unit.warped_file.name: "the moving scan on the grid of the fixed scan, with its original "
        "intensities",
        AFFINE: "the affine alignment alone, a transform of ITK: it sends points of the fixed scan "
        "to points of the moving scan",
        WARPED_LABELS: "the label map of the moving scan on the grid of the fixed scan",
        METRICS: "every score, the verdict, the settings and the versions, for programs",
        unit.trace_file.name: "the energy of each iteration, a table",
        OVERVIEW: "the pictures as one image, for a slide",
    }
    folder = unit.warp_file.parent
    return [(name, meaning) for name, meaning in known.items() if (folder / name).is_file()]


def _files_of_slices(unit: RegistrationUnit) -> list[tuple[str, str]]:
    """As :func:`_files`, with the moving picture in its own colours."""
    own = [f"{WARPED_PICTURE}{suffix}" for suffix in SUFFIXES]
    pictures = [
        (name, "the moving picture on the grid of the fixed slice, in its own colours")
        for name in own
        if (unit.folder / name).is_file()
    ]
    said = [(name, meaning.replace("scan", "slice")) for name, meaning in _files(unit)]
    return said[:2] + pictures + said[2:]


def _uses_of_slices(unit: RegistrationUnit, length: str) -> list[Use]:
    """Return how the maps of slices are applied.

    Args:
        length: the unit of lengths: ``pixels`` for pictures, ``mm`` for others.
    """
    warp, inverse = unit.warp_file.name, unit.inverse_warp_file.name
    end = ".png" if length == "pixels" else ".nii.gz"
    uses = [
        Use(
            "Bring another image of the moving slice onto the fixed slice, colours included:",
            f"diffeode apply {warp} SLICE{end} -o on_fixed{end}",
        ),
        Use(
            "Bring an image of the fixed slice onto the moving slice:",
            f"diffeode apply {inverse} OTHER{end} -o on_moving{end}",
        ),
        Use(
            "Find landmarks of the fixed slice (a table with columns x and y, in pixels) in the "
            "moving slice:",
            f"diffeode points {warp} landmarks.csv -o in_moving.csv",
        ),
    ]
    if length != "pixels":
        return uses
    return [
        *uses,
        Use(
            "Send a pixel of the fixed slice (column, row) to the moving slice in Python:",
            "import SimpleITK as sitk\n"
            f'field = sitk.ReadImage("{warp}", sitk.sitkVectorFloat64)\n'
            "to_moving = sitk.DisplacementFieldTransform(field)\n"
            "print(to_moving.TransformPoint((120.0, 85.5)))",
        ),
    ]


def _uses(unit: RegistrationUnit) -> list[Use]:
    warp, inverse = unit.warp_file.name, unit.inverse_warp_file.name
    warped = unit.warped_file.name
    return [
        Use(
            "Bring another image of the moving scan onto the fixed scan:",
            f"diffeode apply {warp} SCAN.nii.gz -o on_fixed.nii.gz",
        ),
        Use(
            "Bring a label map of the moving scan onto the fixed scan:",
            f"diffeode apply {warp} SCAN_dseg.nii.gz -o on_fixed_dseg.nii.gz --labels",
        ),
        Use(
            "Bring an image of the fixed scan onto the moving scan:",
            f"diffeode apply {inverse} OTHER.nii.gz -o on_moving.nii.gz",
        ),
        Use(
            "The same by ANTs:",
            f"antsApplyTransforms -d 3 -r {warped} -i SCAN.nii.gz -t {warp} -o on_fixed.nii.gz",
        ),
        Use(
            "Send a point of the fixed scan to the moving scan in Python, in LPS mm:",
            "import SimpleITK as sitk\n"
            f'field = sitk.ReadImage("{warp}", sitk.sitkVectorFloat64)\n'
            "to_moving = sitk.DisplacementFieldTransform(field)\n"
            "print(to_moving.TransformPoint((10.0, -20.0, 30.0)))",
        ),
    ]
