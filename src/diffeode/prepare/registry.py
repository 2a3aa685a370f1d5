"""The tools of preparation by presence: every file of ``diffeode.prepare.steps`` holds one.

They are imported by names that are computed at run time, so that editing one tool's file makes its
own scans again and no other's, as with methods.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from diffeode.prepare import steps
from diffeode.prepare.step_tool import StepTool


@cache
def _tools() -> dict[tuple[str, str], StepTool]:
    """Every tool by its step and name."""
    found: dict[tuple[str, str], StepTool] = {}
    for file in sorted(pkgutil.iter_modules(steps.__path__), key=lambda file: file.name):
        module = f"{steps.__name__}.{file.name}"
        tool = getattr(importlib.import_module(module), "TOOL", None)
        if not isinstance(tool, StepTool) or (tool.function and tool.module != module):
            raise TypeError(
                f"{module} must define TOOL, the record of a tool of preparation, and its function."
            )
        if (tool.step, tool.name) in found:
            raise TypeError(f"{module} is a second tool {tool.name!r} for the step {tool.step}.")
        found[tool.step, tool.name] = tool
    return found


def all_tools() -> tuple[StepTool, ...]:
    """Every tool, in the order of their files' names."""
    return tuple(_tools().values())


def tool_names(step: str) -> tuple[str, ...]:
    """What recipes call the tools of ``step``."""
    return tuple(tool.name for tool in all_tools() if tool.step == step)


def find_tool(step: str, choice: object) -> StepTool | None:
    """The tool that a recipe means by ``choice`` of ``step``; None for ``none`` and for one's own
    template.

    Raises:
        KeyError: there is no such tool; recipes are checked when they are read.
    """
    return _tools()[step, choice] if isinstance(choice, str) and choice != "none" else None


def correcting_tools(bias: str, intensity: str, modality: str) -> tuple[StepTool, ...]:
    """The tools that correct a scan of ``modality`` before its intensities are scaled, in their
    order.
    """
    chosen = (find_tool("bias", bias), find_tool("intensity", intensity))
    return tuple(tool for tool in chosen if tool and tool.corrects and tool.works_on(modality))


def scaling_tool(intensity: str) -> StepTool:
    """The tool that scales intensities in the end where a recipe chooses ``intensity``."""
    tool = _tools()["intensity", intensity]
    return scaling_tool(tool.then) if tool.then else tool
