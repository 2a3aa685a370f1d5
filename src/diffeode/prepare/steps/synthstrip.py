"""FreeSurfer's ``mri_synthstrip``, which finds the brain in a whole head of any contrast."""

from __future__ import annotations

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.image import Image
from diffeode.prepare.freesurfer import read_result_labels, workplace
from diffeode.prepare.step_tool import Resources, StepTool
from diffeode.programs.tools import MRI_SYNTHSTRIP, Limits, run


def synthstrip_mask(image: Image, scan_name: str, resources: Resources) -> np.ndarray:
    """Return the brain in a whole head of any contrast, ``(X, Y, Z)`` bool, by ``mri_synthstrip``.

    Source: Hoopes et al., NeuroImage 260, 2022.

    Raises:
        InputError: the tool is not here, or it finds no brain.
        ToolError: the tool failed or wrote nothing usable.
    """
    from diffeode.programs.interfaces.freesurfer import SynthStrip

    with workplace(image) as (scan, result):
        command = SynthStrip(in_file=scan, mask_file=result)
        run(
            MRI_SYNTHSTRIP,
            command,
            [result],
            "Skull stripping by SynthStrip",
            Limits(resources.threads),
        )
        mask = read_result_labels(MRI_SYNTHSTRIP, result, image.grid).data > 0
    if not mask.any():
        raise InputError(
            f"SynthStrip found no brain in {scan_name}; check that it is a scan of a head."
        )
    return mask


TOOL = StepTool(
    step="brain",
    name="synthstrip",
    clause="the brain is found by SynthStrip",
    function=synthstrip_mask,
    program=MRI_SYNTHSTRIP,
    citations=(
        "Hoopes et al., SynthStrip: skull-stripping for any brain image, NeuroImage 260, 2022",
    ),
)
