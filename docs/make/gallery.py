"""Run the scripts of the gallery, and keep their pictures for the page.

``python docs/make/gallery.py [NAME ...]`` writes ``docs/images/gallery``; without names, every
script runs. What the scripts print is shown.
"""

from __future__ import annotations

import contextlib
import runpy
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from matplotlib.figure import Figure
from pictures import save_small

from diffeode.datasets import virtual

SCRIPTS = Path(__file__).resolve().parents[1] / "gallery"
PICTURES = SCRIPTS.parent / "images" / "gallery"


def run_script(name: str, folder: Path) -> list[Path]:
    """Run the script ``name`` of the gallery in ``folder``; return the pictures that it saved."""
    figures: list[Path] = []
    save = Figure.savefig

    def keep(figure: Figure, path: str) -> None:
        figures.append(folder / path)
        save_small(figure, folder / path)

    with contextlib.chdir(folder):
        # save_small itself saves the pixels by the original function
        Figure.savefig = lambda figure, path, **how: (save if how else keep)(figure, path, **how)
        try:
            runpy.run_path(str(SCRIPTS / f"{name}.py"))
        finally:
            Figure.savefig = save
    return figures


@contextlib.contextmanager
def made_once() -> Iterator[None]:
    """Make a cohort that several scripts ask for in one folder only once."""
    make, made = virtual.make_cohort, set()

    def make_new(root: Path, persons: int, spacing_mm: float, seed: int) -> None:
        asked = (root.resolve(), persons, spacing_mm, seed)
        if asked not in made:
            make(root, persons, spacing_mm, seed)
        made.add(asked)

    virtual.make_cohort = make_new
    try:
        yield
    finally:
        virtual.make_cohort = make


def script_names() -> list[str]:
    """Return the names of the scripts of the gallery."""
    return sorted(path.stem for path in SCRIPTS.glob("*.py"))


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="diffeode-") as where, made_once():
        for script in sys.argv[1:] or script_names():
            print(script, flush=True)
            for picture in run_script(script, Path(where)):
                shutil.move(picture, PICTURES / picture.name)
