"""What the tools of preparation need besides the scan: programs and trained weights."""

from __future__ import annotations

from diffeode.errors import InputError
from diffeode.prepare.registry import find_tool
from diffeode.programs import tools
from diffeode.weights import catalogue as weights


def missing(step: str, choice: object) -> str | None:
    """Return why ``choice`` of ``step`` cannot run here, as a sentence, or None where it can.

    No program is started to find out.
    """
    tool = find_tool(step, choice)
    if tool is None:
        return None
    if tool.program:
        reason = tools.what_is_missing(tool.program)
        if reason:
            return f"{step}: {choice} cannot run here: {reason}."
    if tool.weights:
        try:
            weights.find_weights(tool.weights)
        except InputError as error:
            return f"{step}: {choice} cannot run here: {error}"
    return None


def weights_read(step: str, choice: object) -> dict[str, str]:
    """Return the SHA-256 of the weights that ``choice`` of ``step`` reads, by their name.

    It is the checksum of the catalogue or, where the catalogue has none, that of the file that is
    here. The result is empty where there is no such file, or where no weights are read.
    """
    tool = find_tool(step, choice)
    if tool is None or tool.weights is None:
        return {}
    listed = weights.load_weights(tool.weights).sha256
    if listed is None and weights.present(tool.weights) is None:
        return {}
    return {tool.weights: listed} if listed else weights.checksums([tool.weights])
