"""Examples in the plane (arXiv 2108.03443, 3.3): what kernel, Jacobian term and border do."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import ndimage

from diffeode.datasets import shapes
from diffeode.errors import InputError
from diffeode.figures.plane import BOUNDARY, REGULARISATION, ROWS, grid_lines, plane_figure
from diffeode.methods.neural_ode import NeuralODE
from diffeode.registration import plane
from diffeode.registration.plane import PlaneRegistration, register_in_plane
from diffeode.registration.runs import load_run

SIDE = 48
QUICK = {"levels.iterations": [60]}


def in_plane(name: str, by: dict) -> PlaneRegistration:
    pictures = (part(SIDE) for part in shapes.PAIRS[name])
    return register_in_plane(load_run("nodeo"), *pictures, {**QUICK, **by}, seed=1)


@pytest.mark.parametrize("name", shapes.PAIRS)
def test_shapes_have_their_topology(name):
    expected = {"donut": (1, 1), "two_squares": (2, 0)}
    for shape in shapes.PAIRS[name]:
        inside = shape(SIDE) > 0.5
        holes = ndimage.label(~inside, np.ones((3, 3)))[1] - 1
        assert (ndimage.label(inside)[1], holes) == expected.get(shape.__name__, (1, 0))


class BuiltError(Exception):
    """Carries the method that was to register."""


@pytest.mark.parametrize(
    ("name", "change", "expected"),
    [
        ("nodeo", {}, (True, 2)),
        ("nodeo", {"flow.steps": 5}, (True, 5)),
        ("paper-mind", {}, (True, 2)),
        ("node", {}, None),
        ("paper-lddmm", {}, None),
    ],
)
def test_a_network_that_follows_the_pixels_depends_on_time(monkeypatch, name, change, expected):
    """The paper's demonstrations in the plane are non-autonomous; other runs stay as they are."""

    def built(method, *_):
        raise BuiltError(method)

    monkeypatch.setattr(NeuralODE, "velocity_between", built)
    run = load_run(name).changed(change) if change else load_run(name)
    pictures = shapes.circle(SIDE), shapes.circle(SIDE)
    with pytest.raises(BuiltError) as caught:
        register_in_plane(run, *pictures, {}, 1)
    (found,) = caught.value.args
    if expected:
        assert (found.velocity.field.timed, found.flow.steps) == expected
    else:
        assert (found.velocity.field, found.flow) == (run.build().velocity.field, run.build().flow)


def test_a_fixed_border_stays_and_a_free_one_moves():
    still, free = (in_plane("circle to square", by) for by in (plane.FIXED, plane.FREE))

    def largest_on_border(found: PlaneRegistration) -> float:
        field = found.displacement
        sides = (field[:, 0], field[:, -1], field[:, :, 0], field[:, :, -1])
        return max(np.abs(side).max() for side in sides)

    assert largest_on_border(still) == 0 < 0.5 < largest_on_border(free)
    for found in (still, free):
        assert np.abs(found.warped - found.fixed).mean() < np.abs(found.moving - found.fixed).mean()


def test_the_jacobian_term_prevents_folds():
    longer = {"levels.iterations": [150]}
    with_term, without = (
        in_plane("squares to one", {**longer, **by}) for by in ({}, plane.WITHOUT_JACOBIAN)
    )
    assert with_term.folded_percent < 1 < 5 < without.folded_percent


def test_without_a_kernel_the_map_is_rougher():
    with_kernel, without = (
        in_plane("star to cross", {**plane.WITHOUT_JACOBIAN, **by})
        for by in ({}, plane.WITHOUT_KERNEL)
    )

    def roughness(found: PlaneRegistration) -> float:
        return float(np.abs(np.diff(found.displacement, 2, axis=1)).mean())

    assert roughness(without) > 2 * roughness(with_kernel)


def test_a_seed_gives_the_same_map():
    first, second = (in_plane("circle to square", {"levels.iterations": [3]}) for _ in range(2))
    np.testing.assert_array_equal(first.displacement, second.displacement)


def test_the_determinant_of_a_linear_map_is_its_own():
    x, y = np.meshgrid(np.arange(7.0), np.arange(9.0), indexing="ij")
    displacement = np.stack([0.2 * x - 0.3 * y, 0.1 * x - 1.5 * y])
    nothing = np.zeros((7, 9))
    found = PlaneRegistration(nothing, nothing, nothing, displacement)
    np.testing.assert_allclose(found.determinant, 1.2 * -0.5 + 0.3 * 0.1)
    assert found.folded_percent == 100


@pytest.mark.parametrize(
    ("run", "shape", "sentence"),
    [
        ("ants-syn", (SIDE, SIDE), "Run ants-syn registers by ants-syn, which takes no pictures"),
        ("nodeo", (SIDE, SIDE + 1), r"these have the shapes \(48, 48\) and \(48, 49\)"),
        ("nodeo", (SIDE, SIDE, SIDE), "Two pictures on one grid are needed"),
    ],
)
def test_what_is_no_pair_of_pictures_is_refused(run, shape, sentence):
    with pytest.raises(InputError, match=sentence):
        register_in_plane(load_run(run), shapes.circle(SIDE), np.zeros(shape), {}, 0)


# ------------------------------------------------------------------------------------------- figure


def made(seed: int) -> PlaneRegistration:
    """A smooth map that folds in some places."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.normal(size=(2, 20, 30)), (0, 2, 2))
    pictures = rng.random((3, 20, 30))
    return PlaneRegistration(*pictures, 12 * field / np.abs(field).max())


@pytest.mark.parametrize("rows", [BOUNDARY, REGULARISATION])
def test_every_row_shows_its_own_part_of_its_own_registration(rows, monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append(figure))
    columns = {"First": made(1), "Second": made(2)}
    assert all(found.folded_percent > 0 for found in columns.values())
    plane_figure(columns, rows, tmp_path / "plane.svg")
    (figure,) = figures
    cells = figure.axes[:-1]
    assert len(cells) == len(columns) * len(rows)
    assert [cell.get_ylabel() for cell in cells[: len(rows)]] == list(rows)
    words = [text.get_text() for text in figure.texts]
    for place, (title, found) in enumerate(columns.items()):
        assert f"{title}\n{found.folded_percent:.2g} % folded" in words
        for row, name in enumerate(rows):
            assert_cell(cells[place * len(rows) + row], name, found)
    assert set(rows) <= set(ROWS)


@pytest.mark.parametrize("count", [1, 4, 10])
def test_the_frames_of_all_columns_lie_on_the_page(count, monkeypatch, tmp_path):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append(figure))
    plane_figure({str(n): made(n) for n in range(count)}, BOUNDARY, tmp_path / "plane.svg")
    for cell in figures[0].axes:
        box = cell.get_position()
        assert 0 < box.x0 < box.x1 < 0.997
        assert 0 < box.y0 < box.y1 < 1


def assert_cell(cell, name: str, found: PlaneRegistration) -> None:
    if name == "Grid":
        (lines,) = cell.collections
        expected = grid_lines(found.displacement)
        assert len(lines.get_segments()) == len(expected)
        np.testing.assert_allclose(lines.get_segments()[0], expected[0])
        return
    if name in ("|J|", "Negative |J|"):
        *picture, marks = cell.images
        marked = np.ma.filled(marks.get_array(), np.nan) == 1
        np.testing.assert_array_equal(marked, found.determinant <= 0)
        assert to_hex(marks.cmap(0.5)) == "#ffe100"
        if name == "|J|":
            np.testing.assert_allclose(picture[0].get_array(), found.determinant)
        return
    np.testing.assert_allclose(cell.images[0].get_array(), getattr(found, name.lower()))


def test_grid_lines_end_where_the_map_sends_the_corners():
    found = made(3)
    first = grid_lines(found.displacement)[0]
    down, across = found.displacement[:, 0, 0]
    np.testing.assert_allclose(first[0], (across, down))
    down, across = found.displacement[:, 0, -1]
    np.testing.assert_allclose(first[-1], (29 + across, down))
