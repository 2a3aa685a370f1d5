"""Download trained weights that the catalogue lists."""

from __future__ import annotations

from pathlib import Path

from diffeode.weights.catalogue import cache_folder, find_weights, load_weights, present
from diffeode.weights.download import Progress, fetch


def obtain(name: str, progress: Progress | None = None) -> Path:
    """Return the verified file of the weights ``name``; download it to the user's cache where it is
    not here.

    Args:
        progress: called with the fraction that is there, and a line that says how it goes.

    Raises:
        InputError: as :func:`diffeode.weights.catalogue.find_weights`, or as
            :func:`diffeode.weights.download.fetch`.
    """
    if present(name) is not None:
        return find_weights(name)
    weights = load_weights(name)
    to = cache_folder() / name / weights.file
    return fetch(weights.urls, to, sha256=weights.sha256, bytes=weights.bytes, progress=progress)
