"""Downloading trained weights; what they are, and that they are the right ones, is said in
``weights``.
"""

from __future__ import annotations

from pathlib import Path

from diffeode.weights.catalogue import cache_folder, find, load_weights, present
from diffeode.weights.download import Progress, fetch


def obtain(name: str, progress: Progress | None = None) -> Path:
    """The file of the weights ``name``: one that is here already, or downloaded into the user's
    cache and verified.

    Args:
        progress: told the fraction that is there, and how it goes.

    Raises:
        InputError: as :func:`diffeode.weights.catalogue.find`, or as
            :func:`diffeode.weights.download.fetch`.
    """
    if present(name) is not None:
        return find(name)
    weights = load_weights(name)
    to = cache_folder() / name / weights.file
    return fetch(weights.urls, to, sha256=weights.sha256, bytes=weights.bytes, progress=progress)
