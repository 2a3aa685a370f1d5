"""Figures show what they were given: every value, run, colour, title, order, axis and picture is
compared.
"""

from itertools import pairwise
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.markers import MarkerStyle
from matplotlib.path import Path
from scipy import ndimage
from scipy.spatial import KDTree

from diffeode.desk.overview import scene_of_maps
from diffeode.evaluation.jacobian import jacobian_determinant
from diffeode.figures import edges, pair_panel, slices, style
from diffeode.figures.convergence import convergence
from diffeode.figures.coronal_overview import coronal_overview
from diffeode.figures.descriptor_distance import DistanceRow, descriptor_distance
from diffeode.figures.dice_boxplot import dice_boxplot
from diffeode.figures.dice_by_structure import dice_by_structure
from diffeode.figures.longitudinal import draw_ventricles
from diffeode.figures.moved_grid import SHADES
from diffeode.figures.regularity import regularity
from diffeode.figures.significance import shown_p, significance_matrix
from diffeode.figures.training_curves import training_curves
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, densify, warp_image
from diffeode.statistics.longitudinal import REGISTERED, read_visits, write_visits
from diffeode.statistics.longitudinal import TITLES as WAYS
from diffeode.statistics.tidy import COLUMNS

MOVING = pair_panel.AFTER_AFFINE
TITLES = {"zeta": "Zeta method", "identity": "Identity", "ours": "Our own", "alpha": "Alpha method"}
"""The titles, in an order that is neither that of the alphabet nor that of the table."""
OURS = "ours"
EXPERIMENTS = {"late": "Newborns of B", "early": "Adults of A"}
LABELS = {
    "17": ("Left-Hippocampus", "Hippocampus", 0.5),
    "53": ("Right-Hippocampus", "Hippocampus", 0.6),
    "16": ("Brain-Stem", "Brain stem", 0.9),
    "18": ("Left-Amygdala", "Amygdala", 0.1),
    "54": ("Right-Amygdala", "Amygdala", 0.2),
}
"""Name, shown name and typical Dice. The order of the figure is neither that of ids nor that of
names.
"""
FAILED = [("late", "p3", "alpha"), ("late", "p5", "alpha"), ("early", "p1", "zeta")]


@pytest.fixture(scope="module")
def metrics() -> pd.DataFrame:
    """A study whose values all differ, skewed so that mean and median differ, its rows shuffled.

    The mean Dice is independent of that of the labels. The table also has a run and an experiment
    that no figure is to show.
    """
    rng = np.random.default_rng(0)
    rows = []
    for experiment, pairs in {"early": 7, "unasked": 4, "late": 9}.items():
        for pair in (f"p{number}" for number in range(pairs)):
            for run in ("alpha", "ours", "stray", "identity", "zeta"):
                where = (experiment, pair, run, "fixed", "moving")
                if (experiment, pair, run) in FAILED:
                    rows.append((*where, "failed", "", "", 1.0))
                    continue
                rows.append((*where, "dice", "", "", 0.95 * rng.random() ** 3))
                rows += [
                    (*where, "dice", label, name, typical + 0.08 * rng.random() ** 3)
                    for label, (name, _, typical) in LABELS.items()
                ]
                rows += [
                    (*where, "hd95_mm", label, LABELS[label][0], 9 * rng.random())
                    for label in LABELS
                ]
                folds = 0.0 if run == "identity" else 0.02 + rng.random() ** 3
                rows.append((*where, "folds_central_grid_percent", "", "", folds))
                rows += [
                    (*where, metric, "", "", 2 + 50 * rng.random() ** 3)
                    for metric in (
                        "folds_onesided_percent",
                        "seconds",
                        "cpu_seconds",
                        "hd95_mm",
                        "nmi",
                    )
                ]
    table = pd.DataFrame(rows, columns=COLUMNS)
    table.loc[(table["pair"] == "p2") & (table["label"] == "53"), "value"] = np.nan
    return table.sample(frac=1, random_state=1).reset_index(drop=True)


def values(metrics: pd.DataFrame, experiment: str, run: str, metric: str = "dice") -> np.ndarray:
    """``metric`` of the whole image, one value a registered pair."""
    asked = {"experiment": experiment, "run": run, "metric": metric, "label": ""}
    return metrics[(metrics[list(asked)] == list(asked.values())).all(axis=1)]["value"].to_numpy()


def title(panel: Axes) -> str:
    """Return the title in one line, wherever it stands."""
    return " ".join((panel.get_title("left") or panel.get_title()).split())


def is_colour(found: object, run: str) -> bool:
    return to_hex(found) == to_hex(style.looks(TITLES, OURS)[run].colour)


def rows_of(panel: Axes) -> dict[str, float]:
    """The text of each tick of the upright axis, and where it stands."""
    return dict(
        zip((t.get_text() for t in panel.get_yticklabels()), panel.get_yticks(), strict=True)
    )


def assert_legend(figure: Figure) -> None:
    """Check that the legend has one entry for each run: its title, its colour and, where it has
    one, its mark.
    """
    (legend,) = [child for child in figure.get_children() if isinstance(child, Legend)]
    looks = style.looks(TITLES, OURS)
    assert [text.get_text() for text in legend.get_texts()] == list(TITLES.values())
    assert [to_hex(h.get_color()) for h in legend.legend_handles] == [
        look.colour for look in looks.values()
    ]
    marks = [handle.get_marker() for handle in legend.legend_handles]
    assert marks == [look.marker for look in looks.values()]


def assert_in_view(panel: Axes, across: np.ndarray) -> None:
    """Check that the axis shows all of ``across`` and runs to the right."""
    left, right = panel.get_xlim()
    assert left < across.min() <= across.max() < right


def emboldened(labels) -> list[str]:
    return [label.get_text() for label in labels if label.get_fontweight() == "bold"]


# -------------------------------------------------------------------------------- the study's table


def test_the_boxplot_shows_the_mean_dice_of_every_pair(metrics, drawn, tmp_path):
    dice_boxplot(metrics, TITLES, EXPERIMENTS, tmp_path / "box.svg", OURS)
    panels = drawn[-1].axes
    assert [title(panel) for panel in panels] == list(EXPERIMENTS.values())
    assert list(rows_of(panels[0])) == list(TITLES.values())
    assert emboldened(panels[0].get_yticklabels()) == [TITLES[OURS]]
    for panel, (experiment, pairs) in zip(panels, {"late": 9, "early": 7}.items(), strict=True):
        assert panel.get_xlabel() == f"Mean Dice over structures ({pairs} pairs)"
        missing = {}
        for run, row in zip(TITLES, rows_of(panels[0]).values(), strict=True):
            expected = np.sort(values(metrics, experiment, run))
            assert_box(panel, row, run, expected)
            if len(expected) < pairs:
                missing[row] = f"{pairs - len(expected)} of {pairs} missing"
        assert {text.get_position()[1]: text.get_text() for text in panel.texts} == missing
    assert panels[0].get_ylim()[0] > panels[0].get_ylim()[1]


def assert_box(panel: Axes, row: float, run: str, expected: np.ndarray) -> None:
    """Check that every pair is a point, and that the box has the quartiles, median and whiskers of
    the values.
    """
    (points,) = [p for p in panel.collections if np.abs(p.get_offsets()[:, 1] - row).max() < 0.3]
    assert (points.get_offsets()[:, 1] == row).all()  # few pairs are linked, not spread
    np.testing.assert_allclose(np.sort(points.get_offsets()[:, 0].filled()), expected)
    assert_in_view(panel, expected)
    assert is_colour(points.get_facecolor()[0], run)
    first, median, third = np.quantile(expected, [0.25, 0.5, 0.75])
    (box,) = [p for p in panel.patches if np.abs(p.get_path().vertices[:, 1] - row).max() < 0.4]
    across = box.get_path().vertices[:, 0]
    np.testing.assert_allclose((across.min(), across.max()), (first, third))
    assert is_colour(box.get_edgecolor(), run)
    assert box.get_hatch() == style.looks(TITLES, OURS)[run].hatch
    lines = [line for line in panel.lines if np.abs(np.array(line.get_ydata()) - row).max() < 0.4]
    assert all(is_colour(line.get_color(), run) for line in lines)
    (middle,) = [line for line in lines if np.ptp(line.get_ydata()) > 0]
    np.testing.assert_allclose(middle.get_xdata(), median)
    reach = 1.5 * (third - first)
    inside = expected[(expected >= first - reach) & (expected <= third + reach)]
    whiskers = np.sort(
        [line.get_xdata() for line in lines if np.ptp(line.get_ydata()) == 0], axis=None
    )
    np.testing.assert_allclose(whiskers, [inside.min(), first, third, inside.max()])


def test_every_structure_shows_the_quantiles_of_its_own_run(metrics, drawn, tmp_path):
    dice_by_structure(metrics, TITLES, EXPERIMENTS, tmp_path / "structures.svg", OURS)
    figure = drawn[-1]
    centres = rows_of(figure.axes[0])
    assert list(centres) == ["Brain stem", "Hippocampus", "Amygdala"]
    assert [title(panel) for panel in figure.axes] == list(EXPERIMENTS.values())
    assert_legend(figure)
    for panel, experiment in zip(figure.axes, EXPERIMENTS, strict=True):
        assert panel.get_xlabel() == "Dice"
        for structure, centre in centres.items():
            for place, run in enumerate(TITLES):
                row = centre + (place - (len(TITLES) - 1) / 2) / (len(TITLES) + 1.6)
                assert_slim_box(
                    panel, row, run, structure_dice(metrics, experiment, run, structure)
                )
    assert figure.axes[0].get_ylim()[0] > figure.axes[0].get_ylim()[1]


def structure_dice(metrics: pd.DataFrame, experiment: str, run: str, structure: str) -> np.ndarray:
    """Return the mean of those sides of the structure that have a value, one number for each
    pair.
    """
    sides = [label for label, (_, shown, _) in LABELS.items() if shown == structure]
    chosen = metrics[
        (metrics["experiment"] == experiment)
        & (metrics["run"] == run)
        & metrics["label"].isin(sides)
    ]
    by_pair = chosen[chosen["metric"] == "dice"].pivot(
        index="pair", columns="label", values="value"
    )
    return np.nanmean(by_pair.to_numpy(), axis=1)


def assert_slim_box(panel: Axes, row: float, run: str, expected: np.ndarray) -> None:
    bars = [
        line for line in panel.lines if len(line.get_xdata()) == 2 and at_row(line.get_ydata(), row)
    ]
    thin, thick = sorted(bars, key=lambda line: line.get_linewidth())
    np.testing.assert_allclose(thin.get_xdata(), np.quantile(expected, [0.05, 0.95]))
    np.testing.assert_allclose(thick.get_xdata(), np.quantile(expected, [0.25, 0.75]))
    assert_in_view(panel, np.quantile(expected, [0.05, 0.95]))
    look = style.looks(TITLES, OURS)[run]
    marks = [
        (line, x)
        for line in panel.lines
        if line.get_marker() == look.marker
        for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)
        if np.isclose(y, row)
    ]
    ((mark, middle),) = marks
    np.testing.assert_allclose(middle, np.median(expected))
    for line in (thin, thick, mark):
        assert is_colour(line.get_color(), run)


def at_row(across: np.ndarray, row: float) -> bool:
    return bool(np.allclose(np.asarray(across, dtype=float), row))


def test_regularity_puts_dice_over_folds_and_over_time(metrics, drawn, tmp_path):
    regularity(metrics, TITLES, EXPERIMENTS, tmp_path / "regularity.svg", OURS)
    figure = drawn[-1]
    above, below = figure.axes[:2], figure.axes[2:]
    assert [title(panel) for panel in above] == list(EXPERIMENTS.values())
    assert {panel.get_xlabel() for panel in above} == {
        "Folded voxels (% of grid,\ncentral differences)"
    }
    assert {panel.get_xlabel() for panel in below} == {"Time per pair (s)"}
    assert [panel.get_ylabel() for panel in figure.axes] == [
        *("Mean Dice over structures", ""),
        *("Mean Dice over structures", ""),
    ]
    assert {panel.get_xscale() for panel in above} == {"symlog"}
    assert {panel.get_xscale() for panel in below} == {"log"}
    assert_legend(figure)
    looks = style.looks(TITLES, OURS)
    for folds, time, experiment in zip(above, below, EXPERIMENTS, strict=True):
        names = [text.get_text() for text in folds.get_xticklabels()]
        assert names[0] == "0"
        assert [float(name) for name in names[1:]] == pytest.approx(list(folds.get_xticks()[1:]))
        for run, look in looks.items():
            dice = values(metrics, experiment, run)
            across = values(metrics, experiment, run, "folds_central_grid_percent").mean()
            place = list(looks).index(run)
            assert_mark(folds, place, look, across, dice)
            seconds = np.median(values(metrics, experiment, run, "seconds"))
            assert_mark(time, place, look, seconds, dice)


def assert_mark(panel: Axes, place: int, look: style.Look, across: float, dice: np.ndarray) -> None:
    """Check that there is one mark at the mean Dice, with a bar of one sample SD on either side."""
    *bars, marks = [found for found in panel.collections if found.get_visible()]
    (here,) = np.flatnonzero(np.isclose(marks.get_offsets()[:, 1], dice.mean()))
    np.testing.assert_allclose(marks.get_offsets()[here], (across, dice.mean()))
    assert to_hex(marks.get_facecolors()[here]) == look.colour
    marker = MarkerStyle(look.marker)
    shape = marker.get_path().transformed(marker.get_transform()).vertices
    np.testing.assert_allclose(marks.get_paths()[here].vertices, shape)
    assert panel.get_xlim()[0] <= across < panel.get_xlim()[1]
    assert panel.get_ylim()[0] < dice.mean() < panel.get_ylim()[1]
    bar = bars[place]
    assert to_hex(bar.get_color()[0]) == look.colour
    ends = bar.get_segments()[0]
    np.testing.assert_allclose(ends[:, 0], across)
    np.testing.assert_allclose(ends[:, 1], dice.mean() + np.array([-1, 1]) * dice.std(ddof=1))


def test_the_matrix_holds_p_of_its_row_against_its_column(drawn, tmp_path):
    runs = ["alpha", "stray", "identity", "ours", "zeta"]
    rng = np.random.default_rng(2)
    p = {(run, other): 10 ** (-5 * rng.random()) for run in runs for other in runs if run != other}
    p["zeta", "identity"] = np.nan
    rows = [
        (run, other, 2, value, 3 if np.isnan(value) else 9) for (run, other), value in p.items()
    ]
    tests = pd.DataFrame(rows, columns=["run", "other", "experiments", "p", "n"])
    significance_matrix(tests.sample(frac=1, random_state=0), TITLES, tmp_path / "p.svg", OURS)
    (axes,) = drawn[-1].axes
    down, across = (
        [t.get_text() for t in labels]
        for labels in (axes.get_yticklabels(), axes.get_xticklabels())
    )
    assert down == across == list(TITLES.values())
    assert (
        emboldened(axes.get_yticklabels()) == emboldened(axes.get_xticklabels()) == [TITLES[OURS]]
    )
    assert axes.get_ylabel().startswith("Is this run better")
    assert axes.get_xlabel().endswith("than this one?")
    (cells,) = [artist for artist in axes.collections if isinstance(artist, QuadMesh)]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    expected = np.array([[p.get((run, other), np.nan) for other in TITLES] for run in TITLES])
    np.testing.assert_array_equal(cells.get_array().filled(np.nan), expected)
    words = {
        (x - 0.5, y - 0.5): text.get_text() for text in axes.texts for x, y in [text.get_position()]
    }
    places = [
        (column, row)
        for row in range(len(TITLES))
        for column in range(len(TITLES))
        if row != column
    ]
    assert words == {
        (column, row): shown_p(expected[row, column])
        if np.isfinite(expected[row, column])
        else "n = 3"
        for column, row in places
    }
    assert_meanings(drawn[-1], cells)


def assert_meanings(figure: Figure, cells: QuadMesh) -> None:
    """Check that a cell has the colour that the legend gives to its p."""
    (legend,) = [child for child in figure.get_children() if isinstance(child, Legend)]
    named = {
        t.get_text(): to_hex(h.get_facecolor())
        for t, h in zip(legend.texts, legend.legend_handles, strict=True)
    }
    examples = {"p < 0.001": 0.0002, "p < 0.01": 0.004, "p < 0.05": 0.03, "not significant": 0.06}
    assert named == {meaning: to_hex(cells.cmap(cells.norm(p))) for meaning, p in examples.items()}


# -------------------------------------------------------------------------------- traces and curves


def test_traces_show_the_energy_of_their_own_run(drawn, tmp_path):
    rng = np.random.default_rng(3)
    traces = {}
    for run in ("ours", "alpha", "zeta"):
        level = [4.0] * 5 + [2.0] * 3 + [1.0] * 4 if run != "zeta" else None
        columns = {
            "similarity": rng.random(12),
            "energy": rng.random(12),
            "penalty": rng.random(12),
        }
        traces[run] = pd.DataFrame(({"level": level} if level else {}) | columns)
        traces[run].index += 1
        traces[run].to_csv(tmp_path / f"{run}.tsv", sep="\t", index_label="iteration")
    paths = {run: tmp_path / f"{run}.tsv" for run in traces}
    convergence(paths, TITLES, "Pair one", tmp_path / "convergence.svg", OURS)
    figure = drawn[-1]
    assert figure.get_suptitle() == "Pair one"
    assert [title(panel) for panel in figure.axes] == [TITLES[run] for run in traces]
    for panel, (run, table) in zip(figure.axes, traces.items(), strict=True):
        parts = [(0, 5), (5, 8), (8, 12)] if run != "zeta" else [(0, 12)]
        curves = [line for line in panel.lines if line.get_linewidth() == 1.2]
        assert [list(line.get_xdata()) for line in curves] == [
            list(table.index[a:b]) for a, b in parts
        ]
        for line, (a, b) in zip(curves, parts, strict=True):
            np.testing.assert_allclose(line.get_ydata(), table["energy"].iloc[a:b])
            assert is_colour(line.get_color(), run)
        names = {text.get_position()[0]: text.get_text().strip() for text in panel.texts}
        assert names == ({1: "1/4", 6: "1/2", 9: "1/1"} if run != "zeta" else {})
        assert panel.get_xlabel() == "Iteration"
    assert [panel.get_ylabel() for panel in figure.axes] == ["Energy", "", ""]
    assert emboldened([panel._left_title for panel in figure.axes]) == [TITLES[OURS]]


def test_volumes_over_time_stand_under_the_name_of_their_way(drawn, tmp_path):
    rows = []
    for person in (2, 3):
        rows.append({"person": person, "way": "before", "time": 0.5, "ventricles_ml": 10.0})
        for number, way in enumerate((*REGISTERED, "truth"), start=1):
            at_end = {"ventricles_ml": 10.0 * person + number, "ventricles_true_ml": 5.0 * person}
            rows.append({"person": person, "way": way, "time": 0.5, **at_end})
    write_visits(tmp_path / "visits.tsv", rows)
    draw_ventricles(read_visits(tmp_path / "visits.tsv"), tmp_path / "volumes.svg")
    (figure,) = drawn
    curves = [WAYS[way] for way in REGISTERED]
    for person, panel in zip((2, 3), figure.axes, strict=True):
        assert title(panel) == f"Virtual person {person:02d}"
        shown = {
            line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
            for line in panel.lines
        }
        expected = {name: 10.0 * person + n for n, name in enumerate(curves, start=1)}
        expected |= {"True labels": 5.0 * person}
        expected |= {"True maps, on the scans' grid": 10.0 * person + len(curves) + 1}
        assert shown == {name: ([0, 0.5], [10, volume]) for name, volume in expected.items()}
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == list(expected)


def test_training_curves_show_each_column_and_the_best_step(drawn, tmp_path):
    rng = np.random.default_rng(4)
    names = ("similarity", "validation_loss", "loss", "validation_dice_gain")
    table = pd.DataFrame({"step": [10, 20, 30, 40, 50], **{name: rng.random(5) for name in names}})
    table.to_csv(tmp_path / "curves.tsv", sep="\t", index=False)
    training_curves(
        tmp_path / "curves.tsv", "A run, trained", tmp_path / "curves.svg", "validation_loss"
    )
    figure = drawn[-1]
    assert figure.get_suptitle() == "A run, trained"
    shown = {title(panel): panel for panel in figure.axes}
    assert list(shown) == ["Similarity", "Loss", "Dice gain"]
    best = table["step"][table["validation_loss"].idxmin()]
    curves = {
        name: [line for line in panel.lines if len(line.get_xdata()) == 5]
        for name, panel in shown.items()
    }
    for name, panel in shown.items():
        (marked,) = [line for line in panel.lines if line not in curves[name]]
        assert list(marked.get_xdata()) == [best, best]
        assert all(list(line.get_xdata()) == list(table["step"]) for line in curves[name])
        assert panel.get_xlabel() == "Step"
    columns = {
        "Similarity": ["similarity"],
        "Loss": ["loss", "validation_loss"],
        "Dice gain": ["validation_dice_gain"],
    }
    for name, expected in columns.items():
        np.testing.assert_allclose([line.get_ydata() for line in curves[name]], table[expected].T)
    legend = shown["Loss"].get_legend()
    named = {
        t.get_text(): h.get_color()
        for t, h in zip(legend.texts, legend.legend_handles, strict=True)
    }
    assert named == dict(
        zip(("training", "validation"), (line.get_color() for line in curves["Loss"]), strict=True)
    )
    assert len(set(named.values())) == 2
    assert shown["Similarity"].get_legend() is None


def test_distances_lie_beside_their_scans_with_the_nearest_place_ringed(drawn, tmp_path):
    rng = np.random.default_rng(5)
    rows = []
    for point in ((2, 7), (5, 1)):
        heats = {name: rng.random((8, 11)) for name in ("First kind", "Second kind")}
        for heat in heats.values():
            heat[0, :4] = np.nan
        rows.append(DistanceRow(rng.random((8, 11)), rng.random((8, 11)), point, heats))
    descriptor_distance(rows, "T1w", "T2w", tmp_path / "distances.svg")
    panels = np.array(drawn[-1].axes).reshape(2, 4)
    assert [title(panel) for panel in panels[0]] == ["T1w", "T2w", "First kind", "Second kind"]
    for row, (scan, other, *heated) in zip(rows, panels, strict=True):
        np.testing.assert_array_equal(scan.images[0].get_array(), row.first.T)
        np.testing.assert_array_equal(other.images[0].get_array(), row.second.T)
        for panel, heat in zip(heated, row.distances.values(), strict=True):
            np.testing.assert_array_equal(np.ma.filled(panel.images[0].get_array(), np.nan), heat.T)
            (ring,) = [line for line in panel.lines if line.get_marker() == "o"]
            assert heat[int(ring.get_xdata()[0]), int(ring.get_ydata()[0])] == np.nanmin(heat)
        for panel in (scan, other, *heated):
            (cross,) = [line for line in panel.lines if line.get_marker() == "+"]
            assert (cross.get_xdata()[0], cross.get_ydata()[0]) == row.point
            assert panel.images[0].origin == "lower"
            assert len(panel.lines) == (2 if panel in heated else 1)


# -------------------------------------------------------------------------------------------- scans

GRID = Grid(
    (30, 40, 36), np.array([[0.0, 0, -1.5, 30], [2.0, 0, 0, -30], [0, 1.25, 0, -20], [0, 0, 0, 1]])
)
"""A grid whose axes run to the front, up and to the left, each with another voxel size."""
ALIGNMENT = Affine(
    np.array([[1.05, 0.02, 0, 2], [-0.02, 0.97, 0, -1], [0, 0.01, 1.04, 1], [0, 0, 0, 1]])
)
ACROSS_UP = {"Axial": (0, 1, 2), "Coronal": (0, 2, 1), "Sagittal": (1, 2, 0)}
"""For each plane, the axes (right, front, top) that run across, up and normal to it."""


def texture(seed: int, radii_mm=(19.0, 22.0, 17.0), shift_mm=(0.0, 0.0, 0.0)) -> Image:
    """Return a brain: smooth noise in an ellipsoid beside the centre, zero outside."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=GRID.shape), 2.5)
    inside = (((GRID.points_mm() - GRID.centre_mm - shift_mm) / radii_mm) ** 2).sum(axis=-1) < 1
    return Image(np.where(inside, 0.2 + 0.8 * (noise - noise.min()) / np.ptp(noise), 0), GRID)


def upright(data: np.ndarray, grid: Grid = GRID) -> np.ndarray:
    """``data`` with its axes to the right, front and top, by nibabel's own means."""
    kind = data.dtype if data.dtype != bool else np.uint8
    turned = nib.as_closest_canonical(nib.Nifti1Image(data.astype(kind), grid.affine))
    return np.asanyarray(turned.dataobj).astype(data.dtype)


def middle(data: np.ndarray, mask: np.ndarray, plane: str) -> np.ndarray:
    """The slice half way through the upright ``mask`` as a picture is stored: ``[up, across]``."""
    across, up, normal = ACROSS_UP[plane]
    occupied = np.flatnonzero(mask.any(axis=(across, up)))
    index = (occupied[0] + occupied[-1]) // 2
    return np.moveaxis(data, (normal, up, across), (0, 1, 2))[index]


def shaded(
    image: Image, plane: str, mask: np.ndarray, window_of: Image | None = None
) -> np.ndarray:
    """Return the expected picture, in which black and white are the 1 % and 98 % quantiles of all
    values above zero.
    """
    whole = (window_of or image).data
    low, high = np.quantile(whole[whole > 0], [0.01, 0.98])
    return np.clip((middle(upright(image.data), mask, plane) - low) / (high - low), 0, 1)


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> SimpleNamespace:
    """Files of a registration, of which no two images are alike, and whose map folds here and
    there.
    """
    folder = tmp_path_factory.mktemp("pair")
    images = {
        "fixed": texture(1),
        "moving": texture(2, (22.0, 19.0, 16.0), (3.0, 6.0, 5.0)),
        "warped": texture(3, (18.0, 21.0, 17.0), (-3.0, -5.0, -4.0)),
    }
    rng = np.random.default_rng(6)
    own = np.stack(
        [ndimage.gaussian_filter(rng.normal(size=GRID.shape), 3) for _ in range(3)], axis=-1
    )
    field = DisplacementField((16 * own / np.abs(own).max()).astype(np.float32), GRID)
    whole = densify(field.then(ALIGNMENT), GRID)
    for name, image in images.items():
        io.write_image(folder / f"{name}.nii.gz", image)
    io.write_displacement(folder / "warp.nii.gz", whole)
    io.write_affine(folder / "moving_to_scan.txt", ALIGNMENT)
    return SimpleNamespace(folder=folder, whole=whole, own=field.displacement_mm, **images)


def panels_of(figure: Figure) -> dict[tuple[str, str], Axes]:
    """Return, for each heading and plane, the picture under the heading and beside the plane."""
    cells = [axes for axes in figure.axes if axes.images or (axes.collections and not is_bar(axes))]
    headings = {axes.get_title(): axes.get_position().x0 for axes in cells if axes.get_title()}
    planes = {axes.get_ylabel(): axes.get_position().y0 for axes in cells if axes.get_ylabel()}
    return {
        (heading, plane): axes
        for heading, left in headings.items()
        for plane, bottom in planes.items()
        for axes in cells
        if np.allclose(axes.get_position().p0, (left, bottom))
    }


def is_bar(axes: Axes) -> bool:
    return any(isinstance(artist, QuadMesh) for artist in axes.collections)


def test_each_panel_of_a_pair_shows_its_own_image(pair, drawn, tmp_path):
    pair_panel.pair_panel(pair.folder, pair.folder, "Our run, pair one", tmp_path / "panel.svg")
    figure, mask = drawn[-1], upright(pair.fixed.data > 0)
    panels = panels_of(figure)
    corners = {names: panel.get_position() for names, panel in panels.items()}
    columns = sorted(
        (heading for heading, plane in panels if plane == "Axial"),
        key=lambda h: corners[h, "Axial"].x0,
    )
    assert columns == [
        "Fixed",
        MOVING,
        "Warped",
        "Warped, fixed edges",
        "Checkerboard",
        "Deformation",
        "log |J|",
    ]
    assert sorted(ACROSS_UP, key=lambda plane: -corners["Fixed", plane].y0) == list(ACROSS_UP)
    assert len(panels) == 21
    assert figure.texts[0].get_text() == "Our run, pair one"
    for plane in ACROSS_UP:
        fixed = shaded(pair.fixed, plane, mask)
        moving = shaded(pair.moving, plane, mask)
        warped = shaded(pair.warped, plane, mask, window_of=pair.moving)
        shown = {"Fixed": fixed, MOVING: moving, "Warped": warped, "Warped, fixed edges": warped}
        for heading, expected in shown.items():
            (picture,) = panels[heading, plane].images
            np.testing.assert_allclose(picture.get_array(), expected, atol=1e-5)
            assert picture.cmap.name == "gray"
            assert picture.get_clim() == (0, 1)
        board = panels["Checkerboard", plane].images[0].get_array()
        both = [np.abs(board - one) < 1e-5 for one in (fixed, warped)]
        assert (both[0] | both[1]).all()
        for one, other in (both, both[::-1]):
            assert (one & ~other)[np.abs(fixed - warped) > 1e-3].mean() > 0.3


def test_the_edges_over_the_warped_scan_are_the_fixed_scans(pair, drawn, tmp_path):
    pair_panel.pair_panel(pair.folder, pair.folder, "", tmp_path / "panel.svg")
    panels, mask = panels_of(drawn[-1]), upright(pair.fixed.data > 0)
    _, grid = slices.canonical(pair.fixed.data, GRID)
    for plane in pair_panel.PLANES:
        there = Figure().subplots()
        edges.draw_edges(
            there, plane, slices.middle(mask, plane), upright(pair.fixed.data), mask, grid
        )
        (expected,), (found,) = (
            there.collections,
            panels["Warped, fixed edges", plane.name].collections,
        )
        assert len(expected.get_segments()) == len(found.get_segments()) > 1
        for one, other in zip(expected.get_segments(), found.get_segments(), strict=True):
            np.testing.assert_allclose(one, other)
        for heading in ("Fixed", MOVING, "Warped", "Checkerboard"):
            assert not panels[heading, plane.name].collections


def test_edges_lie_on_the_border_of_the_brain_and_of_its_tissues():
    """There are two balls about one centre, on a grid of three voxel sizes, so every contour is a
    circle about it.
    """
    grid = Grid((70, 64, 60), np.diag([1.0, 1.25, 1.5, 1.0]))
    centre, radii = np.array([30.0, 44.0, 40.0]), (12.0, 18.0, 25.0)
    distance = np.linalg.norm(grid.points_mm() - centre, axis=-1)
    mask = distance < radii[2]
    image = np.where(mask, np.digitize(distance, radii[:2]) + 1.0, 0)
    for plane in pair_panel.PLANES:
        cell = Figure().subplots()
        edges.draw_edges(
            cell, plane, round(centre[plane.normal] / grid.spacing[plane.normal]), image, mask, grid
        )
        (lines,) = cell.collections
        found = [
            np.linalg.norm(s - centre[[plane.across, plane.up]], axis=1)
            for s in lines.get_segments()
        ]
        assert sorted(np.mean(radius) for radius in found) == pytest.approx(radii, abs=0.8)
        assert max(np.ptp(radius) for radius in found) < 2


def test_the_deformation_is_drawn_where_the_map_sends_the_grid(pair, drawn, tmp_path):
    pair_panel.pair_panel(pair.folder, pair.folder, "", tmp_path / "panel.svg")
    panels, mask = panels_of(drawn[-1]), upright(pair.fixed.data > 0)
    _, grid = slices.canonical(pair.fixed.data, GRID)
    along = upright_vectors(pair.own)
    largest = np.quantile(np.linalg.norm(along[mask], axis=-1), 0.995)
    for plane, (across, up, _) in ACROSS_UP.items():
        shift = np.stack([middle(along[..., axis], mask, plane) for axis in range(3)], axis=-1)
        start = np.stack(
            np.meshgrid(*(np.arange(n) * s for n, s in sizes(grid, across, up)), indexing="xy"),
            axis=-1,
        )
        ends = (start + shift[..., [across, up]]).reshape(-1, 2)
        amount = np.linalg.norm(shift, axis=-1).ravel()
        (lines,) = panels["Deformation", plane].collections
        segments, values = segments_of(lines)
        _, nearest = KDTree(ends).query(segments)
        np.testing.assert_allclose(ends[nearest], segments, atol=1e-3)
        moved = np.clip(amount[nearest].mean(axis=1), lines.norm.vmin, lines.norm.vmax)
        np.testing.assert_allclose(values, moved, atol=0.51 * lines.norm.vmax / SHADES)
        step = max(1, round(max(grid.shape) / pair_panel.GRID_LINES))
        rows, columns = (len(range(0, n, step)) for n in start.shape[:2])
        expected = rows * (start.shape[1] - 1) + columns * (start.shape[0] - 1)
        assert len({tuple(sorted(piece)) for piece in nearest.tolist()}) == expected
        columns = nearest % start.shape[1]
        assert {abs(a - b) for a, b in columns} == {0, 1}
        assert lines.norm.vmin == 0
        assert largest <= lines.norm.vmax <= max(1.5 * largest, 1)
    assert_bar(drawn[-1], panels["Deformation", "Sagittal"], lines, "displacement (mm)")


def segments_of(lines: PathCollection) -> tuple[np.ndarray, np.ndarray]:
    """Return the ends of all straight pieces, ``(N, 2, 2)``, and the value that colours each."""
    pieces, values = [], []
    for path, value in zip(lines.get_paths(), lines.get_array(), strict=True):
        joined = path.codes[1:] == Path.LINETO
        here = np.stack([path.vertices[:-1], path.vertices[1:]], axis=1)[joined]
        pieces.append(here)
        values += [value] * len(here)
    return np.concatenate(pieces), np.array(values)


def upright_vectors(displacement: np.ndarray) -> np.ndarray:
    """Return RAS vectors at the upright voxels of ``GRID``, whose axes are those of the patient."""
    return np.stack([upright(displacement[..., axis]) for axis in range(3)], axis=-1)


def sizes(grid: Grid, *axes: int) -> list[tuple[int, float]]:
    return [(grid.shape[axis], grid.spacing[axis]) for axis in axes]


def test_log_jacobian_is_drawn_in_the_brain_with_its_folds_marked(pair, drawn, tmp_path):
    pair_panel.pair_panel(pair.folder, pair.folder, "", tmp_path / "panel.svg")
    panels, mask = panels_of(drawn[-1]), upright(pair.fixed.data > 0)
    determinant = upright(jacobian_determinant(pair.whole, ALIGNMENT))
    folded = 0
    for plane in ACROSS_UP:
        there, inside = middle(determinant, mask, plane), middle(mask, mask, plane)
        with np.errstate(invalid="ignore"):
            expected = np.where(inside & (there > 0), np.log(there), np.nan)
        values, *marks = panels["log |J|", plane].images
        np.testing.assert_allclose(np.ma.filled(values.get_array(), np.nan), expected, atol=1e-5)
        assert values.get_clim() == (-1, 1)
        marked = np.ma.filled(marks[0].get_array(), 0) == 1 if marks else np.zeros_like(inside)
        np.testing.assert_array_equal(marked, inside & (there <= 0))
        folded += marked.sum()
        assert values.cmap(0.9)[0] > values.cmap(0.9)[2]  # larger is red
    assert folded > 0
    assert_bar(
        drawn[-1], panels["log |J|", "Sagittal"], values, "smaller \N{LEFT RIGHT ARROW} larger"
    )


def assert_bar(figure: Figure, panel: Axes, drawn_with, label: str) -> None:
    """Check that the colour bar below ``panel`` has the colours and the range of the picture."""
    (bar,) = [axes for axes in figure.axes if axes.get_xlabel() == label]
    box, above = bar.get_position(), panel.get_position()
    assert above.x0 <= box.x0 < box.x1 <= above.x1
    assert bar.get_xlim() == pytest.approx((drawn_with.norm.vmin, drawn_with.norm.vmax))
    (mesh,) = [artist for artist in bar.collections if isinstance(artist, QuadMesh)]
    assert mesh.cmap == drawn_with.cmap


def test_the_desk_shows_its_own_pair(pair, drawn, tmp_path):
    """The warped image is made here from the original moving scan by the whole map."""
    scan = warp_image(pair.moving, ALIGNMENT.inverse(), GRID)
    task = SimpleNamespace(
        fixed=pair.fixed, moving=pair.moving, moving_scan=scan, moving_to_scan=ALIGNMENT
    )
    scene = scene_of_maps(pair.whole, task)
    pair_panel.draw_scene(scene, "At a desk", tmp_path / "overview.png")
    panels, mask = panels_of(drawn[-1]), upright(pair.fixed.data > 0)
    warped = warp_image(scan, pair.whole, GRID)
    for plane in ACROSS_UP:
        shown = {
            "Fixed": (pair.fixed, pair.fixed),
            MOVING: (pair.moving, pair.moving),
            "Warped": (warped, pair.moving),
        }
        for heading, (image, window) in shown.items():
            expected = shaded(image, plane, mask, window)
            np.testing.assert_allclose(
                panels[heading, plane].images[0].get_array(), expected, atol=1e-4
            )
        determinant = middle(upright(jacobian_determinant(pair.whole, ALIGNMENT)), mask, plane)
        found = panels["log |J|", plane].images[0].get_array()
        inside = middle(mask, mask, plane) & (determinant > 0)
        np.testing.assert_allclose(found[inside], np.log(determinant[inside]), atol=1e-4)
    assert drawn[-1].texts[0].get_text() == "At a desk"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []


def test_the_overview_shows_every_scan_under_its_name(drawn, tmp_path):
    scans = {f"sub-{n}\ngroup {n}": texture(n, (15.0 + n, 20.0, 14.0 + n / 2)) for n in range(1, 8)}
    paths = {name: tmp_path / f"{place}.nii.gz" for place, name in enumerate(scans)}
    for name, path in paths.items():
        io.write_image(path, scans[name])
    coronal_overview(paths, tmp_path / "overview.svg", "Seven made-up persons.")
    tiles = drawn[-1].axes
    for tile, (name, scan) in zip(tiles, scans.items(), strict=True):
        mask = upright(scan.data > 0)
        np.testing.assert_allclose(
            tile.images[0].get_array(), shaded(scan, "Coronal", mask), atol=1e-5
        )
        words = [text.get_text() for text in tile.texts]
        assert [word for word in words if word in name.split("\n")] == name.split("\n")
        assert [words.count(side) for side in "RL"] == [1, 1]
        assert np.ptp(tile.get_xlim()) == pytest.approx(np.ptp(tiles[0].get_xlim()))
        centre = np.mean(np.flatnonzero(mask.any(axis=(1, 2)))[[0, -1]]) * 1.5
        assert np.mean(tile.get_xlim()) == pytest.approx(centre)
    places = [(round(-tile.get_position().y0, 6), tile.get_position().x0) for tile in tiles]
    assert all(one < other for one, other in pairwise(places))
    assert "Seven made-up persons." in " ".join(text.get_text() for text in drawn[-1].texts)


def test_black_and_white_are_the_quantiles_of_what_is_above_zero():
    volume = np.concatenate([np.zeros(500), -np.ones(20), np.arange(1, 102)])
    assert slices.window(volume) == (2, 99)
    np.testing.assert_allclose(
        slices.shade(np.array([0, 2, 50.5, 99, 500]), (2, 99)), [0, 0, 0.5, 1, 1]
    )
