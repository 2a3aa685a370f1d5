"""The recipe by which the scans of a dataset are prepared: one choice for each step."""

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
"""The choice that leaves a step out. The steps of ``_LEFT_OUT`` take it; for the other steps, a
tool such as ``nonzero`` stands for scans that need no work.
"""
_STEPS = ("bias", "brain", "intensity", "template", "labels")
_LEFT_OUT = {"bias", "template"}
_STEP_OF = {"strip": "brain", "place": "template", "segment": "labels"}
"""The step that makes a unit of a scan, for the units that one step alone makes."""
_THROUGH = ("t1w", "direct")
_TEMPLATE_FILES = ("t1w", "t2w")


def recipe_choices() -> dict[str, tuple[str, ...]]:
    """Return the words that a recipe may give for each of its keys.

    They are the names of the step's tools and, where the step can be left out, ``none``.
    """
    tools = {step: ((NONE,) if step in _LEFT_OUT else ()) + tool_names(step) for step in _STEPS}
    return {**tools, "through": _THROUGH}


def recipe_schema() -> dict[str, Any]:
    """Return the JSON schema of a recipe, the block ``prepare`` of a dataset's file."""
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
    """The choices for one dataset (``prepare`` in ``config/datasets/<name>.yaml``).

    The tools that a step can choose are the files of :mod:`diffeode.prepare.steps`.

    Attributes:
        bias: the tool that removes the bias field; with ``none`` nothing does.
        brain: the tool that finds the brain; ``nonzero`` says that the scans come skull-stripped,
            ``foreground`` that they may show any anatomy.
        intensity: the tool that brings intensities to a common scale.
        template: the name of the template into whose space scans are brought, or the paths of one's
            own template, ``{t1w, t2w}``; with ``none`` every scan keeps its own space.
        through: how a scan that is no T1w reaches the template: through the ``t1w`` of the same
            visit, or ``direct``.
        labels: the tool that finds structures; ``given`` says that label maps, where there are any,
            come with the data.
        spacing_mm: voxel size of the prepared image; with None the image keeps the scan's voxel
            size, or takes the template's.

    Raises:
        InputError: a choice is unknown, two choices exclude each other, or the spacing is no
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
                f"with the scans, and step labels is {self.labels}, which makes other label maps; "
                "choose labels: given."
            )
        if find_tool("brain", self.brain).of_anything and (self.segments or self._names_template):
            raise InputError(
                f"Preparation step brain is {self.brain}, for scans of any anatomy, but named "
                "templates and the tools of step labels are for brains; choose labels: given, and "
                "template: none or the path of a template of that anatomy."
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
        """Whether a correction needs the whole head, and so comes before the brain is found."""
        return any(tool.whole_head for tool in self._tools("bias", "intensity"))

    @property
    def places(self) -> bool:
        """Whether scans are brought into a template's space."""
        return self.template != NONE

    @property
    def _names_template(self) -> bool:
        return isinstance(self.template, str) and self.template != NONE

    @property
    def segments(self) -> bool:
        """Whether labels are made here."""
        return find_tool("labels", self.labels).function is not None

    @property
    def is_work(self) -> bool:
        """Whether the recipe does more than scale intensities and resample."""
        return self.finds_brain or self.corrects or self.places or self.segments

    def leans_on_t1w(self, scan: Scan) -> bool:
        """Return whether ``scan`` reaches the template through the T1w of the same visit."""
        return self.places and self.through == "t1w" and scan.modality != ANATOMICAL

    def borrows_labels(self, scan: Scan) -> bool:
        """Return whether ``scan`` takes the labels that are made on the T1w of the same visit."""
        return scan.modality != ANATOMICAL and not find_tool("labels", self.labels).works_on(
            scan.modality
        )

    def tools_of(self, unit: str, scan: Scan) -> tuple[StepTool, ...]:
        """Return the tools that make one unit of ``scan``.

        Args:
            unit: the job that makes it: ``strip``, ``correct``, ``place``, ``prepare`` or
                ``segment``.
        """
        if unit == "correct":
            return correcting_tools(self.bias, self.intensity, scan.modality)
        if unit == "prepare":
            return (scaling_tool(self.intensity),)
        return tuple(tool for tool in self._tools(_STEP_OF[unit]) if tool.function)

    def _tools(self, *steps: str) -> tuple[StepTool, ...]:
        """Return the tools that are chosen for ``steps``; a step that is left out has none."""
        return tuple(tool for step in steps if (tool := find_tool(step, getattr(self, step))))


def _require_known(step: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"Preparation step {step} has no choice {value!r}{nearest(value, known)}.")


def _require_own_template(paths: dict[str, str]) -> None:
    if "t1w" not in paths or set(paths) - set(_TEMPLATE_FILES):
        raise InputError(
            "Preparation step template takes the paths t1w, which it needs, and t2w, and no other "
            "key."
        )
