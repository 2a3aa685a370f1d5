"""The choice for label maps that come with the data, so that nothing is segmented."""

from __future__ import annotations

from diffeode.prepare.step_tool import StepTool

TOOL = StepTool(
    step="labels",
    name="given",
    clause="structures are those that come with the data",
    function=None,
)
