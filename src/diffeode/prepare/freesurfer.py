"""FreeSurfer's steps from a raw scan on: bias field, intensities, brain, labels. Each keeps the scan's own grid."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
import numpy as np

from diffeode import io
from diffeode.errors import InputError, ToolError
from diffeode.image import Image, Labels
from diffeode.space import Grid
from diffeode.tools import (
    MRI_NORMALIZE,
    MRI_NU_CORRECT,
    MRI_SYNTHSEG,
    MRI_SYNTHSTRIP,
    Limits,
    Tool,
    output_of,
    run,
)

SYNTHSEG_LABELS = (
    *(2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 26, 28),
    *(41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60),
)
"""The 32 structures of SynthSeg 2.0, FreeSurfer's numbers; ``config/labels/synthseg.tsv`` names them."""

_GRID_TOLERANCE_MM = 0.01
_SEED = 1234
_BRIGHTEST = 99.9
_EIGHT_BITS = 255


def nu_correct(image: Image, limits: Limits) -> Image:
    """``image`` without its bias field: N3 by ``mri_nu_correct.mni``, with the settings of ``recon-all``.

    One run of 1000 iterations with splines 50 mm apart, not rescaled (Sled et al., IEEE TMI 17(1), 1998).
    ``--cm`` keeps the scan's grid; the tool still computes at the smallest voxel size and interpolates there and back.

    Raises:
        InputError: the tool or FreeSurfer's licence is not here.
        ToolError: it failed, ran out of time or wrote nothing usable.
    """
    from diffeode.interfaces.freesurfer import NuCorrect

    with _workplace(image) as (scan, result):
        command = NuCorrect(
            in_file=scan,
            out_file=result,
            iterations=1,
            protocol_iterations=1000,
            distance=50,
            no_rescale=True,
            native=True,
        )
        run(MRI_NU_CORRECT, command, [result], "Bias correction by FreeSurfer", limits)
        return _read_image(MRI_NU_CORRECT, result, image.grid)


def normalise(image: Image, modality: str, limits: Limits, mask: np.ndarray | None = None) -> Image:
    """``image`` with white matter at 110: ``mri_normalize``, with the settings of ``recon-all``, in 8 bits as there.

    The tool looks for white matter as the brightest tissue. Only T1w scans are announced as such (``-mprage``); what it
    makes of another contrast nobody has checked here.

    Args:
        modality: the BIDS suffix, ``T1w`` or another.
        mask: the brain, ``(X, Y, Z)`` bool, outside which all becomes 0; None to keep the whole head.

    Raises:
        InputError: the tool or FreeSurfer's licence is not here, or the scan has nothing above 0.
        ToolError: it failed, ran out of time or wrote nothing usable.
    """
    from diffeode.interfaces.freesurfer import Normalise

    with _workplace(image, _write_eight_bits) as (scan, result):
        masked = {} if mask is None else {"mask": _write_mask(scan.parent, mask, image.grid)}
        contrast = {"mprage": True} if modality == "T1w" else {}
        command = Normalise(in_file=scan, out_file=result, gradient=1, seed=_SEED, native=True, **contrast, **masked)
        run(MRI_NORMALIZE, command, [result], "Intensity normalisation by FreeSurfer", limits)
        return _read_image(MRI_NORMALIZE, result, image.grid)


def synthstrip_mask(image: Image, name: str, limits: Limits) -> np.ndarray:
    """The brain in a whole head of any contrast, ``(X, Y, Z)`` bool: ``mri_synthstrip``.

    Hoopes et al., NeuroImage 260, 2022.

    Args:
        name: what messages call the scan.

    Raises:
        InputError: the tool is not here, or it finds no brain.
        ToolError: it failed, ran out of time or wrote nothing usable.
    """
    from diffeode.interfaces.freesurfer import SynthStrip

    with _workplace(image) as (scan, result):
        command = SynthStrip(in_file=scan, mask_file=result)
        run(MRI_SYNTHSTRIP, command, [result], "Skull stripping by SynthStrip", limits)
        mask = _read_labels(MRI_SYNTHSTRIP, result, image.grid).data > 0
    if not mask.any():
        raise InputError(f"SynthStrip found no brain in {name}; check that it is a scan of a head.")
    return mask


def synthseg_labels(image: Image, name: str, limits: Limits) -> Labels:
    """The 32 structures of SynthSeg 2.0 in a scan of any contrast: ``mri_synthseg`` on the CPU.

    Billot et al., Medical Image Analysis 86, 2023. The tool segments at 1 mm and brings its labels back itself.

    Args:
        name: what messages call the scan.

    Raises:
        InputError: the tool is not here, or it finds no structure.
        ToolError: it failed, ran out of time, or wrote nothing usable or labels that SynthSeg 2.0 does not have.
    """
    from diffeode.interfaces.freesurfer import SynthSeg

    with _workplace(image) as (scan, result):
        command = SynthSeg(in_file=scan, out_file=result, keep_geometry=True, threads=limits.threads, cpu=True)
        run(MRI_SYNTHSEG, command, [result], "Segmentation by SynthSeg", limits)
        labels = _read_labels(MRI_SYNTHSEG, result, image.grid)
    unknown = sorted(set(np.unique(labels.data).tolist()) - {0, *SYNTHSEG_LABELS})
    if unknown:
        raise ToolError(f"{MRI_SYNTHSEG} wrote labels that SynthSeg 2.0 does not have ({unknown[:5]}).")
    if not labels.data.any():
        raise InputError(f"SynthSeg found no structure in {name}; check that it is a scan of a head.")
    return labels


# ------------------------------------------------------------------------------------------------ files


@contextmanager
def _workplace(image: Image, write: Callable[[Path, Image], None] = io.write_image) -> Iterator[tuple[Path, Path]]:
    """Paths of ``image``, written, and of a result to be, in a folder that vanishes with the block."""
    with tempfile.TemporaryDirectory(prefix="diffeode-freesurfer-") as folder:
        scan = Path(folder) / "scan.nii.gz"
        write(scan, image)
        yield scan, Path(folder) / "result.nii.gz"


def _write_mask(folder: Path, mask: np.ndarray, grid: Grid) -> Path:
    io.write_labels(folder / "mask.nii.gz", Labels(mask, grid))
    return folder / "mask.nii.gz"


def _write_eight_bits(path: Path, image: Image) -> None:
    """``image`` in whole numbers from 0 to 255, where the 99.9th percentile of what is above 0 lies."""
    above = image.data[image.data > 0]
    if not above.size:
        raise InputError("The scan has no intensity above 0, so there is nothing to normalise.")
    scaled = np.clip(image.data / np.percentile(above, _BRIGHTEST), 0, 1) * _EIGHT_BITS
    nib.save(nib.Nifti1Image(np.rint(scaled).astype(np.uint8), image.grid.affine), path)


def _read_image(tool: Tool, path: Path, grid: Grid) -> Image:
    with output_of(tool, path):
        found = io.read_image(path)
    return Image(found.data, _own_grid(tool, found.grid, grid))


def _read_labels(tool: Tool, path: Path, grid: Grid) -> Labels:
    with output_of(tool, path):
        found = io.read_labels(path)
    return Labels(found.data, _own_grid(tool, found.grid, grid))


def _own_grid(tool: Tool, found: Grid, expected: Grid) -> Grid:
    """The scan's own grid, where the one of the result is the same up to single precision."""
    if not found.matches(expected, _GRID_TOLERANCE_MM):
        raise ToolError(
            f"{tool} wrote its result on another grid ({found.shape} instead of {expected.shape} voxels, or elsewhere "
            "in space)."
        )
    return expected
