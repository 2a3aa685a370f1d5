"""Files of points: tables (``.csv``, ``.tsv``), landmarks of 3-D Slicer (``.fcsv``,
``.mrk.json``) and vertices of surfaces (``.gii``).

Points that are read are RAS mm or, where the user says so of a table, voxel indices. Slicer's files
say themselves whether they are in RAS or in LPS mm, and surfaces are in RAS mm. A table with the
columns ``x`` and ``y`` and without ``z`` holds points of a slice: pixel indices or, where the user
says so, plane coordinates.
"""

from __future__ import annotations

import csv
import io as text_io
import json
import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, final, get_args

import numpy as np
import pandas as pd
from nibabel.gifti import GiftiImage

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.meshes import read_surface, vertices_ras_mm, write_surface
from diffeode.files.presence import require_file
from diffeode.files.tables import read_words, require_columns
from diffeode.geometry.space import flip_ras_lps
from diffeode.names import short

Frame = Literal["ras", "lps", "voxel"]
"""The frame of coordinates: RAS mm, LPS mm, or voxel indices as real numbers."""
FRAMES: tuple[str, ...] = get_args(Frame)
SURFACE_SUFFIX = ".gii"
SUFFIXES = (".csv", ".tsv", ".fcsv", ".mrk.json", SURFACE_SUFFIX)

_AXES = ["x", "y", "z"]
_NAMES = ("name", "label", "#", "")
"""Headings of the column that names the points, in the order in which they are looked for."""
_TIME_OF_ANTS = "t"
"""The column that antsApplyTransformsToPoints demands besides ``x``, ``y`` and ``z``."""
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_FCSV_COLUMNS = "id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID"
_FCSV_FRAMES = {"0": "ras", "ras": "ras", "1": "lps", "lps": "lps"}
_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/Resources/"
    "Schema/markups-schema-v1.0.3.json#"
)


@final
@dataclass(frozen=True, eq=False)
class Points:
    """Named points.

    Attributes:
        names: the name of each point; where the file has none, its number from 1 on.
        coordinates: ``(N, 3)`` in ``frame``; or ``(N, 2)`` in the plane of a slice, where ``voxel``
            means indices along the two axes of the slice (column and row of a picture), and ``lps``
            plane coordinates (:mod:`diffeode.geometry.plane`).
        frame: the frame of the coordinates.
        others: the columns of a table besides the coordinates, which are written again; None where
            the file was no table.
    """

    names: tuple[str, ...]
    coordinates: np.ndarray
    frame: str = "ras"
    others: pd.DataFrame | None = field(default=None)
    surface: GiftiImage | None = field(default=None)

    @property
    def is_flat(self) -> bool:
        """Whether the points are given by two coordinates in the plane of a slice."""
        return self.coordinates.shape[1] == 2

    def placed(self, coordinates: np.ndarray, frame: str) -> Points:
        """Return the same points at other ``coordinates``, ``(N, 3)`` or ``(N, 2)``, in
        ``frame``.
        """
        return replace(self, coordinates=coordinates, frame=frame)

    def in_mm(self, frame: str) -> Points:
        """Return the points, which are in mm, in RAS or LPS mm.

        Raises:
            InputError: the points are voxel indices, which need a grid, or lie in the plane of a
                slice.
        """
        if self.is_flat:
            raise InputError(
                "Points of a slice have two coordinates, which tables hold; end the name in .csv "
                "or .tsv."
            )
        if "voxel" in (self.frame, frame):
            raise InputError("Voxel indices become mm by the grid of a scan; give the scan.")
        same = frame == self.frame
        return self if same else self.placed(flip_ras_lps(self.coordinates), frame)


def read_points(path: str | os.PathLike[str], frame: str | None = None) -> Points:
    """Return the points at ``path``.

    A table has the columns ``x``, ``y`` and ``z``, and may have ``name`` (or ``label``); its other
    columns are kept. With ``x`` and ``y`` alone it holds points of a slice. Capital letters make no
    difference.

    Args:
        frame: the frame of a table's numbers; by default RAS mm, and pixel indices (``voxel``) of a
            table of two coordinates. Slicer's files say their frame themselves. Of a surface,
            ``ras`` says that its numbers are RAS mm as they are stored.

    Raises:
        InputError: the file is missing, unreadable or of another kind, holds no point, or a
            coordinate is no finite number; ``frame`` contradicts the file; or a table has a column
            ``t``, as those of ANTs have, which are LPS mm, and ``frame`` is not given.
        DamagedFileError: the file of a surface is damaged.
    """
    path = Path(path)
    require_file(path, "file of points")
    require_name_of_points(path)
    if frame is not None and frame not in FRAMES:
        raise InputError(f"There is no frame {frame!r}; choose one of {', '.join(FRAMES)}.")
    if path.name.endswith(".fcsv"):
        points = _read_fcsv(path)
    elif path.name.endswith(".mrk.json"):
        points = _read_markups(path)
    elif path.name.endswith(SURFACE_SUFFIX):
        points = _read_surface(path, as_stored=frame == "ras")
    else:
        points = _read_table(path, frame)
    if frame is not None and points.frame != frame:
        raise InputError(
            f"{path} says that it is in {points.frame.upper()} mm, not {frame}; leave the frame "
            "out."
        )
    if not len(points.coordinates):
        raise InputError(f"{path} holds no points; give one at least.")
    return points


def write_points(path: str | os.PathLike[str], points: Points) -> None:
    """Write ``points`` in the format that the ending of ``path`` names.

    Tables hold the numbers as they are; Slicer's files are written in LPS mm, Slicer's own frame,
    and surfaces in RAS mm.

    Raises:
        InputError: the ending is of another kind, voxel indices are to be written to a file that
            holds mm, or points that are of no surface to a file of a surface.
    """
    path = Path(path)
    require_name_of_points(path)
    if path.name.endswith(tuple(_SEPARATORS)):
        _write_table(path, points)
    elif path.name.endswith(".fcsv"):
        io.write_text(path, _fcsv(points.in_mm("lps")))
    elif path.name.endswith(SURFACE_SUFFIX):
        _write_surface(path, points)
    else:
        io.write_json(path, _markups(points.in_mm("lps")))


def says_its_frame(path: Path | str) -> bool:
    """Return whether ``path`` is named as a file of 3-D Slicer or of a surface, which says its own
    frame.
    """
    return not str(path).endswith(tuple(_SEPARATORS))


def require_name_of_points(path: Path | str) -> None:
    """Raise :class:`InputError` where ``path`` does not end as a file of points does."""
    if not str(path).endswith(SUFFIXES):
        raise InputError(
            f"{path} is no file of points; its name must end in one of {', '.join(SUFFIXES)}."
        )


def _read_table(path: Path, frame: str | None) -> Points:
    table = read_words(path)
    axes = _columns_of_axes(table)
    if len(axes) < 2:
        require_columns(table, _AXES, path)
    require_columns(table, axes, path)
    is_flat = len(axes) == 2
    headings = {str(name).strip().lower(): name for name in reversed(list(table.columns))}
    if frame is None and not is_flat and _TIME_OF_ANTS in headings:
        raise InputError(
            f"{path} has a column 't', as the tables of ANTs have, whose points are LPS mm; give "
            "the frame (lps), or RAS mm (x and y with the other sign) without that column."
        )
    if is_flat and frame == "ras":
        raise InputError(
            f"{path} has no column 'z', so it holds points of a slice, which are pixel indices "
            "(voxel) or plane coordinates (lps); give one of these frames, or x, y and z."
        )
    coordinates = np.array(
        [[_number(cell, path) for cell in row] for row in table[axes].to_numpy()], dtype=np.float64
    ).reshape(-1, len(axes))
    column = next((headings[name] for name in _NAMES if name in headings), None)
    numbers = [str(n + 1) for n in range(len(table))]
    names = numbers if column is None else [str(name).strip() for name in table[column]]
    return Points(tuple(names), coordinates, frame or ("voxel" if is_flat else "ras"), table)


def _columns_of_axes(table: pd.DataFrame) -> list[str]:
    """Return the headings of the columns of the coordinates, as the table writes them."""
    headings = [str(name) for name in table.columns]
    found = []
    for axis in _AXES:
        named = [name for name in headings if name.strip().lower() == axis]
        found += [axis] if axis in named else named[:1]
    return found


def _write_table(path: Path, points: Points) -> None:
    table, axes = points.others, _AXES[: points.coordinates.shape[1]]
    if table is None:
        table = pd.DataFrame({"name": points.names, **dict.fromkeys(axes, "")})
    numbers = {
        axis: [repr(float(value)) for value in column]
        for axis, column in zip(_columns_of_axes(table), points.coordinates.T, strict=True)
    }
    with io.written_whole(path) as temporary:
        table.assign(**numbers).to_csv(
            temporary, sep=_SEPARATORS[path.suffix], index=False, lineterminator="\n"
        )


def _read_fcsv(path: Path) -> Points:
    lines = _text(path).splitlines()
    frame, columns = None, _FCSV_COLUMNS.split(",")
    for line in (line for line in lines if line.startswith("#")):
        key, _, value = line.lstrip("# ").partition("=")
        if key.strip() == "CoordinateSystem":
            frame = _FCSV_FRAMES.get(value.strip().lower())
            if frame is None:
                raise InputError(
                    f"{path} is in the coordinate system {short(value.strip())}; export it in RAS "
                    "or LPS."
                )
        elif key.strip() == "columns":
            columns = [name.strip() for name in value.split(",")]
    if frame is None:
        raise InputError(
            f"{path} does not say its coordinate system (# CoordinateSystem = LPS); export it anew "
            "from 3-D Slicer."
        )
    rows = [row for row in csv.reader(line for line in lines if line[:1] != "#") if row]
    where = {name: columns.index(name) for name in (*_AXES, "label") if name in columns}
    if not set(_AXES) <= set(where):
        raise InputError(f"{path} has no columns x, y and z; export it anew from 3-D Slicer.")
    coordinates = [[_number(_cell(row, where[axis]), path) for axis in _AXES] for row in rows]
    names = [
        _cell(row, where.get("label", -1)) or str(number) for number, row in enumerate(rows, 1)
    ]
    return Points(tuple(names), np.array(coordinates, dtype=np.float64).reshape(-1, 3), frame)


def _fcsv(points: Points) -> str:
    out = text_io.StringIO()
    out.write("# Markups fiducial file version = 4.11\n# CoordinateSystem = LPS\n")
    out.write(f"# columns = {_FCSV_COLUMNS}\n")
    table = csv.writer(out, lineterminator="\n")
    for number, (name, (x, y, z)) in enumerate(
        zip(points.names, points.coordinates.tolist(), strict=True), 1
    ):
        table.writerow([number, x, y, z, 0, 0, 0, 1, 1, 1, 0, name, "", ""])
    return out.getvalue()


def _read_markups(path: Path) -> Points:
    try:
        content = json.loads(_text(path))
        markups = content["markups"]
        places = [
            (mark.get("coordinateSystem", "LPS"), list(mark["controlPoints"])) for mark in markups
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{path} is no file of markups (JSON with markups and controlPoints); export it anew "
            "from 3-D Slicer."
        ) from None
    frames = {str(frame).lower() for frame, _ in places}
    if len(frames) != 1 or not frames <= {"ras", "lps"}:
        raise InputError(
            f"{path} is in the coordinate systems {short(sorted(frames))}; export it in RAS or LPS "
            "alone."
        )
    names, coordinates = [], []
    for point in (point for _, points in places for point in points):
        if not _is_placed(point):
            continue
        name = str(point.get("label") or len(names) + 1)
        if len(point["position"]) != 3:
            raise InputError(
                f"{path} has {len(point['position'])} coordinates for the point {short(name)}; "
                "give it three, or export the file anew from 3-D Slicer."
            )
        names.append(name)
        coordinates.append([_number(value, path) for value in point["position"]])
    return Points(
        tuple(names), np.array(coordinates, dtype=np.float64).reshape(-1, 3), frames.pop()
    )


def _is_placed(point: Any) -> bool:
    """Return whether a control point has a position; Slicer keeps points that are still to be
    placed.
    """
    return (
        isinstance(point, dict)
        and isinstance(point.get("position"), list)
        and point.get("positionStatus", "defined") == "defined"
    )


def _markups(points: Points) -> dict[str, Any]:
    places = [
        {"id": str(number), "label": name, "position": place, "positionStatus": "defined"}
        for number, (name, place) in enumerate(
            zip(points.names, points.coordinates.tolist(), strict=True), 1
        )
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": places,
    }
    return {"@schema": _SCHEMA, "markups": [markup]}


def _read_surface(path: Path, as_stored: bool) -> Points:
    surface = read_surface(path)
    vertices = vertices_ras_mm(path, surface, as_stored)
    names = tuple(str(number) for number in range(1, len(vertices) + 1))
    return Points(names, vertices, surface=surface)


def _write_surface(path: Path, points: Points) -> None:
    if points.surface is None:
        raise InputError(
            f"{path} would be a surface, but the points are no vertices of one; end the name as a "
            "table or as landmarks."
        )
    write_surface(path, points.surface, points.in_mm("ras").coordinates)


def _cell(row: list[str], place: int) -> str:
    return row[place].strip() if 0 <= place < len(row) else ""


def _number(cell: Any, path: Path) -> float:
    try:
        number = float(cell)
    except (TypeError, ValueError):
        number = float("nan")
    if not np.isfinite(number):
        raise InputError(f"{path} has {short(cell)} for a coordinate; give a finite number.")
    return number


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError):
        raise InputError(f"{path} cannot be read as text in UTF-8; export it again.") from None
