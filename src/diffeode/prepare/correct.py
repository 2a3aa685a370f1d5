"""Taking the bias field away, and normalising intensities where FreeSurfer does that."""

from __future__ import annotations

from pathlib import Path

from diffeode import io
from diffeode.datasets.scan import ANATOMICAL, Scan
from diffeode.prepare.backends import backend, limits, programs
from diffeode.prepare.units import CORRECTED, Before, about
from diffeode.receipt import write_receipt


def correct(scan: Scan, bias: str, intensity: str, before: Before, folder: Path, threads: int = 1) -> None:
    """Write the corrected scan, on its own grid, to ``folder``.

    N4 works inside the brain, FreeSurfer on the whole head. ``mri_normalize`` looks for the white matter of a T1w, so
    other contrasts go without it.

    Raises:
        InputError: the scan is unusable, or the tool is missing.
        ToolError: the tool failed.
    """
    image, done = before.image(scan), {"bias": bias}
    if bias == "n4":
        image = backend("bias", bias)(image, before.mask(scan, image), threads)
    elif bias == "freesurfer":
        image = backend("bias", bias)(image, limits(threads))
    if intensity == "freesurfer" and scan.modality == ANATOMICAL:
        image = backend("intensity", intensity)(image, scan.modality, limits(threads))
        done["intensity"] = intensity
    io.write_image(folder / CORRECTED, image)
    choices = {"bias": bias, "intensity": intensity}
    write_receipt(folder, [CORRECTED], about(scan, "correction", choices, programs(**done)))
