"""How the scans of a dataset are prepared: one choice per step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import numpy as np

from diffeode.datasets.scan import ANATOMICAL, Scan
from diffeode.errors import InputError
from diffeode.names import nearest
from diffeode.prepare.registry import correcting_tools, find_tool, scaling_tool, tool_names
from diffeode.prepare.step_tool import StepTool

NONE = "none"
"""How a recipe leaves out a step that has no tool for scans which need none."""
_STEPS = ("bias", "brain", "intensity", "template", "labels")
_LEFT_OUT = {"bias", "template"}
_STEP_OF = {"strip": "brain", "place": "template", "segment": "labels"}
"""Units of a scan that one step makes, and that step."""
_THROUGH = ("t1w", "direct")
_TEMPLATE_FILES = ("t1w", "t2w")


def recipe_choices() -> dict[str, tuple[str, ...]]:
    """The words that a recipe may give for each of its keys: the names of the step's tools, and
    ``none``.
    """
    tools = {step: ((NONE,) if step in _LEFT_OUT else ()) + tool_names(step) for step in _STEPS}
    return {**tools, "through": _THROUGH}


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of a recipe, the block ``prepare`` of a dataset's file."""
    words = {key: {"enum": list(known)} for key, known in recipe_choices().items()}
    path = {"type": "string", "minLength": 1}
    own = {"additionalProperties": False, "properties": dict.fromkeys(_TEMPLATE_FILES, path)}
    rest = {
        "template": {"type": ["string", "object"], **own},
        "spacing_mm": {"type": ["number", "null"], "exclusiveMinimum": 0},
    }
    return {"type": "object", "additionalProperties": False, "properties": {**words, **rest}}


@final
@dataclass(frozen=True)
class Recipe:
    """The choices of a dataset (``prepare`` in ``config/datasets/<name>.yaml``).

    Attributes:
        bias: what takes the bias field away; ``none``: nothing does.
        brain: what finds the brain; ``nonzero``: the scans come skull-stripped.
        intensity: what brings intensities to a common scale.
        template: ``none``: the scan keeps its own space; a template's name; or the paths of one's
            own, ``{t1w, t2w}``.
        through: how a scan that is no T1w reaches the template: by the ``t1w`` of the same visit,
            or ``direct``.
        labels: what finds structures; ``given``: they come with the data, where there are any.
        spacing_mm: the prepared image's voxel size; None keeps the scan's own, or takes the
            template's 1 mm.

    The tools that a step can choose are the files of :mod:`diffeode.prepare.steps`.

    Raises:
        InputError: an unknown choice, a choice that another one rules out, or a spacing that is no
            positive number.
    """

    bias: str = "none"
    brain: str = "nonzero"
    intensity: str = "robust"
    template: str | dict[str, str] = "none"
    through: str = "t1w"
    labels: str = "given"
    spacing_mm: float | None = None

    def __post_init__(self) -> None:
        for step, known in recipe_choices().items():
            if step == "template" and isinstance(self.template, dict):
                _require_own_template(self.template)
            else:
                _require_known(step, getattr(self, step), known)
        if self.strips_by_labels and self.segments:
            raise InputError(
                f"Preparation step brain is {self.brain}, which needs the label maps that come "
                f"with the scans, and step labels is {self.labels}, which makes others; choose "
                "labels: given."
            )
        if self.spacing_mm is not None and not 0 < self.spacing_mm < np.inf:
            raise InputError(
                f"Preparation spacing_mm is {self.spacing_mm}; it must be a positive number of mm, "
                "or null."
            )

    @property
    def finds_brain(self) -> bool:
        """Whether the brain is looked for in a whole head."""
        return find_tool("brain", self.brain).function is not None

    @property
    def strips_by_labels(self) -> bool:
        """Whether the brain is found by the label maps that come with the scans."""
        return find_tool("brain", self.brain).from_labels

    @property
    def corrects(self) -> bool:
        """Whether intensities are corrected before they are scaled."""
        return any(tool.corrects for tool in self._tools("bias", "intensity"))

    @property
    def corrects_heads(self) -> bool:
        """Whether that needs the whole head, and so comes before the skull is stripped."""
        return any(tool.whole_head for tool in self._tools("bias", "intensity"))

    @property
    def places(self) -> bool:
        """Whether scans are brought into a template's space."""
        return self.template != NONE

    @property
    def segments(self) -> bool:
        """Whether labels are made here."""
        return find_tool("labels", self.labels).function is not None

    @property
    def is_work(self) -> bool:
        """Whether there is more to do than to scale intensities."""
        return self.finds_brain or self.corrects or self.places or self.segments

    def leans_on_t1w(self, scan: Scan) -> bool:
        """Whether ``scan`` reaches the template through the T1w of its visit."""
        return self.places and self.through == "t1w" and scan.modality != ANATOMICAL

    def borrows_labels(self, scan: Scan) -> bool:
        """Whether ``scan`` takes the labels that are made on the T1w of its visit."""
        return scan.modality != ANATOMICAL and not find_tool("labels", self.labels).works_on(
            scan.modality
        )

    def tools_of(self, unit: str, scan: Scan) -> tuple[StepTool, ...]:
        """The tools that make one unit of ``scan``.

        Args:
            unit: ``strip``, ``correct``, ``place``, ``prepare`` or ``segment``.
        """
        if unit == "correct":
            return correcting_tools(self.bias, self.intensity, scan.modality)
        if unit == "prepare":
            return (scaling_tool(self.intensity),)
        return tuple(tool for tool in self._tools(_STEP_OF[unit]) if tool.function)

    def _tools(self, *steps: str) -> tuple[StepTool, ...]:
        """The tools that are chosen for ``steps``, without those steps that are left out."""
        return tuple(tool for step in steps if (tool := find_tool(step, getattr(self, step))))


def _require_known(step: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"Preparation step {step} has no choice {value!r}{nearest(value, known)}.")


def _require_own_template(paths: dict[str, str]) -> None:
    if "t1w" not in paths or set(paths) - set(_TEMPLATE_FILES):
        raise InputError(
            "Preparation step template needs the path t1w, and may have t2w; it has no other."
        )
