"""What the log of a registration says about a pair: its images, what was found in them, the start.

The log goes to the logger ``diffeode`` of Python's :mod:`logging`; ``--verbose`` shows it. Nothing
here changes a result, and nothing is computed unless the log is read.
"""

from __future__ import annotations

import logging

import nibabel as nib
import numpy as np

from diffeode.desk.inputs import Inputs
from diffeode.evaluation.anatomy import Fit, centre_mm, turned_degrees
from diffeode.geometry.image import Image
from diffeode.geometry.plane import is_slice
from diffeode.geometry.transform import Affine
from diffeode.prepare.brain import stripped_brain_or_none
from diffeode.prepare.choices import ALIGNED_STARTS, STARTS
from diffeode.prepare.side import MaskChoice
from diffeode.prepare.together import Aligned, Side
from diffeode.registration.harness import Result
from diffeode.registration.runs import Run

_LOG = logging.getLogger(__name__)


def log_task(run: Run, inputs: Inputs) -> None:
    """Log the run with its parameters, and both images as they were read."""
    if not _is_read():
        return
    _LOG.info("run %s, method %s, which sets %s", run.name, run.method, run.parameters)
    for image, name in ((inputs.fixed, inputs.fixed_name), (inputs.moving, inputs.moving_name)):
        _LOG.info("%s: %s", name, _described(image))


def log_side(image: Image, name: str, mask: MaskChoice, side: Side) -> None:
    """Log what of ``image`` is background, or what its mask lets count."""
    if not _is_read():
        return
    cut_off = "; the field of view cuts off what it shows" if side.cut_off else ""
    _LOG.info("%s: %s%s", name, _found(image, mask, side), cut_off)


def log_start(start: object, fixed: Side, moving: Side, to_scan: Affine, aligned: Aligned) -> None:
    """Log where the registration starts, and by which margin the start is right where an alignment
    found it.

    Args:
        start: a kind of :data:`diffeode.prepare.choices.STARTS`, or a map of the user's own.
        to_scan: the affine from points of the fixed image to points of the moving one, RAS mm, or
            the one nearest to a start that bends.
    """
    if not _is_read():
        return
    kind = start if start in STARTS else f"given ({type(start).__name__})"
    centre = centre_mm(fixed.image)
    shift, volume = to_scan(centre) - centre, np.linalg.det(to_scan.matrix[:3, :3])
    _LOG.info(
        "start: %s; it moves the centre of the fixed image by %.1f mm, turns by %.1f degrees and "
        "multiplies volumes by %.3f",
        kind,
        np.linalg.norm(shift),
        turned_degrees(to_scan),
        volume,
    )
    if start in ALIGNED_STARTS and not is_slice(fixed.image.grid):
        fit = Fit.of(fixed.image, moving.image)
        margin = fit.margin(to_scan if fit.fixed_is_inner else to_scan.inverse())
        _LOG.info(
            "start: the images match %.2f times as well as when one is turned (its margin)", margin
        )
    if aligned.counts is not None:
        _LOG.info("%s of the voxels of the fixed grid count", _percent(aligned.counts.mean()))


def log_result(result: Result) -> None:
    """Log what the method's work cost, and where the map back comes from."""
    _LOG.info(
        "the method took %.2f s (%.2f s of CPU); peak memory %.0f MB; the map back comes from: %s",
        result.seconds,
        result.cpu_seconds,
        result.peak_memory_mb,
        result.inverse_origin,
    )


def _is_read() -> bool:
    return _LOG.isEnabledFor(logging.INFO)


def _described(image: Image) -> str:
    grid = image.grid
    size, spacing = (" x ".join(f"{n:g}" for n in axis) for axis in (grid.shape, grid.spacing))
    axes = "".join(nib.aff2axcodes(grid.affine))
    values = f"{image.data.min():g} to {image.data.max():g}"
    return f"{size} voxels of {spacing} mm, axes {axes}, values {values}"


def _found(image: Image, mask: MaskChoice, side: Side) -> str:
    background = _percent((side.image.data == 0).mean())
    if isinstance(mask, np.ndarray):
        return f"the mask lets {_percent(mask.mean())} of the voxels count"
    if isinstance(mask, str):
        return "nothing is background, as the mask 'none' says"
    if is_slice(image.grid):
        return f"{background} of the slice were found to be background"
    if stripped_brain_or_none(image) is not None:
        return f"a skull-stripped brain; {background} of the voxels are background"
    if not (side.image.data == 0).any():
        return "no background was found"
    return f"{background} of the voxels were found to be background"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
