"""How the scans of a dataset are prepared: one choice per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np

from diffeode.datasets.scan import ANATOMICAL, Scan
from diffeode.errors import InputError
from diffeode.names import nearest

_CHOICES = {
    "bias": ("none", "n4", "freesurfer"),
    "brain": ("nonzero", "mindgrab", "synthstrip"),
    "intensity": ("robust", "white-stripe", "freesurfer"),
    "through": ("t1w", "direct"),
    "labels": ("given", "meshnet", "synthseg"),
}
_TEMPLATES = ("none", "icbm152")
_TEMPLATE_FILES = {"t1w", "t2w"}


@final
@dataclass(frozen=True)
class Recipe:
    """The choices of a dataset (``prepare`` in ``config/datasets/<name>.yaml``).

    Attributes:
        bias: ``none``; ``n4`` inside the brain; ``freesurfer``: ``mri_nu_correct.mni`` on the whole head.
        brain: ``nonzero``: the scans come skull-stripped; ``mindgrab`` (MeshNet) or ``synthstrip`` find the brain.
        intensity: ``robust`` percentiles; ``white-stripe``; ``freesurfer``: ``mri_normalize``, then percentiles.
        template: ``none``: the scan keeps its own space; ``icbm152``; or the paths of one's own, ``{t1w, t2w}``.
        through: how a scan that is no T1w reaches the template: by the ``t1w`` of the same visit, or ``direct``.
        labels: ``given`` with the data where there are any; ``meshnet`` (T1w, 17 structures), ``synthseg`` (32).
        spacing_mm: the prepared image's voxel size; None keeps the scan's own, or takes the template's 1 mm.

    Raises:
        InputError: an unknown choice, a choice that another one rules out, or a spacing that is no positive number.
    """

    bias: str = "none"
    brain: str = "nonzero"
    intensity: str = "robust"
    template: str | dict[str, str] = "none"
    through: str = "t1w"
    labels: str = "given"
    spacing_mm: float | None = None

    def __post_init__(self) -> None:
        for step, known in _CHOICES.items():
            _require_known(step, getattr(self, step), known)
        _require_template(self.template)
        if self.spacing_mm is not None and not 0 < self.spacing_mm < np.inf:
            raise InputError(
                f"Preparation spacing_mm is {self.spacing_mm}; it must be a positive number of mm, or null."
            )

    @property
    def finds_brain(self) -> bool:
        """Whether the brain is looked for in a whole head."""
        return self.brain != "nonzero"

    @property
    def corrects(self) -> bool:
        """Whether intensities are corrected before they are scaled."""
        return self.bias != "none" or self.intensity == "freesurfer"

    @property
    def corrects_heads(self) -> bool:
        """Whether that needs the whole head, and so comes before the skull is stripped."""
        return self.bias == "freesurfer" or self.intensity == "freesurfer"

    @property
    def places(self) -> bool:
        """Whether scans are brought into a template's space."""
        return self.template != "none"

    @property
    def segments(self) -> bool:
        """Whether labels are made here."""
        return self.labels != "given"

    @property
    def is_work(self) -> bool:
        """Whether there is more to do than to scale intensities."""
        return self.finds_brain or self.corrects or self.places or self.segments

    def leans_on_t1w(self, scan: Scan) -> bool:
        """Whether ``scan`` reaches the template through the T1w of its visit."""
        return self.places and self.through == "t1w" and scan.modality != ANATOMICAL

    def borrows_labels(self, scan: Scan) -> bool:
        """Whether ``scan`` takes the labels that are made on the T1w of its visit."""
        return self.labels == "meshnet" and scan.modality != ANATOMICAL


def _require_known(step: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"Preparation step {step} has no choice {value!r}{nearest(value, known)}.")


def _require_template(template: str | dict[str, str]) -> None:
    if isinstance(template, str):
        _require_known("template", template, _TEMPLATES)
    elif "t1w" not in template or set(template) - _TEMPLATE_FILES:
        raise InputError("Preparation step template needs the path t1w, and may have t2w; it has no other.")
