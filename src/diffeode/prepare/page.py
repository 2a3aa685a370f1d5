"""Print the table of ``docs/preparation.md`` from the records of the tools of preparation."""

from __future__ import annotations

from diffeode.prepare.described import of_tool
from diffeode.prepare.registry import all_tools
from diffeode.prepare.step_tool import StepTool

_HEAD = """| step | choice | contrasts | what it does | needs | to cite |
|---|---|---|---|---|---|
"""


def tools_table() -> str:
    """Return a Markdown table of all tools; it is the same on every machine."""
    ordered = sorted(all_tools(), key=lambda tool: (tool.step, tool.name))
    return _HEAD + "".join(_row(tool) for tool in ordered)


def _row(tool: StepTool) -> str:
    text, citations = of_tool(tool)
    contrasts = " ".join(tool.modalities) or "all"
    cited = "; ".join(citation.removesuffix(".") for citation in citations)
    cells = (f"`{tool.step}`", f"`{tool.name}`", contrasts, text, _needs(tool), cited)
    return "|" + "".join(f" {cell} |" if cell else " |" for cell in cells) + "\n"


def _needs(tool: StepTool) -> str:
    program = f"[{tool.program}]({tool.program.source})" if tool.program else ""
    return program or (f"weights `{tool.weights}`" if tool.weights else "")


if __name__ == "__main__":
    print(tools_table(), end="")
