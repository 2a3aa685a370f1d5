"""FreeSurfer's ``mri_synthseg``, which finds 32 structures in a scan of any contrast."""

from __future__ import annotations

import numpy as np

from diffeode.errors import InputError, ToolError
from diffeode.geometry.image import Image, Labels
from diffeode.prepare.freesurfer import read_result_labels, workplace
from diffeode.prepare.step_tool import Resources, StepTool
from diffeode.programs.tools import MRI_SYNTHSEG, Limits, run

SYNTHSEG_LABELS = (
    *(2, 3, 4, 5, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 26, 28),
    *(41, 42, 43, 44, 46, 47, 49, 50, 51, 52, 53, 54, 58, 60),
)
"""FreeSurfer's numbers for the 32 structures of SynthSeg 2.0 (``config/labels/synthseg.tsv`` has
their names).
"""


def synthseg_labels(image: Image, scan_name: str, resources: Resources) -> Labels:
    """Return the 32 structures of SynthSeg 2.0 in a scan of any contrast, by ``mri_synthseg`` on
    the CPU.

    The tool (Billot et al., Medical Image Analysis 86, 2023) segments at 1 mm and brings its labels
    back to the scan's grid itself.

    Raises:
        InputError: the tool is not here, or it finds no structure.
        ToolError: the tool failed, wrote nothing usable, or wrote labels that SynthSeg 2.0 does not
            have.
    """
    from diffeode.programs.interfaces.freesurfer import SynthSeg

    with workplace(image) as (scan, result):
        command = SynthSeg(
            in_file=scan, out_file=result, keep_geometry=True, threads=resources.threads, cpu=True
        )
        run(MRI_SYNTHSEG, command, [result], "Segmentation by SynthSeg", Limits(resources.threads))
        labels = read_result_labels(MRI_SYNTHSEG, result, image.grid)
    unknown = sorted(set(np.unique(labels.data).tolist()) - {0, *SYNTHSEG_LABELS})
    if unknown:
        raise ToolError(
            f"{MRI_SYNTHSEG} wrote labels that SynthSeg 2.0 does not have ({unknown[:5]})."
        )
    if not labels.data.any():
        raise InputError(
            f"SynthSeg found no structure in {scan_name}; check that it is a scan of a head."
        )
    return labels


TOOL = StepTool(
    step="labels",
    name="synthseg",
    clause="structures are found by SynthSeg",
    function=synthseg_labels,
    program=MRI_SYNTHSEG,
    citations=(
        "Billot et al., SynthSeg: segmentation of brain MRI scans of any contrast and resolution "
        "without retraining, Medical Image Analysis 86, 2023",
    ),
)
