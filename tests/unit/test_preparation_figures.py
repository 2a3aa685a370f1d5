"""Pictures, numbers, flags and the page of prepared scans."""

import matplotlib.image
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import rgb_to_hsv
from matplotlib.figure import Figure

from diffeode.errors import InputError
from diffeode.evaluation.preparation import COLUMNS, PreparedScan, flag, measure, robust_z
from diffeode.evaluation.similarity import normalised_mutual_information
from diffeode.figures import edges
from diffeode.figures.edges import EDGE_COLOUR
from diffeode.figures.preparation import PLANES as PICTURED
from diffeode.figures.preparation import preparation_picture
from diffeode.figures.style import rgb
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_image
from diffeode.provenance.receipt import write_receipt
from diffeode.statistics.preparation import gather, write_preparation

GRID = Grid((40, 48, 44), [[4, 0, 0, -80], [0, 4, 0, -95], [0, 0, 4, -70], [0, 0, 0, 1]])
TO_SCAN = Affine([[0.9, 0, 0, 5], [0, 0.8, 0, -4], [0, 0, 0.95, 6], [0, 0, 0, 1]])


def phantom(grid: Grid = GRID) -> np.ndarray:
    """Return a kind of T1w: bright core, grey rim, a dark half ventricle on the patient's left; 0
    outside.
    """
    points = grid.points_mm() - GRID.centre_mm
    radius = np.linalg.norm(points / [55, 75, 60], axis=-1)
    ventricle = np.linalg.norm((points - np.array([-15, 0, 0])) / [9, 25, 12], axis=-1) < 1
    return np.select([ventricle, radius < 0.75, radius < 1], [0.1, 0.9, 0.5], 0)


TEMPLATE = Image(phantom(), GRID)


def unit(folder, data=None, to_scan=None, modality="T1w", codes="LIA", **parts) -> PreparedScan:
    """Write a prepared scan, and its original, which has the same brain in a skull."""
    data = phantom() if data is None else data
    io.write_image(folder / "image.nii.gz", Image(data, GRID))
    io.write_labels(folder / "mask.nii.gz", Labels(data > 0, GRID))
    write_receipt(folder, ["image.nii.gz", "mask.nii.gz"], {})
    if to_scan:
        io.write_affine(folder / "to_scan.txt", to_scan)
    field = Grid((60, 60, 60), [[4, 0, 0, -120], [0, 4, 0, -120], [0, 0, 4, -100], [0, 0, 0, 1]])
    scan = warp_image(Image(data, GRID), (to_scan or Affine()).inverse(), field)
    turn = nib.orientations.ornt_transform(
        [[0, 1], [1, 1], [2, 1]], nib.orientations.axcodes2ornt(tuple(codes))
    )
    turned = nib.Nifti1Image(scan.data, field.affine).as_reoriented(turn)
    io.write_image(
        folder / "scan.nii.gz", Image(turned.get_fdata() + 0.01, Grid(turned.shape, turned.affine))
    )
    return PreparedScan("person one", modality, folder / "scan.nii.gz", folder, **parts)


# ------------------------------------------------------------------------------------------ numbers


def test_the_template_itself_is_perfectly_prepared(tmp_path):
    row = measure(unit(tmp_path), {"T1w": TEMPLATE})
    assert tuple(row) == COLUMNS
    assert row["overlap"] == 1
    assert row["t1w_correlation"] == pytest.approx(1)
    assert row["nmi"] == pytest.approx(2)
    assert row["edge_percent"] == 0
    assert row["volume_ml"] == pytest.approx((phantom() > 0).sum() * 64 / 1000)


def test_the_volume_is_the_person_s_not_the_template_s(tmp_path):
    prepared = unit(tmp_path, to_scan=TO_SCAN)
    assert measure(prepared, {})["volume_ml"] == pytest.approx(
        (phantom() > 0).sum() * 64 / 1000 * 0.9 * 0.8 * 0.95
    )


def test_without_a_template_there_is_no_likeness(tmp_path):
    row = measure(unit(tmp_path), {})
    assert np.isnan([row["overlap"], row["nmi"], row["t1w_correlation"]]).all()


def test_the_other_contrast_correlates_negatively(tmp_path):
    inverted = np.where(phantom() > 0, 1 - phantom(), 0)
    row = measure(unit(tmp_path, inverted, modality="T2w"), {"T1w": TEMPLATE})
    assert row["t1w_correlation"] == pytest.approx(-1)
    assert row["overlap"] == 1


def test_a_brain_cut_off_by_either_grid_is_at_the_edge(tmp_path):
    data = phantom()
    data[:, :, :16] = 0
    low = np.roll(data, -16, axis=2)
    share = 100 * (low[:, :, 0] > 0).sum() / (low > 0).sum()
    assert measure(unit(tmp_path / "a", low), {})["edge_percent"] == pytest.approx(share)
    cut = unit(tmp_path / "b")
    scan = io.read_image(cut.scan)
    middle = scan.grid.shape[1] // 2
    io.write_image(
        cut.scan,
        Image(
            scan.data[:, :middle],
            scan.grid.crop((0, 0, 0), (scan.grid.shape[0], middle, scan.grid.shape[2])),
        ),
    )
    assert measure(cut, {})["edge_percent"] > 20


def test_every_number_is_over_its_own_voxels_and_with_its_own_template(tmp_path):
    """The scan is a T2w whose brain lies beside the template's. Its NMI is that with the T2w
    template, its correlation that with the T1w template.
    """
    rng = np.random.default_rng(1)
    brain = np.roll(phantom() > 0, (2, 1, -1), (0, 1, 2))
    brain[:, :, 30:] = False
    data = np.where(brain, 0.1 + 0.9 * rng.random(GRID.shape) * (0.5 + phantom()), 0).clip(0, 1)
    second = Image(
        np.where(phantom() > 0, rng.random(GRID.shape) / 2 + data / 2 + 0.01, 0).clip(0, 1), GRID
    )
    row = measure(unit(tmp_path, data, modality="T2w"), {"T1w": TEMPLATE, "T2w": second})
    template, both = phantom() > 0, brain & (phantom() > 0)
    assert row["overlap"] == pytest.approx(2 * both.sum() / (brain.sum() + template.sum()))
    prepared = np.float32(data)
    assert row["nmi"] == pytest.approx(
        normalised_mutual_information(prepared, second.data, template), rel=1e-4
    )
    assert row["t1w_correlation"] == pytest.approx(
        np.corrcoef(data[both], phantom()[both])[0, 1], rel=1e-3
    )
    assert (row["scan"], row["modality"]) == ("person one", "T2w")
    only_t1w = measure(unit(tmp_path, data, modality="T2w"), {"T1w": TEMPLATE})
    assert only_t1w["nmi"] == pytest.approx(
        normalised_mutual_information(prepared, TEMPLATE.data, template), rel=1e-4
    )
    assert only_t1w["nmi"] != pytest.approx(row["nmi"], rel=1e-3)


@pytest.mark.parametrize(("layer", "at_edge"), [(0, True), (1, False), (-1, True), (-2, False)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_edge_is_the_outermost_layer_of_voxels(tmp_path, layer, at_edge, axis):
    """A plate with a tenth of the brain's voxels lies in the first or last layers of the prepared
    image.
    """
    data, away = np.zeros(GRID.shape), np.zeros(GRID.shape)
    middle = [slice(n // 2 - 5, n // 2 + 5) for n in GRID.shape]
    data[tuple(layer if a == axis else part for a, part in enumerate(middle))] = 1
    away[tuple(middle)] = 1
    found = measure(unit(tmp_path, np.maximum(data, away)), {})["edge_percent"]
    assert found == pytest.approx(100 * 100 / 1100 if at_edge else 0)


def test_a_unit_of_another_template_is_refused(tmp_path):
    with pytest.raises(
        InputError, match=r"does not lie on the template's grid; prepare it for that template"
    ):
        measure(unit(tmp_path), {"T1w": Image(phantom()[1:], GRID.crop((1, 0, 0), GRID.shape))})


# -------------------------------------------------------------------------------------------- flags


def rows(count: int, seed: int = 0, **changes) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    table = pd.DataFrame(
        {
            "scan": [f"s{i:02d}" for i in range(count)],
            "modality": "T1w",
            "volume_ml": 1300 + 50 * rng.standard_normal(count),
            "overlap": 0.95 + 0.004 * rng.standard_normal(count),
            "nmi": 1.05 + 0.003 * rng.standard_normal(count),
            "t1w_correlation": 0.6,
            "ventricle_ratio": 0.3,
            "edge_percent": 0.0,
        }
    )
    for column, value in changes.items():
        table.loc[count - 1, column] = value
    return table


TABLE = """id	name	abbreviation	hemisphere	group
4	Left-Lateral-Ventricle	LV	left	ventricles
14	3rd-Ventricle	3V	none	ventricles
2	Left-Cerebral-White-Matter	WM	left	white matter
3	Left-Cerebral-Cortex	CT	left	cortex
"""


def labelled(folder, table=TABLE, ventricle=4, data=None) -> PreparedScan:
    """The phantom with its label map, on a finer grid whose first axis points to the left."""
    grid = Grid((60, 72, 66), [[-3, 0, 0, 88], [0, 3, 0, -100], [0, 0, 3, -72], [0, 0, 0, 1]])
    shown = phantom(grid)
    ids = np.select([shown == v for v in (0.1, 0.9, 0.5)], [ventricle, 2, 3], 0)
    folder.mkdir(exist_ok=True)
    io.write_labels(folder / "labels.nii.gz", Labels(ids, grid))
    (folder / "table.tsv").write_text(table)
    parts = {"labels": folder / "labels.nii.gz", "label_table": folder / "table.tsv"}
    return unit(folder, data, **parts)


def test_the_ventricles_are_compared_with_the_white_matter(tmp_path):
    row = measure(labelled(tmp_path / "t1w"), {})
    assert row["ventricle_ratio"] == pytest.approx(0.1 / 0.9)
    bright = np.where(phantom() == 0.1, 1, 0.4 * phantom())
    row = measure(labelled(tmp_path / "t2w", data=bright), {})
    assert row["ventricle_ratio"] == pytest.approx(1 / 0.36)


def test_without_ventricles_or_white_matter_there_is_no_ratio(tmp_path):
    mice = TABLE.replace("Left-Lateral-Ventricle", "Ventricles")
    grey = TABLE.replace("white matter", "grey matter")
    cases = {"m": {"table": mice}, "g": {"table": grey}, "v": {"ventricle": 14}}
    for name, changes in cases.items():
        assert np.isnan(measure(labelled(tmp_path / name, **changes), {})["ventricle_ratio"])
    assert np.isnan(measure(unit(tmp_path), {})["ventricle_ratio"])


def test_robust_z_of_known_numbers():
    values = np.array([1.0, 2, 3, 4, 5, 6, 7, 8, 9, 100, np.nan])
    expected = 0.6745 * (values - 5.5) / 2.5
    np.testing.assert_allclose(robust_z(values)[:-1], expected[:-1])
    assert robust_z(values)[-1] == 0
    assert (robust_z(np.ones(20)) == 0).all()
    assert (robust_z(values[:7]) == 0).all()


def test_scans_like_each_other_have_no_flags():
    assert (flag(rows(20), adults=True)["flags"] == "").all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"volume_ml": 2100}, r"brain volume far above the other scans' \(z \+\d+"),
        ({"volume_ml": 600}, r"brain volume far below the other scans' \(z -\d+"),
        ({"overlap": 0.88}, r"overlap with the template far below the other scans'"),
        ({"nmi": 1.01}, r"NMI with the template far below the other scans'"),
        (
            {"volume_ml": 2900},
            r"brain volume 2900 ml, outside 250 to 2300 ml; brain volume far above",
        ),
        ({"overlap": 0.6}, r"overlap with the template 0.60, under 0.85"),
        ({"edge_percent": 3.0}, r"3.0 % of the brain at the edge of the field of view"),
        (
            {"t1w_correlation": -0.4},
            r"contrast does not look like T1w \(correlation with the T1w template -0.40\)",
        ),
        (
            {"modality": "T2w"},
            r"contrast does not look like T2w \(correlation with the T1w template \+0.60\)",
        ),
        (
            {"ventricle_ratio": 2.1},
            r"^contrast does not look like T1w \(the ventricles are 2.10 times as bright as the "
            r"white matter\)$",
        ),
        (
            {"modality": "T2w", "t1w_correlation": -0.4},
            r"^contrast does not look like T2w \(the ventricles are 0.30 times as bright",
        ),
    ],
)
def test_what_stands_out_is_flagged_and_nothing_else(changes, message):
    flags = flag(rows(20, **changes), adults=True)["flags"]
    assert pd.Series([flags.iloc[-1]]).str.contains(message).item()
    assert (flags.iloc[:-1] == "").all()


@pytest.mark.parametrize(
    ("column", "allowed", "refused"),
    [
        ("volume_ml", 250.0, 249.9),
        ("volume_ml", 2300.0, 2300.1),
        ("overlap", 0.85, 0.8499),
        ("edge_percent", 0.5, 0.501),
        ("ventricle_ratio", 1.15, 1.151),
    ],
)
def test_the_limits_are_those_documented(column, allowed, refused):
    assert flag(rows(1, **{column: allowed}), adults=True)["flags"].item() == ""
    assert flag(rows(1, **{column: refused}), adults=True)["flags"].item() != ""


@pytest.mark.parametrize(
    ("others", "z", "flagged"), [(8, 3.45, False), (8, 3.55, True), (7, 3.55, True), (6, 9, False)]
)
def test_a_scan_stands_out_from_eight_scans_on_and_beyond_a_robust_z_of_three_and_a_half(
    others, z, flagged
):
    table = rows(others + 1)
    volumes = 1300.0 + 10 * np.arange(others)
    for _ in range(60):  # the median and the MAD depend on the last value, too
        both = np.append(volumes, table["volume_ml"].iloc[-1])
        centre, spread = np.median(both), np.median(np.abs(both - np.median(both)))
        table["volume_ml"] = np.append(volumes, centre + z * spread / 0.6745)
    table = table.assign(overlap=0.95, nmi=1.05)
    assert (flag(table, adults=True)["flags"].iloc[-1] != "") == flagged


def test_more_likeness_than_usual_is_no_fault():
    assert (flag(rows(20, nmi=1.2, overlap=0.999), adults=True)["flags"] == "").all()


def test_few_scans_are_not_compared_with_each_other():
    assert (flag(rows(5, nmi=1.01), adults=True)["flags"] == "").all()


def test_newborns_contrast_is_not_asked():
    assert (flag(rows(10, t1w_correlation=-0.4), adults=False)["flags"] == "").all()


@pytest.mark.parametrize(
    ("modality", "ratio", "flagged"),
    [
        ("T1w", 0.96, False),
        ("T1w", 1.35, True),
        ("T2w", 1.35, False),
        ("T2w", 0.96, True),
        ("FLAIR", 0.3, False),
        ("FLAIR", 2.0, False),
        ("T1w", np.nan, False),
    ],
)
def test_bright_or_dark_fluid_is_asked_of_newborns_too(modality, ratio, flagged):
    """The ratios are the closest ones of newborns who were measured."""
    table = rows(1, modality=modality, t1w_correlation=np.nan, ventricle_ratio=ratio)
    assert (flag(table, adults=False)["flags"].item() != "") == flagged


def test_a_scan_is_compared_with_those_of_its_modality():
    other = rows(20, seed=1).assign(modality="T2w", t1w_correlation=-0.5, ventricle_ratio=2)
    other["nmi"] -= 0.03
    assert (flag(pd.concat([rows(20), other], ignore_index=True), adults=True)["flags"] == "").all()


# ----------------------------------------------------------------------------------------- the page


def test_flagged_scans_come_first_with_their_pictures(tmp_path):
    table = gather(rows(20, volume_ml=2900, scan="<odd> scan").to_dict("records"), adults=True)
    assert table["scan"].iloc[0] == "<odd> scan"
    assert table["scan"].iloc[1:].tolist() == [f"s{i:02d}" for i in range(19)]
    write_preparation(table, {"<odd> scan": "pictures/odd scan.png"}, tmp_path, "Adults & others")
    page = (tmp_path / "index.html").read_text()
    assert "20 scans, 1 of them flagged." in page
    assert "Adults &amp; others" in page
    assert "&lt;odd&gt; scan" in page
    assert "<odd>" not in page
    assert 'src="pictures/odd%20scan.png"' in page
    assert page.count("No picture.") == 19
    assert page.index("&lt;odd&gt;") < page.index("s00")
    assert "brain 2900 ml, overlap with the template 0.9" in page
    read = pd.read_csv(tmp_path / "preparation.tsv", sep="\t", keep_default_na=False)
    assert read["scan"].tolist() == table["scan"].tolist()
    assert read["flags"].iloc[0].startswith("brain volume 2900 ml")


def test_what_is_not_known_is_left_out(tmp_path):
    write_preparation(
        gather([{**rows(1).iloc[0], "nmi": np.nan}], adults=True), {}, tmp_path, "One"
    )
    assert "NMI" not in (tmp_path / "index.html").read_text()


# -------------------------------------------------------------------------------------- the picture


def centres(picture: np.ndarray, colour: str) -> np.ndarray:
    """Return the positions of pixels of ``colour``, ``(N, 2)``: down and across."""
    return np.argwhere((np.abs(picture[..., :3] - rgb(colour)) < 0.08).all(axis=-1))


@pytest.mark.parametrize("codes", ["RAS", "LIA", "PSR"])
def test_the_outline_lies_on_the_brain_whatever_the_orientation(tmp_path, codes):
    preparation_picture(unit(tmp_path, to_scan=TO_SCAN, codes=codes), {}, tmp_path / "picture.png")
    picture = matplotlib.image.imread(tmp_path / "picture.png")
    height, width = picture.shape[:2]
    axial = picture[: height // 2, : width // 3]
    outline = centres(axial, EDGE_COLOUR)
    bright = np.argwhere(axial[..., :3].min(axis=-1) > 0.8)
    inside = bright[(bright[:, 0] > outline[:, 0].min()) & (bright[:, 0] < outline[:, 0].max())]
    np.testing.assert_allclose(outline.mean(axis=0), inside.mean(axis=0), atol=0.04 * width)
    spread = np.ptp(outline, axis=0)
    assert spread[0] / spread[1] == pytest.approx((75 * 0.8) / (55 * 0.9), rel=0.08)


def test_the_ventricle_of_the_left_is_on_the_right_of_the_picture(tmp_path, drawn):
    preparation_picture(unit(tmp_path, codes="PSR"), {}, tmp_path / "picture.png")
    axes = drawn[0].axes[0]
    picture = np.asarray(axes.images[0].get_array(), dtype=float)
    picture = picture[..., :3].mean(axis=-1) if picture.ndim == 3 else picture
    bright = np.argwhere(picture > 0.8 * picture.max())
    middle, (first, last) = int(bright[:, 0].mean()), (bright[:, 1].min(), bright[:, 1].max())
    centre, quarter = (first + last) // 2, (last - first) // 3
    rows = picture[middle - 2 : middle + 3]
    sides = [
        rows[:, centre - quarter : centre].mean(),
        rows[:, centre + 1 : centre + 1 + quarter].mean(),
    ]
    start, end, *_ = axes.images[0].get_extent()
    on_the_page = [axes.transData.transform((x, 0))[0] for x in (start, end)]
    at_the_left, at_the_right = sides if on_the_page[0] < on_the_page[1] else sides[::-1]
    assert at_the_right < at_the_left - 0.2 * picture.max()


def test_labels_are_laid_where_they_belong(tmp_path):
    """Labels are drawn on the prepared image, however their own grid is stored, and nowhere
    else.
    """
    structures = Labels(np.select([phantom() > 0.8, phantom() > 0.3], [2, 3], 0), GRID)
    elsewhere = Labels(np.roll(structures.data, 4, axis=0), GRID)
    flipped = GRID.affine @ np.diag([-1.0, 1, 1, 1])
    flipped[:3, 3] = GRID.to_world(np.array([GRID.shape[0] - 1, 0, 0]))
    turned = Labels(structures.data[::-1], Grid(GRID.shape, flipped))
    pictures = []
    for labels in (structures, turned, elsewhere):
        io.write_labels(tmp_path / "labels.nii.gz", labels)
        shown = unit(tmp_path, to_scan=TO_SCAN, labels=tmp_path / "labels.nii.gz")
        preparation_picture(shown, {"T1w": TEMPLATE}, tmp_path / "picture.png")
        pictures.append(matplotlib.image.imread(tmp_path / "picture.png"))
    np.testing.assert_array_equal(pictures[1], pictures[0])
    assert np.abs(pictures[2] - pictures[0]).mean() > 0.005


def test_both_sides_of_a_structure_share_a_colour(tmp_path):
    points = GRID.points_mm()
    left = points[..., 0] < GRID.centre_mm[0]
    io.write_labels(
        tmp_path / "labels.nii.gz",
        Labels(np.where(phantom() > 0.8, np.where(left, 17, 53), 0), GRID),
    )
    (tmp_path / "table.tsv").write_text(
        "id\tname\tabbreviation\themisphere\tgroup\n"
        "17\tLeft-Hippocampus\tHC\tleft\tx\n53\tRight-Hippocampus\tHC\tright\tx\n"
    )
    hues = {}
    for table in (tmp_path / "table.tsv", None):
        shown = unit(tmp_path, labels=tmp_path / "labels.nii.gz", label_table=table)
        preparation_picture(shown, {}, tmp_path / "picture.png")
        picture = matplotlib.image.imread(tmp_path / "picture.png")[..., :3]
        lower = picture[2 * len(picture) // 3 :]
        coloured = lower[np.ptp(lower, axis=-1) > 0.3]
        hues[table] = len(np.unique((rgb_to_hsv(coloured)[:, 0] * 20).round()))
    assert hues[tmp_path / "table.tsv"] == 1
    assert hues[None] == 2


def test_a_picture_is_repeated_to_the_byte(tmp_path):
    prepared = unit(tmp_path)
    for name in ("one.png", "two.png"):
        preparation_picture(prepared, {"T1w": TEMPLATE}, tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


# ------------------------------------------------------------------------------------ what is drawn


PLANES = {"axial": (0, 1, 2), "coronal": (0, 2, 1), "sagittal": (1, 2, 0)}
"""The axes across, up and normal to the picture of each column, from the left."""


def rows_of(figure: Figure) -> dict[str, list]:
    """Return the three pictures of each heading, from the left; the headings from above."""
    corners = {axes: axes.get_position() for axes in figure.axes}
    heads = sorted(
        (axes for axes in figure.axes if axes.get_ylabel()), key=lambda axes: -corners[axes].y0
    )
    return {
        head.get_ylabel(): sorted(
            (axes for axes in figure.axes if np.isclose(corners[axes].y0, corners[head].y0)),
            key=lambda axes: corners[axes].x0,
        )
        for head in heads
    }


def shaded(volume: np.ndarray) -> np.ndarray:
    low, high = np.quantile(volume[volume > 0], [0.01, 0.98])
    return np.clip((volume - low) / (high - low), 0, 1)


def half_way(mask: np.ndarray, axis: int) -> int:
    occupied = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
    return round((occupied[0] + occupied[-1]) / 2)


def slice_of(volume: np.ndarray, plane: str, index: int) -> np.ndarray:
    """``[up, across]``, as pictures are stored."""
    across, up, normal = PLANES[plane]
    return np.moveaxis(volume, (normal, up, across), (0, 1, 2))[index]


@pytest.mark.parametrize("modality", ["T1w", "T2w"])
def test_each_row_of_the_picture_shows_its_own_step(tmp_path, drawn, modality):
    """The rows are the scan, the prepared image with the template of its own contrast, and the
    labels in their colours.
    """
    rng = np.random.default_rng(0)
    mask = phantom() > 0
    prepared_data = np.where(mask, 0.2 + 0.8 * rng.random(GRID.shape), 0)
    side = GRID.points_mm()[..., 0] < GRID.centre_mm[0]
    drawn_labels = np.where(phantom() > 0.8, np.where(side, 17, 53), np.where(mask, 16, 0))
    io.write_labels(tmp_path / "labels.nii.gz", Labels(drawn_labels, GRID))
    table = tmp_path / "table.tsv"
    table.write_text(
        "id\tname\tabbreviation\themisphere\tgroup\n17\tLeft-Hippocampus\tHC\tleft\tx\n"
        "16\tBrain-Stem\tBS\tnone\tx\n53\tRight-Hippocampus\tHC\tright\tx\n"
    )
    parts = {"labels": tmp_path / "labels.nii.gz", "label_table": table}
    prepared = unit(tmp_path, prepared_data, to_scan=TO_SCAN, modality=modality, **parts)
    references = {"T1w": TEMPLATE, "T2w": Image(np.roll(phantom(), (2, -3, 1), (0, 1, 2)), GRID)}
    preparation_picture(prepared, references, tmp_path / "picture.png")
    rows = rows_of(drawn[-1])
    assert list(rows) == ["Scan, its mask", "Prepared, template's edges", "Labels"]
    assert drawn[-1].texts[0].get_text() == "person one"
    scan = nib.as_closest_canonical(nib.load(prepared.scan))
    for number, plane in enumerate(PLANES):
        normal = PLANES[plane][2]
        index = half_way(mask, normal)
        for heading in ("Prepared, template's edges", "Labels"):
            shown = rows[heading][number].images[0].get_array()
            np.testing.assert_allclose(
                shown, slice_of(shaded(prepared_data), plane, index), atol=1e-5
            )
        assert_edges_are_those_of(
            references[modality], rows["Prepared, template's edges"][number], number, index
        )
        where = np.argwhere(mask) @ GRID.affine[:3, :3].T + GRID.affine[:3, 3]
        along = (
            TO_SCAN(where) @ np.linalg.inv(scan.affine)[:3, :3].T
            + np.linalg.inv(scan.affine)[:3, 3]
        )[:, normal]
        there = round((along.min() + along.max()) / 2)
        found = rows["Scan, its mask"][number].images[0].get_array()
        np.testing.assert_allclose(
            found, slice_of(shaded(scan.get_fdata()), plane, there), atol=1e-4
        )
        colours = rows["Labels"][number].images[1].get_array()
        labels = slice_of(drawn_labels, plane, index)
        assert_one_colour_each(colours, labels, [[0], [17, 53], [16]])


def assert_edges_are_those_of(template: Image, cell, column: int, index: int) -> None:
    there = Figure().subplots()
    edges.draw_edges(
        there, PICTURED[column], index, template.data, template.data > 0, template.grid
    )
    (expected,), (found,) = there.collections, cell.collections
    assert len(expected.get_segments()) == len(found.get_segments()) > 0
    for one, other in zip(expected.get_segments(), found.get_segments(), strict=True):
        np.testing.assert_allclose(one, other)


def assert_one_colour_each(
    colours: np.ndarray, labels: np.ndarray, groups: list[list[int]]
) -> None:
    """Check that each group of ids has a colour of its own, and the background none."""
    found = [np.unique(colours[np.isin(labels, ids)], axis=0) for ids in groups]
    assert [len(colour) for colour in found] == [1] * len(groups)
    assert len(np.unique(np.concatenate(found), axis=0)) == len(groups)
    assert found[0][0, 3] == 0
    assert all(colour[0, 3] > 0 for colour in found[1:])


@pytest.mark.parametrize("to_scan", [None, TO_SCAN])
def test_the_outline_of_the_brain_lies_on_the_scan_through_the_affine(tmp_path, drawn, to_scan):
    """Outlines are ellipses with the axes of the phantom, in the scan's millimetres."""
    preparation_picture(unit(tmp_path, to_scan=to_scan, codes="PSR"), {}, tmp_path / "picture.png")
    rows = rows_of(drawn[-1])
    assert list(rows) == ["Scan, its mask", "Prepared, its mask"]
    scales = np.diag((to_scan or Affine()).matrix)[:3]
    for heading, scale in {"Scan, its mask": scales, "Prepared, its mask": np.ones(3)}.items():
        for cell, (across, up, _) in zip(rows[heading], PLANES.values(), strict=True):
            (outline,) = cell.collections
            spread = np.ptp(np.concatenate(outline.get_segments()), axis=0)
            expected = 2 * np.array([55, 75, 60])[[across, up]] * scale[[across, up]]
            np.testing.assert_allclose(spread, expected, atol=5)


def test_a_unit_without_its_mask(tmp_path):
    prepared = unit(tmp_path)
    (tmp_path / "mask.nii.gz").unlink()
    with pytest.raises(InputError, match=r"There is no file .*mask.nii.gz"):
        preparation_picture(prepared, {}, tmp_path / "picture.png")
    assert not (tmp_path / "picture.png").exists()
