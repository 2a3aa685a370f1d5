"""The MeshNet subcortical of brainchop, which finds 17 structures in a T1w, left and right
together.
"""

from __future__ import annotations

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.image import Image, Labels
from diffeode.prepare.architecture import Architecture
from diffeode.prepare.conform import conform, labels_back
from diffeode.prepare.occupied import occupied_box
from diffeode.prepare.step_tool import Progress, Resources, StepTool, naming, silent
from diffeode.weights.catalogue import find_weights

ARCHITECTURE = Architecture(
    channels=30,
    classes=18,
    dilations=(1, 2, 4, 8, 16, 8, 4, 2, 1),
    normalised=False,
    activation="elu",
)
"""The network has 196 038 trained parameters."""

STRUCTURES = (0, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 26, 28)
"""FreeSurfer's number for each class. Where a structure has a left and a right half, the number of
the left one stands for both.
"""

_WEIGHTS = "meshnet-subcortical"
_BRIGHTEST = 0.999
_MARGIN = 16
"""Voxels that are computed around the head. The class of a voxel depends on 46 voxels to each side,
but a margin of all 46 changes the Dice of no structure by 0.002 (one brain of OASIS-TRT-20).
"""


def subcortical_labels(image: Image, threads: int, progress: Progress = silent) -> Labels:
    """Return the structures of ``config/labels/meshnet.tsv`` on the grid of ``image``.

    The scan may have any orientation and voxel size. The network sees a box of 256 mm of it
    (:func:`diffeode.prepare.conform.conformed_grid`), and is computed only where the scan is
    brighter than air, and 16 mm around.

    Args:
        image: a T1w of a whole head or of a skull-stripped brain.
        progress: called with the fraction done and the layer's number.

    Raises:
        InputError: the weights are missing or wrong, or no structure was found.
    """
    # imported here, because planning a study reads this file and needs no torch
    from diffeode.prepare.meshnet import load_meshnet

    net = load_meshnet(find_weights(_WEIGHTS), ARCHITECTURE)
    conformed = conform(image)
    scaled = _scaled(conformed.data)
    box = occupied_box(scaled, _MARGIN)
    classes = np.zeros(scaled.shape, np.uint8)
    classes[box] = net.label(scaled[box], threads, progress, around=0.0)
    numbers = np.array(STRUCTURES, dtype=np.int32)[classes]
    labels = Labels(labels_back(numbers, conformed.grid, image.grid), image.grid)
    if not labels.data.any():
        raise InputError(
            "Segmentation found no brain in the scan; give a T1w scan of a head, in its right "
            "orientation."
        )
    return labels


def _scaled(volume: np.ndarray) -> np.ndarray:
    """Return ``volume`` scaled so that its least value becomes 0 and the 99.9 % quantile of all
    greater values becomes 1, and clipped.

    This stands for what brainchop does: it conforms the scan as ``mri_convert`` does, and then
    scales between the least and the greatest value.
    """
    low = volume.min()
    high = np.quantile(volume[volume > low], _BRIGHTEST)
    return np.clip((volume - low) / (high - low), 0, 1)


def label(image: Image, scan_name: str, resources: Resources) -> Labels:
    """Return the result of :func:`subcortical_labels`, whose messages then name the scan."""
    with naming(scan_name):
        return subcortical_labels(image, resources.threads, resources.progress)


TOOL = StepTool(
    step="labels",
    name="meshnet",
    clause="structures are found on the T1w by a MeshNet",
    function=label,
    weights=_WEIGHTS,
    modalities=("T1w",),
)
