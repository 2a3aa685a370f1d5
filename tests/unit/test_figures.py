"""Figures: orientation, exact helpers, what is drawn when something is missing, and complete and
repeatable files.
"""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import matplotlib as mpl
import matplotlib.image
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from scipy import ndimage

from diffeode.errors import DamagedFileError, InputError
from diffeode.figures import (
    convergence,
    edges,
    pair_panel,
    regularity,
    significance,
    slices,
    style,
    tidy,
)
from diffeode.figures.coronal_overview import coronal_overview
from diffeode.figures.dice_boxplot import dice_boxplot
from diffeode.figures.dice_by_structure import dice_by_structure, ordered_structures
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, densify, warp_image
from diffeode.provenance.receipt import write_receipt
from diffeode.statistics.export import MISSING
from diffeode.statistics.tidy import COLUMNS

CAPTIONS = Path(__file__).resolve().parents[2] / "workflow" / "report"
TITLES = {"identity": "Identity", "ants-syn": "ANTs SyN", "node-mind": "diffeode (MIND)"}
EXPERIMENTS = {"e1": "First (virtual adults)", "e2": "Second (newborns)"}
LABELS = {"17": "Left-Hippocampus", "53": "Right-Hippocampus", "16": "Brain-Stem"}


def grid_of(codes: str, shape=(24, 20, 18), spacing_mm=(1.0, 1.5, 2.0)) -> Grid:
    """A grid whose array axes point to ``codes``, turned by a few degrees so that it is oblique."""
    axes = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(tuple(codes))
    )
    affine = np.diag([*spacing_mm, 1.0]) @ nib.orientations.inv_ornt_aff(axes, shape)
    tilt = nib.eulerangles.euler2mat(z=0.05, y=-0.04, x=0.03)
    affine[:3] = tilt @ affine[:3]
    shape_there = tuple(
        shape[int(axis)] for axis in nib.orientations.axcodes2ornt(tuple(codes))[:, 0]
    )
    return Grid(shape_there, affine)


def head(grid: Grid) -> Image:
    """A grey ellipsoid with a bright ball at the patient's left, front and top."""
    offset = grid.points_mm() - grid.centre_mm
    radius = np.array([9.0, 11.0, 13.0])
    data = np.where((offset**2 / radius**2).sum(-1) < 1, 0.4, 0.0)
    data[((offset - np.array([-4.0, 5.0, 6.0])) ** 2).sum(-1) < 9] = 1.0
    return Image(data, grid)


def pixels(figure: Figure) -> np.ndarray:
    """A figure as grey values, rows from the top."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].mean(-1)


def bright_spot(picture: np.ndarray, above: float = 250) -> tuple[float, float]:
    """Return where the bright pixels lie, as fractions from the picture's left and from its top."""
    rows, columns = np.nonzero(picture > above)
    return columns.mean() / picture.shape[1], rows.mean() / picture.shape[0]


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures saved during a test."""
    figures: list[Figure] = []
    save = Figure.savefig

    def keep(figure, *args, **options):
        figures.append(figure)
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures


def words(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(matplotlib.text.Text))


def study(missing: tuple = (), pairs: int = 6) -> pd.DataFrame:
    """A tidy table whose Dice is 0.5, 0.6, 0.7 by run plus 0.01 by pair; left and right differ by
    0.2.
    """
    rows = []
    for experiment in EXPERIMENTS:
        for number in range(pairs):
            pair = f"sub-{number}_T2w__sub-9_T1w"
            for place, run in enumerate(TITLES):
                unit = (experiment, pair, run, *pair.split("__"))
                if (experiment, number, run) in missing:
                    rows.append((*unit, "failed", "", "", 1.0))
                    continue
                dice = 0.5 + 0.1 * place + 0.01 * number
                values = dict(zip(LABELS, (dice - 0.1, dice + 0.1, dice - 0.2), strict=True))
                rows += [
                    (*unit, "dice", label, LABELS[label], value) for label, value in values.items()
                ]
                rows.append((*unit, "dice", "", "", dice))
                rows.append((*unit, "folds_central_grid_percent", "", "", 0.02 * place))
                rows.append((*unit, "seconds", "", "", 10.0**place))
    return pd.DataFrame(rows, columns=COLUMNS)


# ------------------------------------------------------------------------------------------- slices


@pytest.mark.parametrize("codes", ["RAS", "LAS", "LPS", "ASL", "PSR"])
@pytest.mark.parametrize(
    ("plane", "side", "height"),
    [
        (slices.AXIAL, "right", "top"),
        (slices.CORONAL, "right", "top"),
        (slices.SAGITTAL, "left", "top"),
    ],
)
def test_left_front_top_lies_where_the_convention_says(codes, plane, side, height):
    image = head(grid_of(codes))
    data, grid = slices.canonical(image.data, image.grid)
    brightest = int(data.max(axis=(plane.across, plane.up)).argmax())
    figure = Figure(figsize=(2, 2))
    axes = figure.add_axes((0, 0, 1, 1))
    slices.show_slice(
        axes, slices.cut(data, plane, brightest), grid, plane, cmap="gray", vmin=0, vmax=1
    )
    slices.frame(axes, plane, slices.brain_box_mm(data > 0, grid)[0], 30, 30)
    axes.set_facecolor("black")
    from_left, from_top = bright_spot(pixels(figure))
    assert (from_left > 0.5) == (side == "right")
    assert (from_top < 0.5) == (height == "top")
    assert abs(from_left - 0.5) > 0.05
    assert abs(from_top - 0.5) > 0.05


def test_canonical_keeps_every_voxel_where_it_lies():
    image = head(grid_of("PSR"))
    data, grid = slices.canonical(image.data, image.grid)
    assert nib.aff2axcodes(grid.affine) == ("R", "A", "S")
    np.testing.assert_allclose(
        grid.points_mm()[data == 1].mean(0),
        image.grid.points_mm()[image.data == 1].mean(0),
        atol=1e-9,
    )
    np.testing.assert_array_equal(np.sort(data.ravel()), np.sort(image.data.ravel()))


def test_pixels_are_square_in_millimetres():
    grid = Grid((10, 10, 10), np.diag([1.0, 1.0, 3.0, 1.0]))
    axes = Figure(figsize=(2, 2)).add_axes((0, 0, 1, 1))
    image = slices.show_slice(axes, np.zeros((10, 10)), grid, slices.CORONAL)
    left, right, bottom, top = image.get_extent()
    assert (right - left, top - bottom) == (10, 30)


# ------------------------------------------------------------------------------ the panel of a pair

ALIGNMENT = Affine(
    np.array([[1.1, 0.05, 0, 3], [-0.04, 0.95, 0.02, -2], [0, 0.03, 1.2, 1], [0, 0, 0, 1]])
)


def scaling(grid: Grid, factors) -> Affine:
    """Return a stretching about the grid's centre by ``factors`` along x, y, z."""
    matrix = np.diag([*factors, 1.0])
    matrix[:3, 3] = grid.centre_mm - matrix[:3, :3] @ grid.centre_mm
    return Affine(matrix)


def write_pair(folder: Path, own, codes: str = "LAS") -> tuple[Path, Path]:
    """Write the folders of a registration and its pair as the workflow does; the run found ``own``
    after ``ALIGNMENT``.
    """
    image = head(grid_of(codes))
    registration, pair = folder / "registration", folder / "pair"
    whole = densify(own(image.grid).then(ALIGNMENT), image.grid)
    scan = warp_image(
        image, ALIGNMENT.inverse(), Grid((40, 40, 40), np.diag([1, 1, 1, 1]) + _shift(-20))
    )
    io.write_displacement(registration / "warp.nii.gz", whole)
    io.write_image(registration / "warped.nii.gz", warp_image(scan, whole, image.grid))
    io.write_image(pair / "fixed.nii.gz", image)
    io.write_image(pair / "moving.nii.gz", warp_image(scan, ALIGNMENT, image.grid))
    io.write_affine(pair / "moving_to_scan.txt", ALIGNMENT)
    return registration, pair


def _shift(millimetres: float) -> np.ndarray:
    shift = np.zeros((4, 4))
    shift[:3, 3] = millimetres
    return shift


def mirrored_slab(grid: Grid) -> DisplacementField:
    """Return a map that runs backwards along z in a slab, where det J = -1, and is the identity
    outside.
    """
    data = np.zeros((*grid.shape, 3), dtype=np.float32)
    z = (grid.points_mm() - grid.centre_mm)[..., 2]
    data[..., 2] = np.where(np.abs(z) < 5, -2 * z, 0)
    return DisplacementField(data, grid)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "PSR"])
def test_log_jacobian_of_a_scaling_is_its_constant_whatever_the_alignment(tmp_path, codes):
    scene = pair_panel.read_scene(
        *write_pair(tmp_path, lambda grid: scaling(grid, (1.2, 0.9, 1.1)), codes)
    )
    inside = pair_panel.log_determinant(scene.determinant)[2:-2, 2:-2, 2:-2]
    np.testing.assert_allclose(inside, np.log(1.2 * 0.9 * 1.1), atol=1e-4)


def test_own_map_is_the_map_without_the_affine_part():
    grid = grid_of("LAS")
    own = mirrored_slab(grid)
    found = pair_panel.own_map(densify(own.then(ALIGNMENT), grid), ALIGNMENT)
    np.testing.assert_allclose(found.displacement_mm, own.displacement_mm, atol=1e-4)


@pytest.mark.parametrize("codes", ["RAS", "LAS", "ASL"])
def test_moved_points_follow_the_patient_axes(tmp_path, codes):
    tilt = grid_of("RAS").direction
    step = tilt @ np.array([1.0, 2.0, 3.0])

    def translation(grid):
        return DisplacementField(np.broadcast_to(step, (*grid.shape, 3)).astype(np.float32), grid)

    scene = pair_panel.read_scene(*write_pair(tmp_path, translation, codes))
    points, amount = pair_panel.moved_points(scene, slices.CORONAL, 4)
    assert points.shape == (scene.grid.shape[0], scene.grid.shape[2], 2)
    np.testing.assert_allclose(points[0, 0], (1, 3), atol=1e-3)
    np.testing.assert_allclose(amount, np.sqrt(14), atol=1e-3)


def test_folds_are_counted_as_the_tables_do_and_marked(tmp_path, drawn):
    from diffeode.evaluation.jacobian import jacobian_metrics

    registration, pair = write_pair(tmp_path, mirrored_slab)
    scene = pair_panel.read_scene(registration, pair)
    folded, counted = scene.folds()
    fixed = io.read_image(pair / "fixed.nii.gz")
    tables = jacobian_metrics(
        io.read_displacement(registration / "warp.nii.gz"), fixed.data > 0, ALIGNMENT
    )
    assert folded > 0
    assert 100 * folded / counted == pytest.approx(tables["folds_central_percent"])

    pair_panel.pair_panel(registration, pair, "Folded", tmp_path / "panel.png")
    assert f"{folded:,} of {counted:,} voxels fold" in words(drawn[-1])
    assert count_of(tmp_path / "panel.png", "#ffe100") > 100


def test_a_map_without_folds_has_no_marks(tmp_path, drawn):
    registration, pair = write_pair(tmp_path, lambda grid: scaling(grid, (1.05, 1.0, 0.95)))
    pair_panel.pair_panel(registration, pair, "Smooth", tmp_path / "panel.png")
    assert "No voxel folds" in words(drawn[-1])
    assert count_of(tmp_path / "panel.png", "#ffe100") == 0


def test_rounding_errors_of_the_identity_stay_pale(tmp_path):
    scene = pair_panel.read_scene(*write_pair(tmp_path, lambda grid: Affine()))
    assert 0 < np.abs(scene.displacement_mm).max() < 1e-4
    assert pair_panel.displacement_norm(scene).vmax == 1


def count_of(picture: Path, colour: str) -> int:
    rgb = matplotlib.image.imread(picture)[..., :3]
    return int((np.abs(rgb - np.array(to_rgb(colour))).max(-1) < 0.02).sum())


def test_a_failed_registration_shows_its_reason(tmp_path, drawn):
    (tmp_path / "registration").mkdir()
    write_receipt(
        tmp_path / "registration", [], {"status": "failed", "reason": "the energy is not finite"}
    )
    pair_panel.pair_panel(tmp_path / "registration", tmp_path, "ANTs SyN", tmp_path / "panel.png")
    assert "failed: the energy is not finite" in words(drawn[-1])


def test_checkerboard_alternates_squares_of_the_given_side():
    board = pair_panel.checkerboard(np.zeros((4, 4)), np.ones((4, 4)), (1.0, 2.0), 2.0)
    np.testing.assert_array_equal(board, [[0, 1, 0, 1], [0, 1, 0, 1], [1, 0, 1, 0], [1, 0, 1, 0]])


def test_edges_lie_half_way_between_three_classes():
    image = np.array([0.0, 0.2, 0.2, 0.5, 0.5, 1.0, 1.0]).reshape(1, 1, 7)
    assert edges.tissue_levels(image, image > 0) == pytest.approx([0.35, 0.75])


def test_the_edge_of_the_brain_is_no_edge_of_its_tissue():
    mask = np.zeros((12, 12, 12), dtype=bool)
    mask[3:9, 3:9, 3:9] = True
    smooth = edges.smoothed_inside(np.where(mask, 0.7, 0.0), mask, np.array([1.5, 1.5, 1.5]))
    np.testing.assert_allclose(smooth[mask], 0.7)
    assert np.isnan(smooth[~mask]).all()


@pytest.mark.parametrize("first", [0, 3, 12])
def test_what_lies_beyond_the_reach_of_the_smoothing_does_not_count(first):
    """The whole array gives the same bits; a brain may lie at a face of it."""
    image = np.random.default_rng(first).uniform(0.1, 1, (40, 22, 18))
    mask = np.zeros(image.shape, dtype=bool)
    mask[first : first + 9, 7:15, 2:9] = True
    sigma = np.array([1.3, 0.8, 2.1])
    weight = ndimage.gaussian_filter(mask.astype(float), sigma)
    total = ndimage.gaussian_filter(np.where(mask, image, 0), sigma)
    smooth = edges.smoothed_inside(image, mask, sigma)
    np.testing.assert_array_equal(smooth[mask], total[mask] / weight[mask])
    assert np.isnan(smooth[~mask]).all()


# ------------------------------------------------------------------------------------------- tables


def test_a_missing_pair_is_written_and_left_out(tmp_path, drawn):
    metrics = study(missing=(("e1", 0, "ants-syn"), ("e1", 1, "ants-syn")))
    dice_boxplot(metrics, TITLES, EXPERIMENTS, tmp_path / "box.png", ours="node-mind")
    panels = drawn[-1].axes
    assert [text.get_text() for text in panels[0].texts] == ["2 of 6 missing"]
    assert not panels[1].texts
    assert sorted(len(points.get_offsets()) for points in panels[0].collections) == [4, 6, 6]
    assert [line.get_xdata().size for line in links(panels[0])] == [2, 2, 3, 3, 3, 3]


def links(panel) -> list:
    """The lines that join a pair's points, the shortest first."""
    found = [line for line in panel.lines if to_rgb(line.get_color()) == to_rgb(style.FAINT)]
    return sorted(found, key=lambda line: line.get_xdata().size)


def test_few_pairs_are_linked_and_many_are_spread(tmp_path, drawn):
    for pairs in (12, 13):
        dice_boxplot(study(pairs=pairs), TITLES, EXPERIMENTS, tmp_path / "box.png")
        (panel, _), linked = drawn[-1].axes, pairs == 12
        assert len(links(panel)) == (pairs if linked else 0)
        across = np.concatenate([points.get_offsets()[:, 1] for points in panel.collections])
        assert set(np.round(across, 6)) == {0, 1, 2} or not linked
        assert linked or np.ptp(across % 1) > 0.3
    for line in links(panel):
        np.testing.assert_allclose(np.diff(line.get_xdata()), 0.1)


def test_without_labels_the_figure_says_so(tmp_path, drawn):
    metrics = study()
    metrics = metrics[metrics["metric"] != "dice"]
    for draw in (dice_boxplot, dice_by_structure, regularity.regularity):
        draw(metrics, TITLES, EXPERIMENTS, tmp_path / "none.png")
        assert "have no labels" in words(drawn[-1])


def test_left_and_right_are_averaged_per_pair():
    table = tidy.dice_by_structure(study(pairs=1))
    first = table[(table["experiment"] == "e1") & (table["run"] == "identity")].set_index(
        "structure"
    )["value"]
    assert first.to_dict() == pytest.approx({"Hippocampus": 0.5, "Brain stem": 0.3})
    assert ordered_structures(table) == ["Hippocampus", "Brain stem"]


@pytest.mark.parametrize(
    ("label", "structure"),
    [
        ("Left-Cerebral-White-Matter", "Cerebral white matter"),
        ("right_lateral_ventricle", "Lateral ventricle"),
        ("Caudate, left", "Caudate"),
        ("Thalamus_right", "Thalamus"),
        ("Left-VentralDC", "VentralDC"),
        ("3rd-Ventricle", "3rd ventricle"),
        ("Brain-Stem", "Brain stem"),
    ],
)
def test_structure_names(label, structure):
    assert tidy.structure_name(label) == structure


def test_p_matrix_holds_row_better_than_column():
    tests = pd.DataFrame({"run": ["a", "b"], "other": ["b", "a"], "p": [0.01, 0.99]})
    np.testing.assert_array_equal(
        significance.as_matrix(tests, "p", ["b", "a", "c"]),
        [[np.nan, 0.99, np.nan], [0.01, np.nan, np.nan], [np.nan, np.nan, np.nan]],
    )
    with pytest.raises(InputError, match="no column 'p'"):
        significance.as_matrix(tests.rename(columns={"p": "p_max"}), "p", ["a"])


@pytest.mark.parametrize(
    ("p", "shown"),
    [(1e-9, "<.001"), (0.0312, ".031"), (0.25, ".25"), (1.0, "1.00"), (np.nan, MISSING)],
)
def test_p_is_never_shown_as_zero(p, shown):
    assert significance.shown_p(p) == shown


def test_significance_has_a_cell_for_every_ordered_pair(tmp_path, drawn):
    runs = list(TITLES)
    tests = pd.DataFrame(
        [(a, b, 0.02, 6) for a in runs for b in runs if a != b], columns=["run", "other", "p", "n"]
    )
    significance.significance_matrix(tests, TITLES, tmp_path / "p.svg", "node-mind")
    assert [text.get_text() for text in drawn[-1].axes[0].texts] == [".020"] * 6
    few = tests.assign(p=tests["p"].mask(tests["run"] == "ants-syn"), n=4)
    significance.significance_matrix(few, TITLES, tmp_path / "p.svg")
    assert sorted(text.get_text() for text in drawn[-1].axes[0].texts) == [
        *[".020"] * 4,
        *["n = 4"] * 2,
    ]
    significance.significance_matrix(tests.assign(p=np.nan), TITLES, tmp_path / "p.svg")
    assert "No test to show: no experiment has Dice of at least 5 pairs" in words(drawn[-1])


def test_regularity_puts_runs_without_folds_on_the_mark_zero(tmp_path, drawn):
    summary = regularity.summary(study()).set_index(["experiment", "run"])
    assert summary.loc[("e1", "node-mind"), "dice"] == pytest.approx(0.725)
    assert summary.loc[("e1", "node-mind"), "seconds"] == 100
    assert regularity.folds_floor(pd.Series([0.0, 0.02, 0.04])) == pytest.approx(0.01)
    regularity.regularity(study(), TITLES, EXPERIMENTS, tmp_path / "regularity.png")
    panel = drawn[-1].axes[0]
    assert panel.get_xticklabels()[0].get_text() == "0"
    assert panel.get_xticks()[0] == panel.get_xlim()[0] == 0
    (marks,) = [found for found in panel.collections if len(found.get_offsets()) == len(TITLES)]
    assert sorted(marks.get_offsets()[:, 0]) == pytest.approx([0, 0.02, 0.04])
    assert not marks.get_clip_on()
    smooth = study()
    smooth.loc[smooth["metric"] == "folds_central_grid_percent", "value"] = 0.0
    regularity.regularity(smooth, TITLES, EXPERIMENTS, tmp_path / "regularity.png")
    assert words(drawn[-1]).count("No run folds a voxel.") == len(EXPERIMENTS)


@pytest.mark.parametrize("ratio", [1.0, 1.1, 3.0, 50.0, 1000.0])
def test_the_axis_of_time_has_two_ticks_with_labels_at_least(ratio, tmp_path, drawn):
    table = study()
    is_time = table["metric"] == "seconds"
    slow = table["run"] == next(iter(TITLES))
    table.loc[is_time, "value"] = np.where(slow, 6.3 * ratio, 6.3)[is_time]
    regularity.regularity(table, TITLES, EXPERIMENTS, tmp_path / "regularity.png")
    for panel in drawn[-1].axes:
        if panel.get_xlabel() == "Time per pair (s)":
            low, high = panel.get_xlim()
            assert low <= 6.3 <= 6.3 * ratio <= high
            texts = [
                label.get_text()
                for tick, label in zip(panel.get_xticks(), panel.get_xticklabels(), strict=True)
                if low <= tick <= high
            ]
            assert 2 <= len(texts) <= 8
            assert all(texts)


def test_the_panels_of_regularity_are_as_high_however_long_the_legend(tmp_path, drawn):
    many = {f"swept-{n}": f"NODEO, steps: {n}, iterations: 200" for n in range(23)}
    for titles in (TITLES, TITLES | many):
        regularity.regularity(study(), titles, EXPERIMENTS, tmp_path / "regularity.png")
    few, long = (
        [panel.get_position().height * figure.get_size_inches()[1] for panel in figure.axes]
        for figure in drawn
    )
    assert long == pytest.approx(few, abs=0.1)


def test_an_absent_structure_is_named(tmp_path, drawn):
    chosen = ["Brain stem", "Amygdala"]
    dice_by_structure(
        study(),
        TITLES,
        EXPERIMENTS,
        tmp_path / "structures.png",
        runs=["node-mind", "identity"],
        structures=chosen,
    )
    panels = drawn[-1].axes
    assert [text.get_text() for text in panels[0].get_yticklabels()] == chosen
    for panel in panels:
        (said,) = panel.texts
        assert (said.get_text(), said.get_position()[1]) == ("No scan has it.", 1)
    assert "ANTs SyN" not in words(drawn[-1])
    unseen = study().replace({"label_name": {"Brain-Stem": "3rd-Ventricle"}})
    unseen.loc[unseen["label_name"] == "3rd-Ventricle", "value"] = np.nan
    dice_by_structure(unseen, TITLES, EXPERIMENTS, tmp_path / "structures.png")
    names = [text.get_text() for text in drawn[-1].axes[0].get_yticklabels()]
    assert names == ["Hippocampus", "3rd ventricle"]
    assert words(drawn[-1]).count("No scan has it.") == len(EXPERIMENTS)
    drawn.pop()
    assert "diffeode (MIND)" in words(drawn[-1])


def test_experiments_of_other_label_tables_have_rows_of_their_own(tmp_path, drawn):
    """A structure that the second experiment's table lacks was never looked for there."""
    other = study()
    second = other["experiment"] == list(EXPERIMENTS)[1]
    other.loc[second, "label_name"] = other.loc[second, "label_name"].replace(
        "Brain-Stem", "3rd-Ventricle"
    )
    dice_by_structure(other, TITLES, EXPERIMENTS, tmp_path / "structures.png")
    panels = drawn[-1].axes
    named = [{text.get_text() for text in panel.get_yticklabels()} for panel in panels]
    assert named[:2] == [{"Hippocampus", "Brain stem"}, {"Hippocampus", "3rd ventricle"}]
    assert "No scan has it." not in words(drawn[-1])
    assert len({panel.get_ylim() for panel in panels}) == 1


def test_convergence_parts_the_levels_and_skips_empty_traces(tmp_path, drawn):
    trace = pd.DataFrame({"level": [4.0, 4.0, 2.0, 1.0], "energy": [3.0, 2.0, 2.5, 1.0]})
    trace.to_csv(tmp_path / "trace.tsv", sep="\t", index_label="iteration")
    pd.DataFrame(()).to_csv(tmp_path / "empty.tsv", sep="\t", index_label="iteration")
    parts = convergence.levels(convergence.read_trace(tmp_path / "trace.tsv"))
    assert [(level, len(part)) for level, part in parts] == [("4", 2), ("2", 1), ("1", 1)]
    traces = {"node-mind": tmp_path / "trace.tsv", "ants-syn": tmp_path / "empty.tsv"}
    convergence.convergence(traces, TITLES, "A pair", tmp_path / "convergence.png")
    assert [axes.get_title() or axes.get_title(loc="left") for axes in drawn[-1].axes] == [
        "diffeode (MIND)"
    ]
    with pytest.raises(DamagedFileError, match=r"lost\.tsv"):
        convergence.read_trace(tmp_path / "lost.tsv")


def test_long_titles_of_convergence_stay_above_their_panels(tmp_path, drawn):
    pd.DataFrame({"energy": [3.0, 2.0]}).to_csv(
        tmp_path / "t.tsv", sep="\t", index_label="iteration"
    )
    titles = {f"run-{n}": "diffeode (MIND + NGF + NCC + NMI)" for n in range(4)}
    traces = dict.fromkeys(titles, tmp_path / "t.tsv")
    convergence.convergence(traces, titles, "A pair", tmp_path / "c.png", "run-0")
    with mpl.rc_context(style._STYLE):  # in the font and at the resolution of the saved figure
        drawn[-1].set_dpi(style._STYLE["savefig.dpi"])
        drawn[-1].draw_without_rendering()
        for axes in drawn[-1].axes:
            title = axes._left_title
            assert title.get_text().split() == titles["run-0"].split()
            assert title.get_window_extent().x1 <= axes.get_window_extent().x1 + 1
        weights = [axes._left_title.get_weight() for axes in drawn[-1].axes]
        assert weights == ["bold", "normal", "normal", "normal"]


# -------------------------------------------------------------------------------------------- style


def test_runs_keep_their_looks_and_ours_has_its_own_colour():
    first, second = (style.looks(TITLES, "node-mind") for _ in range(2))
    assert first == second
    many = style.looks({f"run-{i}": f"Run {i}" for i in range(10)} | TITLES, "node-mind")
    colours = [look.colour for look in many.values()]
    assert len(set(colours[:10])) == 10
    for mark in ("marker", "hatch"):
        assert len({getattr(look, mark) for look in list(many.values())[:12]}) == 12
    assert colours.count(many["node-mind"].colour) == 1
    assert [run for run, look in many.items() if look.emphasised] == ["node-mind"]


@pytest.mark.parametrize("kind", ["png", "svg", "pdf"])
def test_equal_input_gives_equal_bytes(tmp_path, kind):
    for name in ("a", "b"):
        dice_boxplot(study(), TITLES, EXPERIMENTS, tmp_path / f"{name}.{kind}")
    first, second = ((tmp_path / f"{name}.{kind}").read_bytes() for name in ("a", "b"))
    assert first == second
    assert first.startswith({"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}[kind])


def traces(folder: Path) -> dict[str, Path]:
    """A trace of two levels for each run."""
    folder.mkdir(exist_ok=True)
    rows = [(level, i, 0.9**i / level) for level in (4, 2) for i in range(9)]
    for run in TITLES:
        table = pd.DataFrame(rows, columns=["level", "iteration", "energy"])
        table.to_csv(folder / f"{run}.tsv", sep="\t", index=False)
    return {run: folder / f"{run}.tsv" for run in TITLES}


def with_colour_bar(out: style.Out) -> None:
    """A page without a layout, with a picture and a bar of its colours."""
    with style.page(out, 3.0, 2.0, layout=None) as figure:
        cell = figure.add_axes((0.1, 0.3, 0.8, 0.6))
        shown = cell.imshow(np.arange(12.0).reshape(3, 4))
        style.add_colour_bar(figure, (0.3, 0.1, 0.4, 0.05), shown, "value", "both")


DRAWN = {
    "boxes": lambda out, folder: dice_boxplot(study(), TITLES, EXPERIMENTS, out, "node-mind"),
    "structures": lambda out, folder: dice_by_structure(study(), TITLES, EXPERIMENTS, out),
    "regularity": lambda out, folder: regularity.regularity(study(), TITLES, EXPERIMENTS, out),
    "energies": lambda out, folder: convergence.convergence(
        traces(folder), TITLES, "A pair", out, "node-mind"
    ),
    "picture": lambda out, folder: with_colour_bar(out),
    "sentence": lambda out, folder: style.say(out, "nothing to show"),
}
"""Figures with and without a layout, as functions of their files and a folder for their data."""


@pytest.mark.filterwarnings("error::matplotlib.MatplotlibDeprecationWarning")
@pytest.mark.parametrize("name", DRAWN)
def test_a_figure_in_several_formats_has_the_bytes_of_each_alone(tmp_path, name):
    together = [tmp_path / f"together.{kind}" for kind in ("svg", "png", "pdf")]
    DRAWN[name](together, tmp_path / "data")
    for file in together:
        alone = tmp_path / f"alone{file.suffix}"
        DRAWN[name](alone, tmp_path / "data")
        assert file.read_bytes() == alone.read_bytes(), file.suffix


def test_words_of_an_svg_are_words(tmp_path):
    dice_boxplot(study(), TITLES, EXPERIMENTS, tmp_path / "box.svg")
    text = (tmp_path / "box.svg").read_text(encoding="utf-8")
    for word in (*TITLES.values(), "First (virtual adults)", "Mean Dice over structures (6 pairs)"):
        assert f">{word}</text>" in text


def test_the_style_is_left_as_it_was(tmp_path):
    before = dict(matplotlib.rcParams)
    dice_boxplot(study(), TITLES, EXPERIMENTS, tmp_path / "box.svg")
    assert dict(matplotlib.rcParams) == before


def test_a_page_has_the_width_of_a_journal_page(tmp_path):
    dice_by_structure(study(), TITLES, EXPERIMENTS, tmp_path / "structures.png")
    assert matplotlib.image.imread(tmp_path / "structures.png").shape[1] == 7.2 * 300


def test_a_title_breaks_into_lines_no_wider_than_its_panel():
    figure = Figure(figsize=(7, 3), layout="constrained")
    canvas, panels = FigureCanvasAgg(figure), figure.subplots(1, 2, sharey=True)
    panels[0].set_yticks([0], ["A run whose name takes much room"])
    titles = [
        "Two patients in ICBM152 space, T1w to T2w (adults with multiple sclerosis)",
        "Electroencephalographically",
    ]
    style.set_titles(panels, titles)
    canvas.draw()
    for panel, title in zip(panels, titles, strict=True):
        assert panel.title.get_text().split() == title.split()
    assert panels[0].title.get_window_extent().width <= panels[0].get_window_extent().width
    assert panels[0].title.get_text().count("\n") >= 2
    assert "\n" not in panels[1].title.get_text()  # a word is not broken


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"box\.pgn .* did you mean 'png'"):
        dice_boxplot(study(), TITLES, EXPERIMENTS, tmp_path / "box.pgn")


def test_a_figure_is_written_whole_or_not_at_all(tmp_path):
    with pytest.raises(RuntimeError), style.page(tmp_path / "half.png", 2, 2):
        raise RuntimeError("in the middle")
    assert not list(tmp_path.iterdir())


def test_drawing_loads_no_torch():
    names = sorted(path.stem for path in Path(style.__file__).parent.glob("[a-z]*.py"))
    lines = [f"import diffeode.figures.{name}" for name in names]
    check = "\n".join(
        [
            *lines,
            "import sys",
            "assert 'torch' not in sys.modules",
            "assert 'ants' not in sys.modules",
        ]
    )
    subprocess.run([sys.executable, "-c", check], check=True)


# -------------------------------------------------------------------------------------------- scans


def test_the_overview_is_radiological(tmp_path):
    grid = grid_of("LAS")
    from_centre = grid.points_mm() - grid.centre_mm
    inside = head(grid).data > 0
    left = inside & (from_centre[..., 0] < -4)
    io.write_image(tmp_path / "scan.nii.gz", Image(np.where(left, 1.0, 0.3 * inside), grid))
    coronal_overview(
        {"sub-01\nhealthy": tmp_path / "scan.nii.gz"}, tmp_path / "overview.png", "Virtual persons."
    )
    picture = matplotlib.image.imread(tmp_path / "overview.png")[..., :3].mean(-1)
    tile = picture[: int(0.5 * picture.shape[0]), : picture.shape[1] // 3]
    from_left, _ = bright_spot(tile[40:, 60:-60], above=0.95)
    assert from_left > 0.55
    with pytest.raises(InputError, match="no fixed scan"):
        coronal_overview({}, tmp_path / "none.png", "")


def test_the_left_ventricle_of_a_newborn_lies_on_the_right_of_the_picture(data_root):
    labels = io.read_labels(data_root / "albert" / "sub-01" / "anat" / "sub-01_dseg.nii.gz")
    left, grid = slices.canonical((labels.data == 4).astype(float), labels.grid)
    plane = slices.CORONAL
    index = int(left.sum(axis=(plane.across, plane.up)).argmax())
    figure = Figure(figsize=(2, 2))
    axes = figure.add_axes((0, 0, 1, 1))
    slices.show_slice(
        axes, slices.cut(left, plane, index), grid, plane, cmap="gray", vmin=0, vmax=1
    )
    brain, _ = slices.canonical(labels.data > 0, labels.grid)
    slices.frame(axes, plane, slices.brain_box_mm(brain, grid)[0], 120, 120)
    axes.set_facecolor("black")
    assert bright_spot(pixels(figure))[0] > 0.52


# ----------------------------------------------------------------------------------------- captions


@pytest.mark.parametrize("path", sorted(CAPTIONS.glob("*.rst")), ids=lambda path: path.stem)
def test_captions_are_valid_and_name_what_they_are_given(path):
    given = SimpleNamespace(
        config={"title": "Virtual cohort, T1w to T2w", "study": "demo", "runs": list(TITLES)},
        wildcards=SimpleNamespace(
            experiment="e1",
            pair="sub-01_T2w__sub-02_T1w",
            run="node-mind",
            train_on="a",
            descriptor="a",
        ),
        params=SimpleNamespace(
            look={"experiments": EXPERIMENTS},
            experiments=EXPERIMENTS,
            chosen={"runs": [], "structures": []},
            caption="Virtual persons.",
            title="A pair",
        ),
    )
    text = (
        Environment(undefined=StrictUndefined)
        .from_string(path.read_text(encoding="utf-8"))
        .render(snakemake=given)
    )
    body = publish_parts(text, writer_name="html", settings_overrides={"halt_level": 2})["body"]
    assert "<strong>" in body
    if "params.look" in path.read_text(encoding="utf-8"):
        assert all(title in body for title in EXPERIMENTS.values())


def test_a_page_has_the_style_of_seaborn_without_its_import(tmp_path):
    with mpl.rc_context():
        mpl.rcdefaults()
        sns.set_theme(context="paper", style="ticks", rc=style._STYLE)
        theirs = dict(mpl.rcParams)
    with style.page(tmp_path / "page.svg", 1, 1):
        ours = dict(mpl.rcParams)
    cycles = [
        [to_hex(entry["color"]) for entry in settings.pop("axes.prop_cycle")]
        for settings in (ours, theirs)
    ]
    assert cycles[0] == cycles[1]
    assert {name for name in theirs if ours[name] != theirs[name]} == {"image.cmap"}
