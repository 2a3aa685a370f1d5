"""The template that everyone is registered to, as a dataset of one scan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from diffeode.bids_app.request import Request
from diffeode.bids_app.tasks import TEMPLATE
from diffeode.datasets.listed import write_list
from diffeode.datasets.scan import ANATOMICAL, Scan
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.presence import require_file
from diffeode.geometry.space import Grid
from diffeode.prepare.recognised import require_scan
from diffeode.prepare.scan import read_scan_labels

TEMPLATE_DATASET = "template"
_TABLE = "template.tsv"
_IMAGE = "template.nii.gz"
_ICBM152 = "MNI152NLin2009aSym"
"""BIDS' name of the space of ICBM152 2009a, symmetric, nonlinear."""


@final
@dataclass(frozen=True)
class Target:
    """A skull-stripped template.

    Attributes:
        name: its name in names of files, letters and digits.
        modality: the contrast that it is registered as.
        file: the user's file; None for ICBM152, which comes with nilearn.
        labels: the label map on the grid of ``file``; None for none.
    """

    name: str
    modality: str
    file: Path | None
    labels: Path | None = None

    @property
    def title(self) -> str:
        """Its name in titles."""
        return self.name if self.file else f"ICBM152 ({self.name})"

    @property
    def scan(self) -> Scan:
        """The template as a scan; where ICBM152 will lie is known once it is written."""
        image = self.file if self.file else Path(_IMAGE)
        return self._scan(image)

    def write(self, folder: Path) -> None:
        """Write the table of the dataset and, of ICBM152, the image to ``folder``."""
        image = self.file if self.file else folder / _IMAGE
        if self.file is None and not image.is_file():
            from diffeode.prepare.template import chosen_template

            io.write_image(image, chosen_template("icbm152").images[ANATOMICAL])
        write_list(folder / _TABLE, image.parent, [self._scan(image)])

    def dataset(self, folder: Path, label_table: str | None) -> dict[str, Any]:
        """Return the dataset of the study's file whose table lies in ``folder``.

        Args:
            label_table: the table of the structures in the scans' label maps, or None.
        """
        root = self.file.parent if self.file else folder
        return {
            "title": self.title,
            "population": "a template",
            "kind": "listed",
            "root": str(root),
            "table": str(folder / _TABLE),
            "labels": label_table if self.labels else None,
            "are_scans": True,  # it was looked at when it was read
            "prepare": {"brain": "nonzero"},
        }

    def _scan(self, image: Path) -> Scan:
        return Scan(
            dataset=TEMPLATE_DATASET,
            subject=self.name,
            session=None,
            modality=self.modality,
            image=image,
            labels=self.labels,
            landmarks=None,
            group=None,
        )


def target_of(request: Request) -> Target | None:
    """Return the template of a request, or None where its task needs none.

    Raises:
        InputError: the user's template cannot be read or looks like a label map, its name has
            neither letter nor digit, or its label map cannot be used.
    """
    if request.task != TEMPLATE:
        return None
    if request.template is None:
        if request.template_labels:
            raise InputError(
                "--template-labels is the label map of a template of your own, and ICBM152 comes "
                "without one; name the template that it lies on by --template, too."
            )
        if request.fixed != ANATOMICAL:
            raise InputError(
                f"ICBM152 comes as {ANATOMICAL} only; leave --fixed-modality out, or name a "
                f"{request.fixed} by --template."
            )
        return Target(_ICBM152, request.fixed, None)
    require_file(request.template, "template")
    image = io.read_image(request.template)
    if not request.are_scans:
        require_scan(image.data, f"The template {request.template}", "--are-scans")
    stem = request.template.name.split(".")[0]
    name = "".join(letter for letter in stem if letter.isascii() and letter.isalnum())
    if not name:
        raise InputError(
            f"The name of the template {request.template} has neither letters nor digits, and BIDS "
            "names are made of it; rename it."
        )
    if request.template_labels:
        _require_label_map(request.template_labels, image.grid, request.template)
    return Target(name, request.fixed, request.template, request.template_labels)


def _require_label_map(labels: Path, grid: Grid, template: Path) -> None:
    """Raise :class:`InputError` where ``labels`` is no label map on the grid of ``template``."""
    require_file(labels, "label map of the template")
    read_scan_labels(labels, grid, template)
