"""Prepare one raw scan by the steps of a study's recipe, without a study."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import nibabel as nib

from diffeode.datasets.scan import Scan
from diffeode.desk.delivery import delivered_whole, require_new
from diffeode.desk.given import ImageLike, as_file, name_of
from diffeode.desk.transform import Transform
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.prepare import needs
from diffeode.prepare.correct import correct
from diffeode.prepare.place import place
from diffeode.prepare.recipe import Recipe
from diffeode.prepare.recognised import require_scan
from diffeode.prepare.scan import prepare_scan as prepare_unit
from diffeode.prepare.segment import segment
from diffeode.prepare.strip import strip
from diffeode.prepare.units import Before
from diffeode.process.fresh import in_new_process
from diffeode.programs.ants_bridge import keeps_other_threads
from diffeode.units.names import IMAGE, LABELS, MASK, TO_SCAN
from diffeode.units.scan import ScanUnit

OUTPUTS = (IMAGE, MASK, LABELS, TO_SCAN)
"""Names of all files that a prepared scan may have."""
_BY_ITK = "n4"
"""The correction of the bias field that runs on the threads of ITK."""
_STEPS = ("bias", "brain", "intensity", "template", "labels")


@final
@dataclass(frozen=True, eq=False)
class PreparedScan:
    """A scan that was prepared.

    Attributes:
        image: the scan, ``(X, Y, Z)``, with intensities in [0, 1] and background 0.
        mask: 1 in the brain and 0 elsewhere, on the grid of the image.
        labels: the label map in the space of the image, on its own grid; None where there is none.
        to_scan: the affine from points of the image to points of the raw scan, RAS mm; the identity
            where the image lies in the scan's own space.
    """

    image: nib.Nifti1Image
    mask: nib.Nifti1Image
    labels: nib.Nifti1Image | None
    to_scan: Transform

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the image, the mask, the affine to the raw scan and, where there is one, the label
        map to ``folder``, under the names of :data:`OUTPUTS`, all together or not at all.

        Args:
            overwrite: whether the files of an earlier preparation in ``folder`` are replaced, and
                those that this one has not are removed. Other files there stay in any case.

        Raises:
            InputError: a file of these names exists and may not be replaced, or the folder cannot
                be written.
        """
        whole = Path(folder)
        require_new([whole / name for name in OUTPUTS], overwrite, "overwrite=True")
        with delivered_whole(whole, OUTPUTS) as staging:
            self._write(staging)

    def _write(self, folder: Path) -> None:
        io.save_nifti(folder / IMAGE, self.image)
        io.save_nifti(folder / MASK, self.mask)
        if self.labels is not None:
            io.save_nifti(folder / LABELS, self.labels)
        self.to_scan.save(folder / TO_SCAN)


def prepare_scan(
    scan: ImageLike,
    *,
    brain: str = "mindgrab",
    bias: str = "n4",
    intensity: str = "robust",
    template: str = "none",
    labels: str = "given",
    given_labels: ImageLike | None = None,
    modality: str = "T1w",
    spacing_mm: float | None = None,
    orientation: str | None = None,
    threads: int = 1,
    seed: int = 0,
    is_scan: bool = False,
) -> PreparedScan:
    """Return one raw scan as a study's recipe prepares it (docs/preparation.md).

    Args:
        scan: a head or a brain.
        brain: the tool that finds the brain; ``nonzero`` for a scan that is skull-stripped already.
        bias: the tool that removes the bias field, or ``none``.
        intensity: the tool that brings intensities to a common scale.
        template: the template into whose space the scan is brought by an affine map, or ``none``.
        labels: the tool that finds structures; ``given`` for a label map of one's own, or none.
        given_labels: the label map of the scan, on its grid.
        modality: the contrast of the scan, a BIDS suffix such as ``T1w`` or ``T2w``.
        spacing_mm: voxel size of the result; by default that of the scan or of the template.
        orientation: the orientation of a scan whose header does not tell it.
        threads: number of threads that the tools may use.
        seed: seed of random numbers of the alignment to a template.
        is_scan: whether ``scan`` is a scan even where its values look like those of a label map,
            which is refused otherwise.

    Raises:
        InputError: the scan or a choice is unusable, the scan looks like a label map, a label map
            is given where another one is to be made, or a program or weights are missing.
        ToolError: an external tool failed.
    """
    if not (modality.isascii() and modality.isalnum()):
        raise InputError(
            f"The modality {modality!r} is no suffix of BIDS; give letters and digits, such as T1w "
            "or FLAIR."
        )
    recipe = Recipe(bias, brain, intensity, template, "direct", labels, spacing_mm)
    if given_labels is not None and recipe.segments:
        raise InputError(
            f"A label map is given (given_labels), and {labels} is to make another one (labels); "
            "give one of the two."
        )
    for step in _STEPS:
        reason = needs.missing(step, getattr(recipe, step))
        if reason:
            raise InputError(reason)
    name = name_of(scan, "the scan")
    with tempfile.TemporaryDirectory(prefix="diffeode-") as folder, as_file(scan, name) as path:
        if not is_scan:
            require_scan(
                io.read_image(path, orientation).data, name, "--is-scan or, in Python, is_scan=True"
            )
        if given_labels is None:
            return _prepared(
                _scan(path, None, modality, orientation), recipe, folder, threads, seed
            )
        label_name = name_of(given_labels, "the label map")
        with as_file(given_labels, label_name) as label_path:
            person = _scan(path, label_path, modality, orientation)
            return _prepared(person, recipe, folder, threads, seed)


def _scan(path: Path, labels: Path | None, modality: str, orientation: str | None) -> Scan:
    return Scan("desk", "one", None, modality, path, labels, None, None, orientation=orientation)


def _prepared(scan: Scan, recipe: Recipe, folder: str, threads: int, seed: int) -> PreparedScan:
    room = Path(folder)
    before = Before()
    steps = ["correct", "strip"] if recipe.corrects_heads else ["strip", "correct"]
    for step in steps:
        if step == "strip" and recipe.finds_brain:
            strip(scan, recipe.brain, before, room / "brain", threads)
            before = replace(before, brain=room / "brain")
        if step == "correct" and recipe.corrects:
            where = room / "corrected"
            _correct(scan, recipe, before, where, threads)
            before = replace(before, corrected=where)
    if recipe.places:
        place(scan, recipe.template, before, None, room / "placed", threads, seed)
        before = replace(before, placed=room / "placed")
    done = room / "prepared"
    prepare_unit(scan, before, done, recipe.intensity, recipe.spacing_mm, seed)
    labelled = done
    if recipe.segments:
        labelled = room / "segmented"
        segment(scan, recipe.labels, done, labelled, threads)
    return _read(ScanUnit(done), ScanUnit(labelled).labels_file)


def _correct(scan: Scan, recipe: Recipe, before: Before, where: Path, threads: int) -> None:
    """Correct the intensities, in a process of its own where N4 would run on other threads than
    ``threads`` here, because ITK keeps those of its first use.
    """
    asked = (scan, recipe.bias, recipe.intensity, before, where, threads)
    if recipe.bias == _BY_ITK and keeps_other_threads(threads):
        in_new_process(correct, *asked)
    else:
        correct(*asked)


def _read(unit: ScanUnit, labels_file: Path) -> PreparedScan:
    labels = io.read_labels(labels_file) if labels_file.is_file() else None
    brain = io.read_labels(unit.mask_file)
    return PreparedScan(
        _nifti(unit.image()),
        _nifti(brain),
        None if labels is None else _nifti(labels),
        Transform(unit.to_scan(), None, "the affine from the prepared scan to the raw one"),
    )


def _nifti(image: Image | Labels) -> nib.Nifti1Image:
    return io.nifti_of(image.data, image.grid)
