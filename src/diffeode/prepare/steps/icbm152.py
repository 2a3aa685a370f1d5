"""The template of adults, ICBM152 2009a symmetric, nonlinear, T1w, which comes with nilearn."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.prepare.step_tool import StepTool

if TYPE_CHECKING:
    from diffeode.prepare.template import Template


def icbm152() -> Template:
    """Return ICBM152 2009a symmetric, nonlinear, T1w (Fonov et al., NeuroImage 54(1), 2011).

    It comes with nilearn, so nothing is downloaded, and its brain is nilearn's mask. Scans of other
    contrasts are aligned with the T1w.
    """
    from nilearn import datasets

    from diffeode.prepare.template import cropped_template

    volume, mask = (
        datasets.load_mni152_template(resolution=1),
        datasets.load_mni152_brain_mask(resolution=1),
    )
    grid = Grid(volume.shape, volume.affine)
    brain = np.asarray(mask.dataobj) > 0
    images = {"T1w": Image(np.where(brain, volume.get_fdata(), 0), grid)}
    return cropped_template("icbm152", images, brain)


TOOL = StepTool(
    step="template",
    name="icbm152",
    clause="scans are brought into the space of ICBM152 2009a",
    function=icbm152,
    citations=(
        "Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, NeuroImage "
        "54(1), 2011",
    ),
)
