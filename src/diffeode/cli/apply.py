"""The command ``diffeode apply``: resample scans, label maps and pictures through a map found
before.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffeode.cli.arguments import (
    NIFTI,
    add_orientation,
    add_overwrite,
    add_talk,
    add_transforms,
    path,
    steps_and_rest,
    with_examples,
)
from diffeode.cli.notes import print_notes
from diffeode.desk.delivery import delivered_whole, require_apart, require_new
from diffeode.errors import InputError

if TYPE_CHECKING:
    from diffeode.desk.resampling import Resampled

_INTERPOLATIONS = ("linear", "nearest", "spline", "label-aware")
_IMAGES = (*NIFTI, ".mgz", ".mgh")
_EXAMPLES = (
    ("a scan", "diffeode apply OUT/warp.nii.gz moving.nii.gz -o warped.nii.gz"),
    (
        "a scan and its label map, to a folder",
        "diffeode apply OUT/warp.nii.gz moving.nii.gz moving_dseg.nii.gz -o WARPED",
    ),
    (
        "the way back by the inverse of the map",
        "diffeode apply fixed.nii.gz -t '[OUT/warp.nii.gz,inverse]' --reference "
        "moving.nii.gz -o back.nii.gz",
    ),
    (
        "a picture in its own colours, through a map of slices",
        "diffeode apply SLICES/warp.nii.gz moving.png -o warped.png",
    ),
    (
        "from the fixed scan to a template and on to the moving scan, resampled once",
        "diffeode apply moving.nii.gz -t fixed_to_template.txt -t "
        "template_to_moving.nii.gz --reference fixed.nii.gz -o warped.nii.gz",
    ),
)


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    apply = commands.add_parser(
        "apply",
        help="resample scans, label maps and pictures through a map found before",
        usage="diffeode apply WARP MOVING [MOVING ...] -o FILE|FOLDER [options]\n       "
        "diffeode apply MOVING [MOVING ...] -t TRANSFORM [-t ...] -o FILE|FOLDER [options]",
        description="Resample images in the space of the moving scan onto the grid of the fixed "
        "scan, once each. A map sends points of the fixed scan to points of the moving scan: "
        "OUT/warp.nii.gz brings images of MOVING to FIXED, OUT/inverse_warp.nii.gz images of FIXED "
        "to MOVING. Pictures (PNG, JPEG, TIFF) go through maps of slices in their own colours.",
        **with_examples(*_EXAMPLES),
    )
    apply.add_argument(
        "files",
        type=path,
        nargs="+",
        metavar="FILE",
        help="WARP, a transform such as OUT/warp.nii.gz, and the images to resample: scans, label "
        "maps, pictures, 4-D series, or images of vectors, which are not turned. With "
        "--transform, all are images",
    )
    apply.add_argument(
        "-o",
        "--output",
        type=path,
        required=True,
        metavar="FILE|FOLDER",
        help="the file to write: NIfTI, or PNG, JPEG or TIFF for a picture; for several images a "
        "folder, where each keeps its name",
    )
    add_transforms(apply)
    apply.add_argument(
        "--reference",
        type=path,
        metavar="FIXED",
        help="put the results on the grid of this scan instead of the map's grid",
    )
    _add_values(apply)
    apply.add_argument(
        "--other-scan",
        action="store_true",
        help="MOVING may lie in another place than the scan that the map was made for",
    )
    add_overwrite(apply)
    add_talk(apply)
    add_orientation(apply)
    apply.set_defaults(command=_apply)


def _add_values(apply: argparse.ArgumentParser) -> None:
    """Add how the values of the results are made."""
    labels = apply.add_mutually_exclusive_group()
    labels.add_argument(
        "--labels",
        action="store_true",
        default=None,
        help="the images are label maps, so resample them by nearest neighbour; without this "
        "option label maps are recognised by their values",
    )
    labels.add_argument(
        "--no-labels", dest="labels", action="store_false", help="the images are scans"
    )
    apply.add_argument(
        "--interpolation",
        choices=_INTERPOLATIONS,
        help="how values between voxels are made (default: nearest for label maps, else linear); "
        "label-aware takes the label whose linear weights have the largest sum",
    )
    apply.add_argument(
        "--background",
        type=float,
        metavar="VALUE",
        help="value where the map leads out of the image (default: 0; of a picture, the colour of "
        "its background)",
    )


def _apply(options: argparse.Namespace) -> None:
    from diffeode.desk.applying import How, apply_at_desk, require_scan_of_map
    from diffeode.desk.transform import load_chain

    steps, images = steps_and_rest(options, "the images to resample")
    names = _names_of_results(options.output, images)
    one_file = options.output.name in names.values() and not options.output.is_dir()
    folder = options.output.parent if one_file else options.output
    results = [folder / name for name in names.values()]
    require_apart(results, [*(file for file, _ in steps), *images, options.reference])
    require_new(results, options.overwrite)
    how = How(options.interpolation, options.labels, options.background)
    transform = load_chain(steps)
    if not options.other_scan:
        for image in images:
            require_scan_of_map(*steps[-1], image, options.orientation)
    with delivered_whole(folder, tuple(names.values())) as staging:
        notes = apply_at_desk(
            transform,
            images,
            lambda image, result: _write(staging / names[image], result),
            reference=options.reference,
            how=how,
            orientation=options.orientation,
        )
    print_notes(options, notes, results)


def _write(path: Path, result: Resampled) -> None:
    from diffeode.files.io import save_nifti
    from diffeode.files.pictures import is_picture, write_picture

    if is_picture(path):
        write_picture(path, result.picture)
    else:
        save_nifti(path, result.nifti)


def _names_of_results(output: Path, images: list[Path]) -> dict[Path, str]:
    """Return the name of the result of each image.

    Raises:
        InputError: ``output`` is no name for them, or two images have the same name.
    """
    from diffeode.files.pictures import is_picture

    is_file = (output.name.endswith(NIFTI) or is_picture(output)) and not output.is_dir()
    if len(images) == 1 and not output.is_dir():
        if not is_file:
            raise InputError(
                f"{output} is no name for a NIfTI file; end it in .nii.gz (or, for a picture, in "
                ".png, .jpg or .tif)."
            )
        if is_picture(output) and not is_picture(images[0]):
            raise InputError(
                f"{output} is a name for a picture, but {images[0]} is none; end it in .nii.gz."
            )
        return {images[0]: output.name}
    if is_file:
        raise InputError(
            f"{output} is one file, but there are {len(images)} images; give a folder with -o."
        )
    names = {
        image: image.name if is_picture(image) else f"{_stem(image)}.nii.gz" for image in images
    }
    if len(set(names.values())) < len(images):
        raise InputError(
            "Two of the images have the same name, so their results would, too; resample them by "
            "two commands."
        )
    return names


def _stem(image: Path) -> str:
    suffix = next((suffix for suffix in _IMAGES if image.name.endswith(suffix)), "")
    return image.name.removesuffix(suffix)
