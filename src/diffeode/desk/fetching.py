"""Fetch the trained weights that steps of preparation need, where they are not here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from diffeode.errors import InputError
from diffeode.prepare.registry import find_tool, tool_names
from diffeode.weights.catalogue import cache_folder, how_to_get, load_weights, present
from diffeode.weights.fetch import obtain


def fetch_what_is_absent(choices: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Download the weights of the chosen tools that are not here, and verify their checksum.

    Weights without a checksum in the catalogue are not fetched, because nobody could tell whether
    they are the right ones.

    Args:
        choices: the tool of each step of preparation, such as ``{"brain": "mindgrab"}``; unknown
            tools are passed over.
        say: called, before a download begins, with a line that says what is fetched, from where,
            how large it is, and where it is kept.

    Raises:
        InputError: the weights could not be fetched; the sentence says how to get them by hand.
    """
    for step, choice in choices.items():
        tool = find_tool(step, choice) if choice in tool_names(step) else None
        if tool is not None and tool.weights is not None:
            _fetch(tool.weights, say)


def _fetch(name: str, say: Callable[[str], None]) -> None:
    weights = load_weights(name)
    if present(name) is not None or weights.sha256 is None:
        return
    size = "" if weights.bytes is None else f", {weights.bytes / 1e6:.1f} MB"
    say(
        f"fetching the weights {name} ({weights.purpose}{size}) from {weights.urls[0]} to "
        f"{cache_folder() / name / weights.file}, where they are kept"
    )
    try:
        obtain(name)
    except InputError as error:
        reason = str(error).rstrip(".")
        raise InputError(
            f"The weights {name} ({weights.purpose}) are not here and could not be fetched "
            f"({reason}); {how_to_get(weights)}."
        ) from None
