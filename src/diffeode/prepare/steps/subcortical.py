"""Segmentation of T1w brains into 17 structures, left and right together, by MeshNet subcortical (brainchop)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from diffeode.errors import InputError
from diffeode.geometry.image import Image, Labels
from diffeode.prepare.architecture import Architecture
from diffeode.prepare.conform import conform, labels_back
from diffeode.prepare.step_tool import Progress, Resources, StepTool, naming, silent
from diffeode.weights.catalogue import find

ARCHITECTURE = Architecture(
    channels=30, classes=18, dilations=(1, 2, 4, 8, 16, 8, 4, 2, 1), normalised=False, activation="elu"
)
"""196 038 trained numbers."""

STRUCTURES = (0, 2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 26, 28)
"""FreeSurfer's number of each class; where there is a left and a right one, the left one's stands for both."""

_WEIGHTS = "meshnet-subcortical"
_BRIGHTEST = 0.999
_MARGIN = sum(ARCHITECTURE.dilations)
"""As far as a voxel sees, 46 mm: the cut volume's border reaches no voxel of the brain, so cutting changes nothing."""


def subcortical_labels(image: Image, threads: int, progress: Progress = silent) -> Labels:
    """The structures of ``config/labels/meshnet.tsv`` on the grid of ``image``, a T1w head or skull-stripped brain.

    The scan may have any orientation and voxel size; it is looked at in a box of 256 mm
    (:func:`diffeode.prepare.conform.conformed_grid`) and there cut to what is brighter than its background, and 46 mm.

    Args:
        progress: told the fraction done and the layer.

    Raises:
        InputError: the weights are missing or wrong, or no structure was found.
    """
    # here, because planning a study reads this file and needs no torch
    from diffeode.prepare.meshnet import load_meshnet

    net = load_meshnet(find(_WEIGHTS), ARCHITECTURE)
    conformed = conform(image)
    box = _occupied(conformed.data)
    classes = np.zeros(conformed.data.shape, np.uint8)
    classes[box] = net.label(_scaled(conformed.data)[box], threads, progress)
    numbers = np.array(STRUCTURES, dtype=np.int32)[classes]
    labels = Labels(labels_back(numbers, conformed.grid, image.grid), image.grid)
    if not labels.data.any():
        raise InputError(
            "Segmentation found no brain in the scan; give a T1w scan of a head, in its right orientation."
        )
    return labels


def _scaled(volume: np.ndarray) -> np.ndarray:
    """``volume`` with its least value at 0 and the 99.9 % quantile of all above it at 1, clipped there.

    So does brainchop, which conforms as ``mri_convert`` does and then scales between least and greatest value.
    """
    low = volume.min()
    high = np.quantile(volume[volume > low], _BRIGHTEST)
    return np.clip((volume - low) / (high - low), 0, 1)


def _occupied(volume: np.ndarray) -> tuple[slice, ...]:
    """The box of everything above the least value, grown by as far as a voxel of it sees."""
    (box,) = ndimage.find_objects((volume > volume.min()).astype(np.uint8))
    return tuple(slice(max(0, side.start - _MARGIN), side.stop + _MARGIN) for side in box)


def label(image: Image, scan_name: str, resources: Resources) -> Labels:
    """:func:`subcortical_labels`, with the scan's name before what it has to say."""
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
