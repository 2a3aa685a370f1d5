"""FreeSurfer's ``mri_nu_correct.mni`` (N3), which removes the bias field of a whole head."""

from __future__ import annotations

import numpy as np

from diffeode.geometry.image import Image
from diffeode.prepare.freesurfer import CITATION, read_result_image, workplace
from diffeode.prepare.step_tool import Resources, StepTool
from diffeode.programs.tools import MRI_NU_CORRECT, Limits, run


def nu_correct(
    image: Image, brain: np.ndarray | None, modality: str, resources: Resources
) -> Image:
    """Return ``image`` without its bias field, by ``mri_nu_correct.mni`` with the settings of
    ``recon-all``.

    N3 (Sled et al., IEEE TMI 17(1), 1998) is run once, for 1000 iterations with splines 50 mm
    apart, and the result is not rescaled. Every contrast is treated alike, and the tool uses the
    whole head, whatever ``brain`` is. ``--cm`` keeps the scan's grid; the tool still interpolates
    to the smallest voxel size, computes there, and interpolates back.

    Raises:
        InputError: the tool or FreeSurfer's licence is not here.
        ToolError: the tool failed or wrote nothing usable.
    """
    from diffeode.programs.interfaces.freesurfer import NuCorrect

    with workplace(image) as (scan, result):
        command = NuCorrect(
            in_file=scan,
            out_file=result,
            iterations=1,
            protocol_iterations=1000,
            distance=50,
            no_rescale=True,
            native=True,
        )
        run(
            MRI_NU_CORRECT,
            command,
            [result],
            "Bias correction by FreeSurfer",
            Limits(resources.threads),
        )
        return read_result_image(MRI_NU_CORRECT, result, image.grid)


TOOL = StepTool(
    step="bias",
    name="freesurfer",
    clause="the bias field is removed from the whole head by N3 (mri_nu_correct.mni of FreeSurfer)",
    function=nu_correct,
    corrects=True,
    whole_head=True,
    program=MRI_NU_CORRECT,
    citations=(
        "Sled et al., A nonparametric method for automatic correction of intensity nonuniformity "
        "in MRI data, IEEE Transactions on Medical Imaging 17(1), 1998",
        CITATION,
    ),
)
