"""The choice for scans of any anatomy: everything counts but the background, which is found."""

from __future__ import annotations

import numpy as np

from diffeode.geometry.image import Image
from diffeode.prepare.foreground import found_foreground
from diffeode.prepare.step_tool import Resources, StepTool


def find_foreground(image: Image, scan_name: str, resources: Resources) -> np.ndarray:
    """Return the result of :func:`diffeode.prepare.foreground.found_foreground`."""
    return found_foreground(image)


TOOL = StepTool(
    step="brain",
    name="foreground",
    clause="the scans may show any anatomy, and everything but the background, which is found, "
    "takes the place of the brain",
    function=find_foreground,
    of_anything=True,
)
