"""The command ``diffeode convert``: write a transform for another program."""

from __future__ import annotations

import argparse
from typing import Any

from diffeode.cli.arguments import (
    add_orientation,
    add_overwrite,
    add_talk,
    path,
    with_examples,
)
from diffeode.cli.notes import print_notes
from diffeode.desk.delivery import require_apart, require_new

_SOURCES = ("itk", "ras", "fsl", "freesurfer", "afni", "x5")
_TARGETS = ("itk", "fsl", "afni", "freesurfer", "x5")


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    convert = commands.add_parser(
        "convert",
        help="write a transform for ITK, ANTs, FSL, AFNI or FreeSurfer",
        description="Write TRANSFORM, which sends points of the fixed scan to points of the moving "
        "scan, in another format. ITK and ANTs: a displacement field (.nii.gz), an affine (.txt, "
        ".tfm, .mat), or either (.h5). FSL: a matrix of FLIRT (.mat) or a field of displacements "
        "for 'applywarp --rel' (.nii.gz). FreeSurfer: an affine (.lta). These lead between the "
        "voxels of two images, so both scans must be given. AFNI: a matrix of 3dAllineate "
        "(.aff12.1D) or a warp for 3dNwarpApply (.nii.gz); no scan may be oblique. X5: either "
        "(.x5), where the package nitransforms is installed.",
        **with_examples(
            (
                "a field for FSL's applywarp --rel",
                "diffeode convert OUT/warp.nii.gz --to fsl --fixed fixed.nii.gz --moving "
                "moving.nii.gz -o fsl_warp.nii.gz",
            ),
            (
                "a matrix of FLIRT for ANTs",
                "diffeode convert flirt.mat --from fsl --fixed fixed.nii.gz --moving "
                "moving.nii.gz -o affine.txt",
            ),
            ("a field in ITK's HDF5", "diffeode convert OUT/warp.nii.gz -o warp.h5"),
            (
                "a warp for AFNI's 3dNwarpApply",
                "diffeode convert OUT/warp.nii.gz --to afni -o afni_warp.nii.gz",
            ),
            (
                "an affine for FreeSurfer",
                "diffeode convert affine.txt --to freesurfer --fixed fixed.nii.gz --moving "
                "moving.nii.gz -o affine.lta",
            ),
        ),
    )
    convert.add_argument(
        "transform", type=path, metavar="TRANSFORM", help="a displacement field or an affine"
    )
    convert.add_argument(
        "-o", "--output", type=path, required=True, metavar="FILE", help="the file to write"
    )
    convert.add_argument(
        "--from",
        dest="source",
        choices=_SOURCES,
        help="the format of TRANSFORM: itk (ITK, ANTs and this program), ras (a matrix of text, "
        "fixed to moving, RAS mm), fsl (a matrix of FLIRT, or a field of displacements), "
        "freesurfer (an .lta), afni (an .aff12.1D, or a warp of 3dQwarp) or x5 (an .x5, read by "
        "nitransforms); default: itk",
    )
    convert.add_argument(
        "--to",
        choices=_TARGETS,
        default="itk",
        help="the format to write (default: %(default)s)",
    )
    convert.add_argument(
        "--fixed",
        type=path,
        metavar="SCAN",
        help="the fixed scan (FLIRT: -ref), on whose grid a field lies (default: the map's grid)",
    )
    convert.add_argument(
        "--moving",
        type=path,
        metavar="SCAN",
        help="the moving scan (FLIRT: -in), for FSL and FreeSurfer",
    )
    add_overwrite(convert)
    add_talk(convert)
    add_orientation(convert)
    convert.set_defaults(command=_convert)


def _convert(options: argparse.Namespace) -> None:
    from diffeode.desk.converting import (
        read_in_format,
        require_not_exchanged,
        write_in_format,
    )
    from diffeode.files.series import read_grid_of_series

    scans = [options.fixed, options.moving]
    require_apart([options.output], [options.transform, *scans])
    require_new([options.output], options.overwrite)
    fixed, moving = [
        None if scan is None else read_grid_of_series(scan, options.orientation) for scan in scans
    ]
    transform = read_in_format(options.transform, options.source, fixed, moving)
    require_not_exchanged(transform, fixed, moving)
    notes = write_in_format(options.output, options.to, transform, fixed, moving)
    print_notes(options, notes, [options.output])
