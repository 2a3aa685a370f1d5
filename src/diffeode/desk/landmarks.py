"""Points and landmarks at a desk: their files, and moving them through maps."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.desk.transform import Transform, outside_in_words, require_columns_of_points
from diffeode.errors import InputError
from diffeode.files.points import FRAMES, Points, read_points, write_points
from diffeode.geometry.maps import mapped_within
from diffeode.geometry.space import Grid, flip_ras_lps

_AXES = ["x", "y", "z"]


def load_points(path: str | os.PathLike[str], frame: str | None = None) -> pd.DataFrame:
    """Return named points, columns ``name x y z``, RAS mm.

    Args:
        path: a table (``.csv``, ``.tsv``) with columns ``x``, ``y``, ``z`` and perhaps ``name``, or
            landmarks of 3-D Slicer (``.fcsv``, ``.mrk.json``).
        frame: ``ras`` or ``lps``, the frame of a table's numbers; RAS mm by default. Slicer's files
            say their frame themselves.

    Raises:
        InputError: the file is missing or unreadable, or a coordinate is no finite number.
    """
    points = read_points(path, frame).in_mm("ras")
    columns = dict(zip(_AXES, points.coordinates.T, strict=True))
    return pd.DataFrame({"name": points.names, **columns})


def save_points(path: str | os.PathLike[str], points: pd.DataFrame, frame: str = "ras") -> None:
    """Write ``points``, columns ``name x y z`` in RAS mm, to a file of any kind that
    :func:`load_points` reads.

    Args:
        frame: ``ras`` or ``lps``, the frame of a table's numbers. Slicer's files are LPS mm.

    Raises:
        InputError: the file cannot be written.
    """
    if frame not in ("ras", "lps"):
        raise InputError(f"Points cannot be written in the frame {frame!r}; choose ras or lps.")
    require_columns_of_points(points, ["name", *_AXES])
    named = Points(tuple(map(str, points["name"])), points[_AXES].to_numpy(dtype=np.float64))
    write_points(path, named.in_mm(frame))


def moved_points(
    transform: Transform,
    points: Points,
    *,
    fixed: Grid | None = None,
    moving: Grid | None = None,
    frame: str | None = None,
    allow_outside: bool = False,
) -> tuple[Points, list[str]]:
    """Return where ``transform`` sends points of the fixed scan, and notes for the user.

    Args:
        fixed: the grid whose voxel indices the points are, where they are such; by default that of
            the map.
        moving: the grid whose voxel indices the results are to be, where they are to be such.
        frame: the frame of the results; by default that of the points.
        allow_outside: whether points beyond the grid of the map are moved as the nearest border
            voxel is, instead of refused.

    Raises:
        InputError: a point lies outside; a grid is missing; or there is no such frame.
    """
    frame = frame or points.frame
    if frame not in FRAMES:
        raise InputError(f"There is no frame {frame!r}; choose one of {', '.join(FRAMES)}.")
    if frame == "voxel" and moving is None:
        raise InputError(
            "The results are to be voxel indices of the moving scan; give that scan by --moving, "
            "or choose ras or lps as their frame."
        )
    start = _in_ras_mm(points, fixed or transform.grid)
    moved, unknown = mapped_within(transform.mapping, start)
    notes = []
    if unknown.any():
        said = outside_in_words(transform.name, start, unknown, points.names)
        if not allow_outside:
            raise InputError(f"{said} (--allow-outside).")
        notes.append(f"{said.partition(';')[0]}; they were moved as its border is")
    if frame == "voxel" and moving is not None:
        moved = moving.to_voxel(moved)
    elif frame == "lps":
        moved = flip_ras_lps(moved)
    return points.placed(moved, frame), notes


def move_points_file(
    transform: Transform,
    source: Path,
    out: Path,
    *,
    frame: str | None = None,
    output_frame: str | None = None,
    fixed: Grid | None = None,
    moving: Grid | None = None,
    allow_outside: bool = False,
) -> list[str]:
    """Move the points of a file through ``transform`` and write them to ``out``.

    Args:
        frame: the frame of the points in ``source``, where the file does not say it.
        output_frame: the frame of the results; by default that of the points.
        fixed, moving, allow_outside: as for :func:`moved_points`.

    Returns:
        Sentences that the user should read.

    Raises:
        InputError: a file is unusable or a point lies outside; nothing is written.
    """
    points = read_points(source, frame)
    moved, notes = moved_points(
        transform,
        points,
        fixed=fixed,
        moving=moving,
        frame=output_frame,
        allow_outside=allow_outside,
    )
    write_points(out, moved)
    return notes


def _in_ras_mm(points: Points, grid: Grid | None) -> np.ndarray:
    if points.frame != "voxel":
        return points.in_mm("ras").coordinates
    if grid is None:
        raise InputError(
            "The points are voxel indices of the fixed scan; give that scan by --fixed, because "
            "the transform lies on no grid."
        )
    return grid.to_world(points.coordinates)
