"""The MeshNet mindgrab (arXiv 2506.11860), which finds the brain in a head of any contrast."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image
from diffeode.prepare.architecture import Architecture
from diffeode.prepare.conform import conform, mask_back
from diffeode.prepare.occupied import occupied_box
from diffeode.prepare.step_tool import Progress, Resources, StepTool, naming, silent
from diffeode.weights.catalogue import find_weights

ARCHITECTURE = Architecture(
    channels=15, classes=2, dilations=(16, 8, 4, 2, 1) * 5, normalised=True, activation="gelu"
)
"""The network has 146 237 trained parameters. The class of a voxel depends on 155 voxels to each
side and, by way of the normalisation, on all voxels.
"""

_WEIGHTS = "meshnet-mindgrab"
_QUANTILES = (0.02, 0.98)
_MARGIN = 8
"""Voxels around the head that are computed as the head is; what lies beyond is computed on larger
voxels (:class:`diffeode.prepare.surroundings.Surroundings`).
"""
_PLAUSIBLE_ML = (100.0, 3000.0)


def mindgrab_mask(image: Image, threads: int, progress: Progress = silent) -> np.ndarray:
    """Return the brain and the fluid around it, ``(X, Y, Z)`` bool, on the image's own grid.

    The result is one piece without holes. The scan may have any contrast, orientation and voxel
    size; the network sees a box of 256 mm of it (:func:`diffeode.prepare.conform.conformed_grid`).

    Args:
        progress: called with the fraction done and the layer's number.

    Raises:
        InputError: the weights are missing or wrong, or the volume found lies outside 100 to 3000
            ml, so that the scan shows no head, or only a part of one. (A newborn's brain has about
            350 ml, the largest adult ones 2000 ml.)
    """
    # imported here, because planning a study reads this file and needs no torch
    from diffeode.prepare.meshnet import load_meshnet

    net = load_meshnet(find_weights(_WEIGHTS), ARCHITECTURE)
    conformed = conform(image)
    volume = scaled(conformed.data)
    box = occupied_box(volume, _MARGIN)
    # The rim of zeros is what lies around the box.
    brain = one_piece(np.pad(net.label_part(volume, box, threads, progress) == 1, 1))
    found = np.zeros(volume.shape, dtype=bool)
    found[box] = brain[1:-1, 1:-1, 1:-1]
    mask = one_piece(mask_back(found, conformed.grid, image.grid))
    _require_plausible(float(mask.sum()) * image.grid.voxel_volume / 1000)
    return mask


def scaled(volume: np.ndarray) -> np.ndarray:
    """Return ``volume`` scaled so that its 2 % and 98 % quantiles become 0 and 1, and clipped.

    The network was trained on volumes that were scaled in this way.
    """
    low, high = np.quantile(volume, _QUANTILES)
    if not high > low:
        raise InputError(
            "Skull stripping found next to no contrast in the scan (its 2 % and 98 % quantiles are "
            "equal); give a head."
        )
    return np.clip((volume - low) / (high - low), 0, 1)


def one_piece(mask: np.ndarray) -> np.ndarray:
    """Return the largest piece of ``mask`` (voxels connected by faces), with its holes filled."""
    pieces, count = ndimage.label(mask)
    if count == 0:
        return mask
    sizes = np.bincount(pieces.ravel())[1:]
    return ndimage.binary_fill_holes(pieces == 1 + sizes.argmax())


def _require_plausible(volume_ml: float) -> None:
    low, high = _PLAUSIBLE_ML
    if not low <= volume_ml <= high:
        raise InputError(
            f"Skull stripping found {volume_ml:.0f} ml of brain, outside {low:.0f} to {high:.0f} "
            "ml: this does not look like a scan of a whole head; check the file, its voxel size "
            "and its orientation."
        )


def find_brain(image: Image, scan_name: str, resources: Resources) -> np.ndarray:
    """Return the result of :func:`mindgrab_mask`, whose messages then name the scan."""
    with naming(scan_name):
        return mindgrab_mask(image, resources.threads, resources.progress)


TOOL = StepTool(
    step="brain",
    name="mindgrab",
    clause="the brain is found by the MeshNet mindgrab",
    function=find_brain,
    weights=_WEIGHTS,
)
