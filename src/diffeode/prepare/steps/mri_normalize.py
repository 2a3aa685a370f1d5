"""FreeSurfer's ``mri_normalize``, which brings the white matter of a T1w to 110."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.prepare.freesurfer import CITATION, read_result_image, workplace
from diffeode.prepare.step_tool import Resources, StepTool
from diffeode.programs.tools import MRI_NORMALIZE, Limits, run

_SEED = 1234
_BRIGHTEST = 99.9
_EIGHT_BITS = 255


def normalise(image: Image, brain: np.ndarray | None, modality: str, resources: Resources) -> Image:
    """Return ``image`` with its white matter at 110, by ``mri_normalize`` with the settings of
    ``recon-all``.

    As in ``recon-all``, the tool gets the scan in 8 bits. It takes the brightest tissue for white
    matter, and only T1w scans are announced to it as such (``-mprage``). What it makes of other
    contrasts has not been checked.

    Args:
        brain: ``(X, Y, Z)`` bool; all voxels outside become 0. None keeps the whole head.
        modality: the BIDS suffix, ``T1w`` or another.

    Raises:
        InputError: the tool or FreeSurfer's licence is not here, or no voxel is above 0.
        ToolError: the tool failed or wrote nothing usable.
    """
    from diffeode.programs.interfaces.freesurfer import Normalise

    with workplace(image, _write_eight_bits) as (scan, result):
        masked = {} if brain is None else {"mask": _write_mask(scan.parent, brain, image.grid)}
        contrast = {"mprage": True} if modality == "T1w" else {}
        command = Normalise(
            in_file=scan, out_file=result, gradient=1, seed=_SEED, native=True, **contrast, **masked
        )
        run(
            MRI_NORMALIZE,
            command,
            [result],
            "Intensity normalisation by FreeSurfer",
            Limits(resources.threads),
        )
        return read_result_image(MRI_NORMALIZE, result, image.grid)


def _write_mask(folder: Path, mask: np.ndarray, grid: Grid) -> Path:
    io.write_labels(folder / "mask.nii.gz", Labels(mask, grid))
    return folder / "mask.nii.gz"


def _write_eight_bits(path: Path, image: Image) -> None:
    """Write ``image`` in whole numbers from 0 to 255; the 99.9th percentile of its voxels above 0
    becomes 255.
    """
    above = image.data[image.data > 0]
    if not above.size:
        raise InputError("The scan has no intensity above 0, so there is nothing to normalise.")
    scaled = np.clip(image.data / np.percentile(above, _BRIGHTEST), 0, 1) * _EIGHT_BITS
    nib.save(nib.Nifti1Image(np.rint(scaled).astype(np.uint8), image.grid.affine), path)


TOOL = StepTool(
    step="intensity",
    name="freesurfer",
    clause="T1w are normalised by mri_normalize of FreeSurfer",
    function=normalise,
    corrects=True,
    whole_head=True,
    then="robust",
    program=MRI_NORMALIZE,
    citations=(CITATION,),
    modalities=("T1w",),
)
