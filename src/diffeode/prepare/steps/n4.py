"""N4, which estimates the bias field inside the brain and removes it."""

from __future__ import annotations

import numpy as np

from diffeode.geometry.image import Image
from diffeode.prepare.step_tool import Resources, StepTool
from diffeode.programs.ants_bridge import from_ants, load_ants, to_ants

_WORKING_SPACING_MM = 4.0


def n4(image: Image, brain: np.ndarray, modality: str, resources: Resources) -> Image:
    """Return ``image`` without its bias field, and 0 outside ``brain``.

    N4 (Tustison et al., IEEE Transactions on Medical Imaging 29(6), 2010) estimates the field
    inside ``brain`` on voxels of about 4 mm. It treats every contrast alike.
    """
    ants = load_ants(resources.threads)
    shrink = max(1, int(_WORKING_SPACING_MM / image.grid.spacing.min()))
    corrected = ants.n4_bias_field_correction(
        to_ants(image), mask=to_ants(Image(brain, image.grid)), shrink_factor=shrink
    )
    return Image(np.where(brain, from_ants(corrected, image.grid).data, 0), image.grid)


TOOL = StepTool(
    step="bias",
    name="n4",
    clause="the bias field is removed inside the brain by N4",
    function=n4,
    corrects=True,
    citations=(
        "Tustison et al., N4ITK: improved N3 bias correction, IEEE Transactions on Medical Imaging "
        "29(6), 2010",
    ),
)
