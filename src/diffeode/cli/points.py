"""The command ``diffeode points``: move points and landmarks through a map."""

from __future__ import annotations

import argparse
from typing import Any

from diffeode.cli.arguments import (
    add_orientation,
    add_overwrite,
    add_talk,
    add_transforms,
    path,
    steps_and_rest,
    with_examples,
)
from diffeode.cli.notes import print_notes
from diffeode.desk.delivery import require_apart, require_new

_FRAMES = ("ras", "lps", "voxel")
_EXAMPLES = (
    (
        "landmarks of FIXED, to where they lie in MOVING",
        "diffeode points OUT/warp.nii.gz fixed.fcsv -o in_moving.fcsv",
    ),
    (
        "a surface of FIXED, to where it lies in MOVING",
        "diffeode points OUT/warp.nii.gz lh.pial.surf.gii -o lh_in_moving.surf.gii",
    ),
    (
        "voxel indices of FIXED to voxel indices of MOVING",
        "diffeode points OUT/warp.nii.gz voxels.csv --frame voxel --moving moving.nii.gz "
        "-o in_moving.csv",
    ),
    (
        "pixels (columns x and y) of a fixed picture, to pixels of the moving picture",
        "diffeode points SLICES/warp.nii.gz pixels.csv -o in_moving_picture.csv",
    ),
    (
        "points of MOVING, to where they lie in FIXED",
        "diffeode points OUT/inverse_warp.nii.gz moving.csv --frame lps -o in_fixed.csv",
    ),
)


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    points = commands.add_parser(
        "points",
        help="move points and landmarks through a map",
        usage="diffeode points WARP POINTS -o FILE [options]\n       "
        "diffeode points POINTS -t TRANSFORM [-t ...] -o FILE [options]",
        description="Move points. Points go from FIXED to MOVING through OUT/warp.nii.gz, which is "
        "the way opposite to that of images; points of MOVING go to FIXED through "
        "OUT/inverse_warp.nii.gz. POINTS is a table (.csv, .tsv) with columns x, y and z, whose "
        "other columns are kept, landmarks of 3-D Slicer (.fcsv, .mrk.json), or a surface in GIFTI "
        "(.gii), whose vertices are moved. A table with x and "
        "y alone holds pixels of a slice: column and row of a picture, 0 is the centre of the "
        "first pixel. Points outside of the map are named and refused.",
        **with_examples(*_EXAMPLES),
    )
    points.add_argument(
        "files",
        type=path,
        nargs="+",
        metavar="FILE",
        help="WARP, a transform such as OUT/warp.nii.gz, and the points. With --transform, "
        "the points alone",
    )
    points.add_argument(
        "-o",
        "--output",
        type=path,
        required=True,
        metavar="FILE",
        help="the file to write: .csv, .tsv, .fcsv, .mrk.json, or .gii where the points are a "
        "surface",
    )
    add_transforms(points)
    _add_frames(points)
    add_overwrite(points)
    add_talk(points)
    add_orientation(points)
    points.set_defaults(command=_points)


def _add_frames(points: argparse.ArgumentParser) -> None:
    """Add the frames of the points and of the results."""
    points.add_argument(
        "--frame",
        choices=_FRAMES,
        help="the frame of the numbers in a table: ras or lps (mm), or voxel (indices in the grid "
        "of the fixed scan, 0 is the centre of the first voxel); default: ras, and voxel where a "
        "table has x and y alone, for which lps means mm in the plane. Files of 3-D Slicer say "
        "theirs; for a surface, ras means that its numbers are RAS mm as they are stored",
    )
    points.add_argument(
        "--output-frame",
        choices=_FRAMES,
        help="the frame of the results in a table (default: that of the points, and ras for a "
        "table of the points of a file of 3-D Slicer)",
    )
    points.add_argument(
        "--fixed",
        type=path,
        metavar="SCAN",
        help="the scan whose voxel indices the points are, or the slice in whose plane they lie "
        "(default: the map's grid)",
    )
    points.add_argument(
        "--moving",
        type=path,
        metavar="SCAN",
        help="the scan whose voxel indices the results are to be, or the slice in whose plane they "
        "are to lie (default for slices: the one that the map was made for)",
    )
    points.add_argument(
        "--allow-outside",
        action="store_true",
        help="move points beyond the grid of the map as its border is moved, instead of refusing "
        "them",
    )


def _points(options: argparse.Namespace) -> None:
    from diffeode.desk.landmarks import move_points_file
    from diffeode.desk.transform import load_chain
    from diffeode.files.points import require_name_of_points
    from diffeode.files.series import read_grid_of_series

    steps, (source,) = steps_and_rest(options, "one file of points", count=1)
    require_name_of_points(options.output)
    scans = [options.fixed, options.moving]
    require_apart([options.output], [*(file for file, _ in steps), source, *scans])
    require_new([options.output], options.overwrite)
    grids = [
        None if scan is None else read_grid_of_series(scan, options.orientation) for scan in scans
    ]
    notes = move_points_file(
        load_chain(steps),
        source,
        options.output,
        frame=options.frame,
        output_frame=options.output_frame,
        fixed=grids[0],
        moving=grids[1],
        allow_outside=options.allow_outside,
        steps=steps,
    )
    print_notes(options, notes, [options.output])
