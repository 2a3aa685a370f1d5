"""The Python examples of docs/library.md and of the README run, one after the other, in a folder
with the files that they name.
"""

import re
import shutil
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import diffeode as de
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid

PAGE = Path(__file__).resolve().parents[2] / "docs" / "library.md"
GRID = Grid(
    (24, 24, 24), np.array([[-4.0, 0, 0, 46], [0, 4, 0, -46], [0, 0, 4, -46], [0, 0, 0, 1]])
)


def write_files():
    for name, shift in (("fixed", 0), ("moving", 3), ("head", 0)):
        points = GRID.points_mm() - [shift, 0, 0]
        inside = np.linalg.norm(points / (36, 34, 35), axis=-1) < 1
        waves = np.sin(points / 7).sum(axis=-1)
        io.write_image(f"{name}.nii.gz", Image(np.where(inside, 300 + 60 * waves, 0), GRID))
        io.write_labels(f"{name}_dseg.nii.gz", Labels(inside * (1 + (waves > 0)), GRID))
        io.write_image(f"{name}_T2w.nii.gz", Image(np.where(inside, 300 - 90 * waves, 0), GRID))
    coarse = GRID.resample(9.0)
    io.write_image("coarse.nii.gz", Image(coarse.voxels()[..., 0], coarse))
    here = {"name": ["a", "b"], "x": [1.0, 5], "y": [2.0, -4], "z": [3.0, 8]}
    de.save_points("landmarks.fcsv", pd.DataFrame(here))
    de.save_points("fixed_landmarks.csv", pd.DataFrame(here))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the Python blocks of a page in a folder with their files; return the names they bind."""
    monkeypatch.chdir(tmp_path)
    write_files()
    # Other methods show the same calls, but take longer, and ANTs with several threads differs a
    # little from call to call.
    register, quick = de.register, {"method": "identity", "init": "centre"}
    # Only our own method can be guided.
    few = {"levels.factors": [2.0], "levels.iterations": [2]}
    ours = {**quick, "method": "node-mind", "settings": few}

    def quickly(fixed, moving, **named):
        return register(fixed, moving, **named | (ours if isinstance(fixed, list) else quick))

    monkeypatch.setattr(de, "register", quickly)

    def blocks_of(page, count):
        blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
        assert len(blocks) >= count
        names: dict = {}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            for block in blocks:
                exec(compile(block, str(page), "exec"), names)
        return names

    return blocks_of


def test_every_example_of_the_page_runs(run, tmp_path, capsys):
    names = run(PAGE, 8)
    assert names["guided"].metrics["tre_before_mm"] > 0
    for written in ("warped.nii.gz", "warp.nii.gz", "warp.h5", "shift.txt", "OUT/metrics.json"):
        assert (tmp_path / written).is_file()
    assert "nothing looks wrong" in capsys.readouterr().out or names["result"].suspect
    moved, points = names["moved"], names["points"]
    shift = (moved[["x", "y", "z"]] - points[["x", "y", "z"]]).to_numpy()
    np.testing.assert_allclose(np.median(shift, axis=0), [3, 0, 0], atol=1)
    assert np.abs(names["here"] - [4, -3, 2]).max() < 0.1


def test_the_examples_of_the_readme_run(run):
    for name in ("fixed", "moving"):
        shutil.copy(f"{name}.nii.gz", f"{name.upper()}.nii.gz")
    names = run(PAGE.parents[1] / "README.md", 1)
    np.testing.assert_allclose(names["points_in_moving"], [[13, 20, 30]], atol=1.5)


def test_the_page_lists_every_name():
    text = PAGE.read_text(encoding="utf-8")
    table = text.partition("| name |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= set(de.__all__)
