"""Find the tools of preparation: every file of ``diffeode.prepare.steps`` holds one.

As with methods, they are imported by names that are computed at run time. An identity does not see
such imports, so editing one tool's file makes only the scans again that this tool prepares.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from diffeode.prepare import steps
from diffeode.prepare.step_tool import StepTool


@cache
def _tools() -> dict[tuple[str, str], StepTool]:
    """Return every tool by its step and name."""
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
    """Return every tool, in the order of their files' names."""
    return tuple(_tools().values())


def tool_names(step: str) -> tuple[str, ...]:
    """Return the names by which recipes choose the tools of ``step``."""
    return tuple(tool.name for tool in all_tools() if tool.step == step)


def find_tool(step: str, choice: object) -> StepTool | None:
    """Return the tool that a recipe chooses for ``step``, or None where no tool does the step.

    No tool does it where the choice is ``none``, or where it gives the paths of one's own template.

    Raises:
        KeyError: there is no such tool. A recipe's choices are checked when it is read.
    """
    return _tools()[step, choice] if isinstance(choice, str) and choice != "none" else None


def correcting_tools(bias: str, intensity: str, modality: str) -> tuple[StepTool, ...]:
    """Return the tools that correct a scan of ``modality`` before its intensities are scaled.

    They are in the order in which they run.
    """
    chosen = (find_tool("bias", bias), find_tool("intensity", intensity))
    return tuple(tool for tool in chosen if tool and tool.corrects and tool.works_on(modality))


def scaling_tool(intensity: str) -> StepTool:
    """Return the tool that scales the intensities of the prepared image.

    It is the tool that a recipe chooses for ``intensity``, or the one that continues from its
    result.
    """
    tool = _tools()["intensity", intensity]
    return scaling_tool(tool.then) if tool.then else tool
