"""Figures of several methods on one pair and of sweeps: what is drawn is what was given."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from scipy import ndimage

from diffeode.errors import DamagedFileError
from diffeode.figures import pair_panel, slices, style
from diffeode.figures.beside import PLANE, ROWS, Column, _Layout, beside
from diffeode.figures.sweep import sweep_curves, values_along
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, densify
from diffeode.provenance.receipt import write_receipt
from diffeode.registration.runs import load_run
from diffeode.statistics.tidy import COLUMNS

GRID = Grid((24, 20, 18), np.diag([2.0, 2.0, 2.0, 1.0]))
ALIGNMENT = Affine(np.array([[1.05, 0, 0, 1], [0, 0.97, 0, -2], [0, 0, 1.0, 0], [0, 0, 0, 1]]))
RUNS = {"first": 0.61, "second": 0.72, "broken": None}
TITLES = {"second": "Second run", "first": "First run", "broken": "Broken run"}


def texture(seed: int) -> Image:
    """A ball of noise."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(GRID.shape), 1)
    inside = np.linalg.norm(GRID.points_mm() - GRID.centre_mm, axis=-1) < 14
    return Image(np.where(inside, 0.5 + noise, 0).astype(np.float32), GRID)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A pair and three registrations of it, the last of which failed; the first one folds."""
    root = tmp_path_factory.mktemp("pair")
    images = {"fixed": texture(1), "moving": texture(2)}
    for name, image in images.items():
        io.write_image(root / "pair" / f"{name}.nii.gz", image)
    io.write_affine(root / "pair" / "moving_to_scan.txt", ALIGNMENT)
    for seed, (run, dice) in enumerate(RUNS.items(), start=3):
        folder, table = root / run, root / "metrics" / "e" / "f__m" / f"{run}.tsv"
        folder.mkdir()
        rows = "failed\t\t\t1\n" if dice is None else f"dice\t\t\t{dice}\nnmi\t\t\t1.1\n"
        table.parent.mkdir(parents=True, exist_ok=True)
        table.write_text(f"metric\tlabel\tlabel_name\tvalue\n{rows}")
        if dice is None:
            write_receipt(folder, [], {"status": "failed", "reason": "it was too hard"})
            continue
        noise = np.random.default_rng(seed).normal(size=(*GRID.shape, 3))
        smooth = ndimage.gaussian_filter(noise, (2, 2, 2, 0))
        size = 20 if run == "first" else 2
        own = DisplacementField((size * smooth / np.abs(smooth).max()).astype(np.float32), GRID)
        io.write_displacement(folder / "warp.nii.gz", densify(own.then(ALIGNMENT), GRID))
        io.write_image(folder / "warped.nii.gz", texture(seed + 10))
    return root


def side_by_side(files, out) -> None:
    beside(
        {run: files / run for run in TITLES},
        files / "pair",
        {run: files / "metrics" / "e" / "f__m" / f"{run}.tsv" for run in TITLES},
        TITLES,
        "The pair",
        out,
    )


def test_every_method_stands_under_its_name_with_its_scores(files, drawn, tmp_path):
    side_by_side(files, tmp_path / "beside.png")
    (figure,) = drawn
    words = [text.get_text() for text in figure.texts]
    scene = pair_panel.read_scene(files / "first", files / "pair")
    folded, counted = scene.folds()
    assert folded > 0
    for expected in (
        *("The pair", "Fixed", "Moving, after affine"),
        "Second run\nDice 0.720\nno folds",
        f"First run\nDice 0.610\n{100 * folded / counted:.2g} % folds",
        "Broken run\nfailed",
        *ROWS,
    ):
        assert words.count(expected) == 1, expected


def test_every_picture_is_of_its_own_method_and_row(files, drawn, tmp_path):
    side_by_side(files, tmp_path / "beside.png")
    (figure,) = drawn
    pictures = sorted(
        (axes for axes in figure.axes if not axes.get_xlabel()),
        key=lambda axes: (round(axes.get_position().x0, 3), -axes.get_position().y0),
    )
    scenes = [pair_panel.read_scene(files / run, files / "pair") for run in ("second", "first")]
    fixed, moving, again, *warped = pictures
    assert len(warped) == 2 * len(ROWS)
    index = slices.middle(scenes[0].mask, PLANE)

    def grey(volume: np.ndarray, like: np.ndarray) -> np.ndarray:
        return slices.shade(slices.cut(volume, PLANE, index), slices.window(like)).T

    expected = grey(scenes[0].fixed, scenes[0].fixed)
    np.testing.assert_allclose(fixed.images[0].get_array(), expected)
    for axes in (moving, again):
        expected = grey(scenes[0].moving, scenes[0].moving)
        np.testing.assert_allclose(axes.images[0].get_array(), expected)
    assert [bool(axes.collections) for axes in (fixed, moving, again)] == [False, False, True]
    scales = set()
    for place, scene in enumerate(scenes):
        scan, edges, grid, jacobian = warped[4 * place : 4 * place + 4]
        for axes in (scan, edges):
            expected = grey(scene.warped, scene.moving)
            np.testing.assert_allclose(axes.images[0].get_array(), expected)
        assert not scan.collections
        assert edges.collections
        scales.add((grid.collections[0].norm.vmin, grid.collections[0].norm.vmax))
        inside = slices.cut(scene.mask & (scene.determinant > 0), PLANE, index).T
        shown = np.ma.filled(jacobian.images[0].get_array(), np.nan)
        determinant = np.where(scene.mask & (scene.determinant > 0), scene.determinant, 1)
        logarithm = np.log(slices.cut(determinant, PLANE, index).T)
        np.testing.assert_allclose(shown[inside], logarithm[inside], atol=1e-6)
    largest = max(pair_panel.displacement_norm(scene).vmax for scene in scenes)
    assert scales == {(0, largest)}


def test_a_pair_on_which_every_run_failed_says_so(files, drawn, tmp_path):
    beside({"broken": files / "broken"}, files / "pair", {}, TITLES, "The pair", tmp_path / "b.png")
    assert "Every run failed" in drawn[0].texts[0].get_text()


def test_the_panel_of_a_pair_shows_its_dice(files, drawn, tmp_path):
    table = files / "metrics" / "e" / "f__m" / "second.tsv"
    pair_panel.pair_panel(files / "second", files / "pair", "Title", tmp_path / "p.png", table)
    assert [text.get_text() for text in drawn[0].texts][:2] == ["Title", "Dice 0.720"]
    with pytest.raises(DamagedFileError, match=r"lost\.tsv"):
        pair_panel.dice_in_words(files / "lost.tsv")


def test_without_an_alignment_nothing_is_called_affine(files):
    pair_files = [io.read_image(files / "pair" / f"{name}.nii.gz") for name in ("fixed", "moving")]
    still = DisplacementField(np.zeros((*GRID.shape, 3), dtype=np.float32), GRID)
    scene = pair_panel.scene_of(*pair_files, pair_files[1], still, Affine())
    assert scene.moving_heading == "Moving"


# ------------------------------------------------------------------------------------------- sweeps

VALUES = (0.5, 0.01, 0.1)
POINTS = pd.DataFrame(
    [
        (series, f"{series}-{value}", parameter, value)
        for series, parameter in (("Ours", "penalties.jacobian.barrier"), ("Theirs", "weight"))
        for value in VALUES
    ],
    columns=["series", "run", "parameter", "value"],
)
EXPERIMENTS = {"e2": "Second", "e1": "First"}
MEASURES = ("folds_central_grid_percent", "dice")


@pytest.fixture(scope="module")
def metrics() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = []
    for experiment in ("e1", "e2", "unasked"):
        for pair in range(5):
            for run in (*POINTS["run"], "stray"):
                where = (experiment, f"p{pair}", run, "f", "m")
                rows.append((*where, "dice", "", "", rng.random()))
                folds = 0.0 if run == "Ours-0.5" else rng.random()
                rows.append((*where, "folds_central_grid_percent", "", "", folds))
    return pd.DataFrame(rows, columns=list(COLUMNS)).sample(frac=1, random_state=0)


def test_curves_run_through_the_medians_of_their_own_series(metrics, drawn, tmp_path):
    sweep_curves(metrics, POINTS, EXPERIMENTS, tmp_path / "sweep.svg")
    (figure,) = drawn
    panels = np.array(figure.axes).reshape(3, 2)
    assert [panel.get_title("left") for panel in panels[0]] == list(EXPERIMENTS.values())
    wide = metrics.pivot(index=["experiment", "run", "pair"], columns="metric", values="value")
    of_runs = wide.groupby(["experiment", "run"])
    middle, quartiles = of_runs.median(), of_runs.quantile([0.25, 0.75])
    (legend,) = figure.legends
    looks = style.looks({"Ours: barrier": "", "Theirs: weight": ""})
    assert [text.get_text() for text in legend.texts] == list(looks)
    for column, experiment in enumerate(EXPERIMENTS):
        for series, look in zip(("Ours", "Theirs"), looks.values(), strict=True):
            names = [f"{series}-{value}" for value in sorted(VALUES)]
            found = middle.loc[experiment].loc[names]
            folds, dice = (found[metric] for metric in MEASURES)
            line = own_line(panels[0, column], look)
            np.testing.assert_allclose(line.get_xdata(), folds)
            np.testing.assert_allclose(line.get_ydata(), dice)
            for row, metric in ((1, "dice"), (2, "folds_central_grid_percent")):
                panel = panels[row, column]
                line = own_line(panel, look)
                np.testing.assert_allclose(line.get_xdata(), sorted(VALUES))
                np.testing.assert_allclose(line.get_ydata(), found[metric])
                within = quartiles.loc[experiment].loc[names, metric].unstack()
                np.testing.assert_allclose(own_band(panel, look), within)
                assert panel.get_xlabel() == "Value of barrier or weight"
            named = {
                text.get_text(): text.xy
                for text in panels[0, column].texts
                if to_hex(text.get_color()) == look.colour
            }
            ends = {"0.01": (folds.iloc[0], dice.iloc[0]), "0.5": (folds.iloc[-1], dice.iloc[-1])}
            assert named == ends
        low, high = panels[0, column].get_xlim()
        assert low == 0
        assert middle["folds_central_grid_percent"].max() < high
        assert sum(0 < tick < high for tick in panels[0, column].get_xticks()) >= 2


def test_where_folds_are_unknown_the_figure_of_sweeps_does_not_say_that_there_are_none(
    metrics, drawn, tmp_path
):
    folds = (metrics["metric"] == "folds_central_grid_percent") & (metrics["experiment"] == "e1")
    sweep_curves(metrics[~folds], POINTS, EXPERIMENTS, tmp_path / "sweep.svg")
    said = {text.get_text() for panel in drawn[0].axes for text in panel.texts}
    assert "No run folds a voxel." not in said
    none_known = metrics[metrics["metric"] == "dice"]
    sweep_curves(none_known, POINTS, EXPERIMENTS, tmp_path / "sweep.svg")
    assert "No run folds a voxel." not in {
        text.get_text() for panel in drawn[1].axes for text in panel.texts
    }


def test_where_nothing_folds_the_figure_of_sweeps_says_so(metrics, drawn, tmp_path):
    folds = (metrics["metric"] == "folds_central_grid_percent") & (metrics["experiment"] == "e1")
    sweep_curves(
        metrics.assign(value=metrics["value"].where(~folds, 0.0)),
        POINTS,
        EXPERIMENTS,
        tmp_path / "sweep.svg",
    )
    panels = np.array(drawn[0].axes).reshape(3, 2)
    said = [{text.get_text() for text in panel.texts} for panel in panels[:, 1]]
    assert said == [{"No run folds a voxel."}, set(), {"No run folds a voxel."}]
    assert {text.get_text() for text in panels[0, 0].texts} == {"0.5", "0.01"}
    assert not panels[2, 0].texts
    assert panels[2, 1].get_ylim()[0] == 0


def own_line(panel, look: style.Look):
    lines = [line for line in panel.lines if to_hex(line.get_color()) == look.colour]
    (line,) = [line for line in lines if len(line.get_xdata())]
    assert line.get_marker() == look.marker
    return line


def own_band(panel, look: style.Look) -> list[tuple[float, float]]:
    """Return the lower and the upper end of the band around a curve at each value."""
    (band,) = [c for c in panel.collections if to_hex(c.get_facecolor()[0]) == look.colour]
    x, y = band.get_paths()[0].vertices.T
    return [(y[x == value].min(), y[x == value].max()) for value in sorted(VALUES)]


def test_further_settings_part_a_sweep_into_series(metrics):
    steps = POINTS.assign(parameter="flow.steps", series="NODEO")
    both = pd.concat(
        [steps.astype(object), POINTS.assign(parameter="levels.iterations", value=200)]
    )
    table = values_along(metrics, both)
    assert set(table["series"]) == {"NODEO, iterations 200: steps"}
    assert len(table) == 3 * 5 * len(POINTS)


def test_settings_that_one_method_varies_one_after_the_other_have_a_column_each(
    metrics, drawn, tmp_path
):
    one = POINTS.assign(series="NODEO")
    sweep_curves(metrics, one, EXPERIMENTS, tmp_path / "sweep.svg")
    panels = np.array(drawn[0].axes).reshape(3, 4)
    titles = [" ".join(panel.get_title("left").split()) for panel in panels[0]]
    assert titles == ["Second: barrier", "Second: weight", "First: barrier", "First: weight"]
    looks = style.looks({"NODEO: barrier": "", "NODEO: weight": ""})
    for column, setting in enumerate(("barrier", "weight") * 2):
        for panel in panels[:, column]:
            curves = {to_hex(line.get_color()) for line in panel.lines if len(line.get_xdata())}
            assert curves == {looks[f"NODEO: {setting}"].colour}
        assert panels[1, column].get_xlabel() == f"Value of {setting}"
        for row, first in ((0, 0), (1, column % 2), (2, column % 2)):
            assert panels[row, column].get_xlim() == panels[row, first].get_xlim()


def test_values_that_are_words_are_drawn_in_their_order(metrics, drawn, tmp_path):
    words = dict(zip(VALUES, ("network", "tensor", "free"), strict=True))
    named = POINTS.assign(value=POINTS["value"].map(words))
    sweep_curves(metrics, named, EXPERIMENTS, tmp_path / "sweep.svg")
    panel = drawn[0].axes[2]
    assert [text.get_text() for text in panel.get_xticklabels()] == list(words.values())


@pytest.mark.parametrize(
    ("whole", "ticks"),
    [((8, 1, 4), [1, 4, 8]), ((300, 2, 1), [1, 300]), ((3, 3, 3), [3])],
    ids=["numbers of steps", "numbers too close to be read", "one number"],
)
def test_ticks_of_whole_numbers_stand_at_the_values_that_were_tried(
    metrics, drawn, tmp_path, whole, ticks
):
    """There are no two and a half steps."""
    values = dict(zip(VALUES, whole, strict=True))
    steps = POINTS.assign(value=POINTS["value"].map(values).astype(object))
    sweep_curves(metrics, steps, EXPERIMENTS, tmp_path / "sweep.svg")
    panels = np.array(drawn[0].axes).reshape(3, 2)
    for panel in panels[1:].ravel():
        assert list(panel.get_xticks()) == ticks
        assert [text.get_text() for text in panel.get_xticklabels()] == list(map(str, ticks))


def test_ticks_of_other_numbers_stand_at_round_numbers(metrics, drawn, tmp_path):
    sweep_curves(metrics, POINTS, EXPERIMENTS, tmp_path / "sweep.svg")
    panel = drawn[0].axes[2]
    assert set(np.round(panel.get_xticks(), 3)) - set(VALUES)


def test_without_dice_the_figure_of_sweeps_says_so(metrics, drawn, tmp_path):
    sweep_curves(metrics[metrics["metric"] != "dice"], POINTS, EXPERIMENTS, tmp_path / "sweep.svg")
    assert "have no labels" in drawn[0].texts[0].get_text()


def test_words_above_a_column_are_no_wider_than_it_and_have_their_place():
    columns = [Column(load_run("node").title, "Dice 0.787\nno folds", "warped", None)] * 7
    layout = _Layout(columns, 150.0, 170.0)
    figure = Figure(dpi=200)
    words = figure.text(0, 0, layout.words_above(columns[0]), fontsize=6)
    extent = words.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert extent.width / figure.dpi < layout.cell_in
    assert extent.height / figure.dpi < layout.words_in
