"""How the pictures of the pages are saved: small enough for a repository."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

WIDTH = 1080
"""The width of a picture, pixels; a page shows at most 700 of a screen's."""
COLOURS = 96


def save_small(figure: Figure, path: Path) -> None:
    """Save ``figure`` as a PNG of few colours, :data:`WIDTH` pixels wide at most."""
    pixels = BytesIO()
    figure.savefig(pixels, format="png", dpi=WIDTH / figure.get_figwidth(), facecolor="white")
    shrink(Image.open(pixels), path)


def shrink(picture: Image.Image, path: Path) -> None:
    """Save ``picture`` as a PNG of few colours, :data:`WIDTH` pixels wide at most."""
    picture = picture.convert("RGB")
    if picture.width > WIDTH:
        height = round(picture.height * WIDTH / picture.width)
        picture = picture.resize((WIDTH, height), Image.Resampling.LANCZOS)
    small = picture.quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, format="PNG", optimize=True)
