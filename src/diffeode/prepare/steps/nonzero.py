"""The choice for scans that come skull-stripped: the brain is what is above zero."""

from __future__ import annotations

from diffeode.prepare.step_tool import StepTool

TOOL = StepTool(
    step="brain",
    name="nonzero",
    clause="the scans come skull-stripped, and the brain is what is above zero",
    function=None,
)
