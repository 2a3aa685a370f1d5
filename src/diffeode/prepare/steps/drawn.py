"""Whole heads with label maps: the brain is what has a label."""

from __future__ import annotations

import numpy as np

from diffeode.geometry.image import Image, Labels
from diffeode.prepare.step_tool import Resources, StepTool


def labelled_mask(image: Image, scan_name: str, resources: Resources, labels: Labels) -> np.ndarray:
    """Return the voxels of a head that have a label, ``(X, Y, Z)`` bool.

    So NODEO strips CANDI (Wu et al., CVPR 2022, section 4.1).

    Args:
        labels: on the grid of ``image``, with a label at least.
    """
    return labels.data > 0


TOOL = StepTool(
    step="brain",
    name="labels",
    clause="the brain is what has a label in the label maps that come with the scans",
    function=labelled_mask,
    from_labels=True,
)
