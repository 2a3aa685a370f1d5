"""The scripts of the gallery run at a smaller size and draw, as do the figures of the concepts."""

import shutil

import figures
import gallery
import numpy as np
import pytest
from PIL import Image

import diffeode as de
from diffeode.datasets import virtual


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """The two persons of the scripts, in coarser voxels."""
    folder = tmp_path_factory.mktemp("cohort")
    virtual.make_cohort(folder, 2, 6.0, 7)
    return folder


@pytest.fixture
def coarse(cohort, monkeypatch):
    """Scripts get the coarse persons, and registrations with few iterations and a given start."""

    def make(root, persons, spacing_mm, seed):
        assert (persons, spacing_mm, seed) == (2, 4, 7)
        shutil.copytree(cohort, root, dirs_exist_ok=True)

    register = de.register

    def quickly(*given, **named):
        few = [20, 20, 10] if named.get("method") == "node-mono" else [3, 2, 1]
        settings = {"levels.iterations": few, **named.pop("settings", {})}
        start = named.pop("init", "centre")
        start = "centre" if start == "affine" else start
        return register(*given, **named, init=start, settings=settings, threads=1)

    monkeypatch.setattr(virtual, "make_cohort", make)
    monkeypatch.setattr(figures, "make_cohort", make_two(cohort))
    monkeypatch.setattr(de, "register", quickly)


def make_two(cohort):
    return lambda root, persons, spacing_mm, seed: shutil.copytree(cohort, root, dirs_exist_ok=True)


def require_drawn(picture):
    pixels = np.asarray(Image.open(picture).convert("L"))
    assert pixels.shape[1] > 500
    assert pixels.std() > 5, f"{picture.name} shows nothing"


@pytest.mark.parametrize("name", gallery.script_names())
def test_a_script_draws_its_picture(name, coarse, tmp_path, capsys):
    (picture,) = gallery.run_script(name, tmp_path)
    assert picture.name == f"{name}.png"
    require_drawn(picture)
    said = capsys.readouterr().out
    if name in SAID:
        SAID[name](said)


def lesion_matters_less(said):
    without, masked = (float(line.split()[-2]) for line in said.splitlines())
    assert masked < 0.7 * without


def growth_is_above_one(said):
    found, true = (float(line.split()[-1]) for line in said.splitlines())
    assert 1 < found < 1.5 * true


def programs_agree(said):
    assert float(said.split(":")[1].split()[0]) < 1e-3


SAID = {
    "lesion": lesion_matters_less,
    "growth": growth_is_above_one,
    "other_programs": programs_agree,
}
"""What is asked of what a script prints."""


def test_the_figures_of_the_concepts_are_drawn(coarse, tmp_path):
    figures.draw_all(tmp_path / "drawn")
    drawn = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert drawn == sorted(path.name for path in figures.FOLDER.iterdir())
    for name in drawn:
        require_drawn(tmp_path / "drawn" / name)
