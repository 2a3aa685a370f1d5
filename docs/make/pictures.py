"""How the pictures of the pages are saved: small enough for a repository."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

WIDTH = 1080
"""The width of a picture, pixels; a page shows at most 700 of a screen's."""
LARGEST = 150_000
"""The largest size of a picture, bytes."""


def save_small(figure: Figure, path: Path) -> None:
    """Save ``figure`` as a PNG, :data:`WIDTH` pixels wide and of :data:`LARGEST` bytes at most."""
    pixels = BytesIO()
    figure.savefig(pixels, format="png", dpi=WIDTH / figure.get_figwidth(), facecolor="white")
    shrink(Image.open(pixels), path)


def shrink(picture: Image.Image, path: Path) -> None:
    """Save ``picture`` as a PNG, :data:`WIDTH` pixels wide and of :data:`LARGEST` bytes at most.

    Where it is larger, it gets a palette, and where that does not suffice, fewer pixels.
    """
    width = min(picture.width, WIDTH)
    while True:
        size = width, round(picture.height * width / picture.width)
        small = picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        indexed = small.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        for candidate in (small, indexed):
            candidate.save(path, format="PNG", optimize=True)
            if path.stat().st_size <= LARGEST:
                return
        width = round(0.9 * width)
