"""Points and landmarks at a desk: their files, and moving them through maps."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.desk.delivery import require_new
from diffeode.desk.given import GridLike, grid_of
from diffeode.desk.partner import moving_grid_of
from diffeode.desk.transform import Transform, outside_in_words, require_columns_of_points
from diffeode.errors import InputError
from diffeode.files.points import FRAMES, Points, read_points, says_its_frame, write_points
from diffeode.geometry.maps import mapped_within
from diffeode.geometry.plane import plane_frame, thin_axis, with_axis_last
from diffeode.geometry.space import RAS_TO_LPS, Grid, flip_ras_lps

_AXES = ["x", "y", "z"]
_MM = "RAS mm"
_UNITS = {"voxel": "pixels", "lps": "LPS mm in the plane"}
"""What the coordinates of points of a slice are, by their frame."""
_PICTURE = Grid((2, 2, 1), RAS_TO_LPS)
"""A grid on which the pixels of every picture lie, whatever its size."""
_BESIDE, _ROUNDING = 0.5, 1e-5
"""Largest distance from a plane, in voxels, at which a point counts as lying in it; and largest
difference between two affines that count as one.
"""


def load_points(
    path: str | os.PathLike[str],
    frame: str | None = None,
    scan: GridLike | None = None,
    orientation: str | None = None,
) -> pd.DataFrame:
    """Return named points, columns ``name x y z``, RAS mm.

    Args:
        path: a table (``.csv``, ``.tsv``) with columns ``x``, ``y``, ``z`` and perhaps ``name``, or
            landmarks of 3-D Slicer (``.fcsv``, ``.mrk.json``), or a surface (``.gii``), whose
            points are its vertices. A table without ``z`` holds points of a slice.
        frame: the frame of a table's numbers: ``ras`` or ``lps`` (mm), or ``voxel`` (indices in the
            grid of ``scan``); by default RAS mm, and of points of a slice pixel indices (column and
            row of a picture, 0 is the centre of the first pixel). Slicer's files say their frame
            themselves; of a surface, ``ras`` says that its numbers are RAS mm as they are stored.
        scan: the scan or slice that the points belong to, or its grid; voxel and pixel indices need
            it.
        orientation: the orientation of a file of ``scan`` whose header does not tell it: ``sform``,
            ``qform`` or three letters such as ``RAS``.

    Raises:
        InputError: the file is missing or unreadable, a coordinate is no finite number, or indices
            are given without a scan.
    """
    points = read_points(path, frame)
    if points.is_flat and scan is None:
        raise InputError(
            f"{os.fspath(path)} has no column 'z', so it holds points of a slice; give that slice, "
            "too (scan)."
        )
    needs_grid = points.is_flat or points.frame == "voxel"
    grid = None
    if needs_grid and scan is not None:
        grid = grid_of(scan, "the scan", orientation)
    coordinates = in_ras_mm(points, grid, os.fspath(path))
    columns = dict(zip(_AXES, coordinates.T, strict=True))
    return pd.DataFrame({"name": points.names, **columns})


def save_points(
    path: str | os.PathLike[str],
    points: pd.DataFrame,
    frame: str = "ras",
    scan: GridLike | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Write ``points``, columns ``name x y z`` in RAS mm, to a table or to a file of 3-D Slicer.

    Args:
        frame: ``ras`` or ``lps``, the frame of a table's numbers; or ``voxel``, indices in the grid
            of ``scan``, two of them where that is a slice. Slicer's files are LPS mm.
        scan: the scan or slice that the points belong to, or its grid.
        overwrite: whether a file of that name is replaced.

    Raises:
        InputError: there is no such frame or it lacks its scan, the file exists and may not be
            replaced, or it cannot be written.
    """
    require_new([Path(path)], overwrite, "overwrite=True")
    if frame not in FRAMES or (frame == "voxel" and scan is None):
        raise InputError(
            f"Points cannot be written in the frame {frame!r}; choose ras or lps, or voxel and "
            "the scan."
        )
    require_columns_of_points(points, ["name", *_AXES])
    named = Points(tuple(map(str, points["name"])), points[_AXES].to_numpy(dtype=np.float64))
    if frame != "voxel" or scan is None:
        write_points(path, named.in_mm(frame))
        return
    grid = grid_of(scan, "the scan")
    indices = grid.to_voxel(named.coordinates)
    if thin_axis(grid.shape) is not None:
        indices = _in_slice(named.coordinates, grid, "voxel", "the points")
    write_points(path, named.placed(indices, "voxel"))


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
        fixed: the grid whose voxel indices the points are, where they are such, or the slice in
            whose plane they lie; by default that of the map.
        moving: the grid whose voxel indices the results are to be, where they are to be such, or
            the slice in whose plane they are to be; by default, of maps between pictures, that of a
            picture.
        frame: the frame of the results; by default that of the points.
        allow_outside: whether points beyond the grid of the map are moved as the nearest border
            voxel is, instead of refused.

    Raises:
        InputError: a point lies outside; a grid is missing or is that of no slice; or there is no
            such frame.
    """
    frame = frame or points.frame
    notes: list[str] = []
    if frame not in FRAMES:
        raise InputError(f"There is no frame {frame!r}; choose one of {', '.join(FRAMES)}.")
    if points.is_flat:
        if frame == "ras":
            raise InputError(
                "Results with two coordinates are pixel indices (voxel) or plane coordinates "
                "(lps); choose one of these frames."
            )
        fixed, moving, notes = _slices_of(transform, fixed, moving)
    if frame == "voxel" and moving is None:
        raise InputError(
            "The results are to be voxel indices of the moving scan; give that scan by --moving, "
            "or choose ras or lps as their frame."
        )
    start = in_ras_mm(points, fixed or transform.grid)
    moved, unknown = mapped_within(transform.mapping, start)
    if unknown.any():
        shown, unit = (points.coordinates, _UNITS[points.frame]) if points.is_flat else (start, _MM)
        said = outside_in_words(transform.name, shown, unknown, points.names, unit)
        if not allow_outside:
            raise InputError(f"{said} (--allow-outside).")
        notes.append(f"{said.partition(';')[0]}; they were moved as its border is")
    if points.is_flat and moving is not None:
        moved = _in_slice(moved, moving, frame, transform.name)
    elif frame == "voxel" and moving is not None:
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
    steps: Sequence[tuple[Path, bool]] = (),
) -> list[str]:
    """Move the points of a file through ``transform`` and write them to ``out``.

    Args:
        frame: the frame of the points in ``source``, where the file does not say it.
        output_frame: the frame of the results; by default that of the points, and RAS mm for a
            table of the points of a file of 3-D Slicer, because tables are read so.
        fixed, moving, allow_outside: as for :func:`moved_points`.
        steps: the files of the transforms that the points pass, each with whether its inverse is
            meant. Beside the map of a registration lies the map back, which tells the grid of the
            slice to which it leads.

    Returns:
        Sentences that the user should read.

    Raises:
        InputError: a file is unusable or a point lies outside; nothing is written.
    """
    points = read_points(source, frame)
    grid = fixed or transform.grid
    if points.is_flat and grid is not None and thin_axis(grid.shape) is None:
        raise InputError(
            f"{source} has no column 'z', so it holds points of a slice, but {transform.name} is a "
            "map of volumes; give x, y and z."
        )
    if points.is_flat and steps:
        (first, is_inverse), last = steps[0], steps[-1]
        moving = moving or moving_grid_of(*last)
        if grid is None and is_inverse:
            fixed = moving_grid_of(first, inverted=False)
    moved, notes = moved_points(
        transform,
        points,
        fixed=fixed,
        moving=moving,
        frame=output_frame or _frame_of_results(points, source, out),
        allow_outside=allow_outside,
    )
    write_points(out, moved)
    return notes


def _frame_of_results(points: Points, source: Path, out: Path) -> str:
    return "ras" if says_its_frame(source) and not says_its_frame(out) else points.frame


def in_ras_mm(points: Points, grid: Grid | None, name: str = "The file of points") -> np.ndarray:
    """Return the coordinates of ``points``, ``(N, 3)`` RAS mm.

    Args:
        grid: the grid of the scan or slice that they belong to; points in mm need none.
        name: what messages call the points.

    Raises:
        InputError: the grid is missing, or points of a slice are to lie on the grid of a volume.
    """
    if points.frame != "voxel" and not points.is_flat:
        return points.in_mm("ras").coordinates
    if grid is None:
        raise InputError(
            "The points are voxel indices of the fixed scan; give that scan by --fixed, because "
            "the transform lies on no grid."
        )
    if not points.is_flat:
        return grid.to_world(points.coordinates)
    axis = thin_axis(grid.shape)
    if axis is None:
        raise InputError(
            f"{name} has no column 'z', so it holds points of a slice, but the scan is a volume; "
            "give x, y and z."
        )
    if points.frame == "voxel":
        return grid.to_world(np.insert(points.coordinates, axis, 0.0, axis=1))
    in_plane = np.insert(points.coordinates, 2, 0.0, axis=1)
    return plane_frame(with_axis_last(grid, axis))(in_plane)


def _in_slice(points_mm: np.ndarray, grid: Grid, frame: str, name: str) -> np.ndarray:
    """Return points ``(N, 3)``, RAS mm, as coordinates ``(N, 2)`` in the plane of the slice on
    ``grid``.

    Raises:
        InputError: the grid is that of a volume, or the points lie beside the plane.
    """
    axis = thin_axis(grid.shape)
    indices = grid.to_voxel(points_mm)
    if axis is None or np.abs(indices[:, axis]).max() > _BESIDE:
        raise InputError(
            f"{name} does not lead into the plane of the moving scan, so the results have no two "
            "coordinates there; give the slice that the map was made for (--moving)."
        )
    if frame == "voxel":
        return np.delete(indices, axis, axis=1)
    return plane_frame(with_axis_last(grid, axis)).inverse()(points_mm)[:, :2]


def _slices_of(
    transform: Transform, fixed: Grid | None, moving: Grid | None
) -> tuple[Grid, Grid, list[str]]:
    """Return the grids of the slices between which ``transform`` leads, and a note where that of
    the moving slice is only assumed.

    Raises:
        InputError: they are not known.
    """
    fixed = fixed or transform.grid or (_PICTURE if transform.flat else None)
    if fixed is None:
        raise InputError(
            "The points lie in the plane of a slice, but the map lies on no grid; give that slice "
            "by --fixed."
        )
    if moving is not None:
        return fixed, moving, []
    is_picture = np.abs(fixed.affine - _PICTURE.affine).max() < _ROUNDING
    if not (transform.flat and is_picture):
        raise InputError(
            "The results are to lie in the plane of the moving slice, which is not known; give "
            "that slice by --moving."
        )
    return (
        fixed,
        _PICTURE,
        [
            "the moving slice counts as a picture, whose pixels are column and row; give --moving "
            "if it is none"
        ],
    )
