"""Describe each choice of a recipe: a clause of a methods section, and the works to cite."""

from __future__ import annotations

from typing import Any, NamedTuple

from diffeode.prepare.affine import CITATION as ANTS
from diffeode.prepare.registry import find_tool
from diffeode.prepare.step_tool import StepTool
from diffeode.weights.catalogue import load_weights

BY_AFFINE = "by an affine map of 12 parameters (ANTs, Mattes mutual information)"


class Described(NamedTuple):
    """What one choice of a recipe does.

    Attributes:
        text: a clause of a methods section, without its full stop; empty where nothing is done.
        citations: the works to cite for it.
    """

    text: str
    citations: tuple[str, ...] = ()


_THROUGH = {"t1w": "a scan that is no T1w goes there rigidly by way of the T1w of its visit"}


def described(step: str, choice: Any) -> Described:
    """Return the description of ``choice`` for ``step`` (a key of
    :class:`diffeode.prepare.recipe.Recipe`).
    """
    if step == "spacing_mm":
        return Described(f"prepared scans have voxels of {choice:g} mm" if choice else "")
    if step == "through":
        return Described(_THROUGH.get(choice, ""))
    if isinstance(choice, dict):
        files = " and ".join(f"{choice[contrast]} ({contrast})" for contrast in sorted(choice))
        return Described(f"scans are brought into the space of {files} {BY_AFFINE}", (ANTS,))
    tool = find_tool(step, choice)
    return of_tool(tool) if tool else Described("")


def of_tool(tool: StepTool) -> Described:
    """Return the description of ``tool`` and of the tool that continues from its result."""
    weights = (load_weights(tool.weights).citation,) if tool.weights else ()
    text, citations = tool.clause, (*tool.citations, *weights)
    if tool.step == "template":
        return Described(f"{text} {BY_AFFINE}", (*citations, ANTS))
    if tool.then:
        after = of_tool(find_tool(tool.step, tool.then))
        return Described(f"{text}; then {after.text}", (*citations, *after.citations))
    return Described(text, citations)
