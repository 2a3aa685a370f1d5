"""Scale intensities by the brain's 0.1 and 99.9 percentiles."""

from __future__ import annotations

import numpy as np

from diffeode.geometry.image import Image
from diffeode.prepare.intensity import robust
from diffeode.prepare.step_tool import StepTool


def scale(image: Image, brain: np.ndarray, modality: str, scan_name: str) -> Image:
    """Return the result of :func:`diffeode.prepare.intensity.robust`, alike in every contrast.

    Raises:
        InputError: the brain is constant.
    """
    return robust(image, brain, scan_name)


TOOL = StepTool(
    step="intensity",
    name="robust",
    clause="the brain's 0.1 and 99.9 percentiles become 0 and 1",
    function=scale,
)
