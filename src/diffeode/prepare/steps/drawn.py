"""The brain of a whole head is where the label map that comes with it has labels."""

from __future__ import annotations

import numpy as np

from diffeode.geometry.image import Image, Labels
from diffeode.prepare.step_tool import Resources, StepTool


def labelled_mask(image: Image, scan_name: str, resources: Resources, labels: Labels) -> np.ndarray:
    """Return the voxels of a head that have a label, ``(X, Y, Z)`` bool.

    NODEO finds the brains of CANDI in this way (Wu et al., CVPR 2022, section 4.1).

    Args:
        labels: the label map on the grid of ``image``; it has at least one label.
    """
    return labels.data > 0


TOOL = StepTool(
    step="brain",
    name="labels",
    clause="the brain is what has a label in the label maps that come with the scans",
    function=labelled_mask,
    from_labels=True,
)
