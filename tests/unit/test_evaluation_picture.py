"""The picture of a measured map: what stands in it, and that contours lie where the images do."""

import re

import matplotlib as mpl
import numpy as np
import pytest

import diffeode as de
from diffeode.figures import evaluation as drawn
from diffeode.figures.evaluation import EvaluationScene, draw_evaluation
from diffeode.geometry.space import RAS_TO_LPS, Grid

GRID = Grid((24, 22, 20), np.diag([-3.0, 3, 3, 1]) + np.outer([34, -31, -28, 0], [0, 0, 0, 1]))


def ball(shift=0.0):
    x, y, z = np.moveaxis(GRID.points_mm(), -1, 0)
    waves = 2 + np.sin(x / 6) * np.cos(y / 7)
    return np.where(np.hypot(np.hypot(x - shift, y), z) < 24, 90 * waves, 0).astype(np.float32)


def lobes(shift=0.0):
    return np.where(ball(shift) > 0, np.where(GRID.points_mm()[..., 0] > shift, 17, 4), 0)


@pytest.fixture
def cells(monkeypatch):
    """The axes of the picture that is drawn."""
    found = []
    page = drawn.style.page

    class Page:
        def __init__(self, *given, **named):
            self.page = page(*given, **named)

        def __enter__(self):
            self.figure = self.page.__enter__()
            return self.figure

        def __exit__(self, *error):
            found.extend(self.figure.axes)
            return self.page.__exit__(*error)

    monkeypatch.setattr(drawn.style, "page", Page)
    return found


def extent_of(collection):
    points = np.concatenate([path.vertices for path in collection.get_paths()])
    return points.min(axis=0), points.max(axis=0)


def test_overlap_and_errors_before_and_after_stand_in_the_picture(tmp_path, cells):
    shift = np.eye(4)
    shift[0, 3] = 6
    points = de.load_points
    here = tmp_path / "here.csv"
    here.write_text("name,x,y,z\nleft,3,2,1\nfront,-4,5,6\n")
    there = tmp_path / "there.csv"
    there.write_text("name,x,y,z\nleft,9,2,1\nfront,2,5,8\n")
    found = de.evaluate(
        de.Transform.from_matrix(shift),
        (ball(), GRID.affine),
        (ball(6.0), GRID.affine),
        fixed_labels=(lobes().astype(np.int16), GRID.affine),
        labels=(lobes(6.0).astype(np.int16), GRID.affine),
        fixed_landmarks=points(here),
        landmarks=points(there),
        picture=tmp_path / "overlap.svg",
    )
    assert found.metrics["dice"] == pytest.approx(1)
    text = " ".join(re.findall(r">([^<>]+)<", (tmp_path / "overlap.svg").read_text()))
    for words in ("As the headers say: axial", "After the map: sagittal", "Dice", "HD95 (mm)"):
        assert words in text
    errors = {cell.get_title(loc="left") or cell.get_title(): cell for cell in cells[6:]}
    dice, hd95, tre = errors.values()
    before, after = (line.get_ydata() for line in dice.lines)
    assert after == pytest.approx([1, 1])
    assert (before < 0.9).all()
    assert [tick.get_text() for tick in dice.get_xticklabels()] == ["4", "17"]
    assert hd95.lines[1].get_ydata() == pytest.approx([0, 0])
    assert tre.lines[0].get_ydata() == pytest.approx([6, np.sqrt(36 + 4)])
    assert tre.lines[1].get_ydata() == pytest.approx([0, 2], abs=1e-4)
    for row, same in ((cells[:3], False), (cells[3:6], True)):
        fixed, moving = (extent_of(collection) for collection in row[0].collections)
        assert np.allclose(fixed, moving) == same


def test_contours_of_intensities_are_drawn_without_labels(tmp_path, cells):
    image = (ball(), GRID.affine)
    de.evaluate(de.Transform.from_matrix(np.eye(4)), image, image, picture=tmp_path / "p.png")
    assert mpl.image.imread(tmp_path / "p.png").shape[1] > 1000
    assert len(cells) == 6
    for cell in cells:
        fixed, moving = (extent_of(collection) for collection in cell.collections)
        np.testing.assert_allclose(fixed, moving)


def test_a_slice_has_one_view_and_runs_downwards(tmp_path, cells):
    grid = Grid((30, 20, 1), RAS_TO_LPS)
    x, y = np.meshgrid(np.arange(30), np.arange(20), indexing="ij")
    ids = ((x > 4) & (x < 12) & (y > 2) & (y < 8)).astype(int)[..., None]
    scene = EvaluationScene(grid, ids.astype(np.float32), ids, ids, ids, "Before")
    draw_evaluation(scene, "a slice", tmp_path / "slice.png")
    assert len(cells) == 2
    (low, high), _ = (extent_of(collection) for collection in cells[1].collections)
    np.testing.assert_allclose([low, high], [[4.5, 2.5], [11.5, 7.5]])
    bottom, top = cells[1].get_ylim()
    assert bottom > top, "rows run downwards"


def test_names_of_other_kinds_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(de.InputError, match=r"end it in one of \.png, \.svg, \.pdf"):
        de.evaluate(de.Transform.from_matrix(np.eye(4)), "no", "no", picture=tmp_path / "p.gif")
