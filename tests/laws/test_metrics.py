"""Metrics against closed forms, and what must not change them."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from surface_distance import compute_robust_hausdorff, compute_surface_distances

from diffeode.evaluation.consistency import inverse_consistency_mm
from diffeode.evaluation.evaluate import evaluate_pair
from diffeode.evaluation.jacobian import jacobian_metrics
from diffeode.evaluation.labels import to_indices
from diffeode.evaluation.landmarks import shared_landmarks, target_registration_errors_mm
from diffeode.evaluation.overlap import dice_by_label
from diffeode.evaluation.similarity import normalised_mutual_information
from diffeode.evaluation.surface import hd95_by_label
from diffeode.files.io import read_image, read_labels
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, densify

pytestmark = pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")

ISOTROPIC = Grid((64, 64, 64), np.eye(4))
ANISOTROPIC = Grid((80, 64, 40), np.diag([-0.8, 1.0, 1.6, 1.0]))
ALBERT_LABELS = [
    2,
    3,
    4,
    8,
    10,
    11,
    12,
    13,
    14,
    15,
    16,
    17,
    18,
    26,
    28,
    41,
    42,
    43,
    47,
    49,
    50,
    51,
    52,
    53,
    54,
    58,
    60,
]


def ball(grid: Grid, radius_mm: float, shift_mm=(0.0, 0.0, 0.0)) -> np.ndarray:
    """Label 1 inside a ball about the grid's centre."""
    offset = grid.points_mm() - grid.centre_mm - shift_mm
    return (np.linalg.norm(offset, axis=-1) <= radius_mm).astype(np.uint16)


def translation(shift_mm) -> Affine:
    matrix = np.eye(4)
    matrix[:3, 3] = shift_mm
    return Affine(matrix)


def label_table(ids) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": list(ids),
            "name": [f"structure {i}" for i in ids],
            "abbreviation": "",
            "hemisphere": "none",
            "group": "",
        }
    )


def lens_dice(radius: float, distance: float) -> float:
    """Overlap of two balls of one radius: volume of the lens over volume of a ball."""
    lens = np.pi * (4 * radius + distance) * (2 * radius - distance) ** 2 / 12
    return lens / (4 / 3 * np.pi * radius**3)


def shifted_ball_hd95(radius: float, distance: float) -> float:
    """The cosine to the axis of a shift is uniform over a ball's surface; 95 % of its points are
    nearer than this.
    """
    cosines = np.linspace(-1, 1, 20001)
    return np.percentile(
        np.abs(np.sqrt(radius**2 + distance**2 + 2 * radius * distance * cosines) - radius), 95
    )


# ------------------------------------------------------------------------------------------ overlap


@pytest.mark.parametrize("grid", [ISOTROPIC, ANISOTROPIC], ids=["isotropic", "anisotropic"])
@pytest.mark.parametrize("shift", [(0.0, 0.0, 0.0), (6.0, 0.0, 0.0), (3.0, -4.0, 5.0)])
def test_dice_of_two_shifted_balls(grid, shift):
    found = dice_by_label(ball(grid, 18.0), ball(grid, 18.0, shift), 1)[0]
    assert found == pytest.approx(lens_dice(18.0, np.linalg.norm(shift)), abs=0.004)


def test_a_label_of_one_side_counts_zero_and_of_neither_not_at_all():
    fixed, warped = np.array([1, 1, 2, 0, 0]), np.array([1, 0, 0, 3, 0])
    np.testing.assert_array_equal(dice_by_label(fixed, warped, 4), [2 / 3, 0, 0, np.nan])


def test_a_label_pushed_off_the_grid_still_counts_zero():
    fixed, warped = np.array([1, 1, 0]), np.array([1, 1, 0])
    in_moving = np.array([True, True, False])
    np.testing.assert_array_equal(dice_by_label(fixed, warped, 3, in_moving), [1, 0, np.nan])


def test_indices_follow_the_order_of_the_table_and_leave_strangers_out():
    np.testing.assert_array_equal(
        to_indices(np.array([[0, 7], [2, 60]]), np.array([60, 2])), [[0, 0], [2, 1]]
    )


# ----------------------------------------------------------------------------------------- surfaces


@pytest.mark.parametrize("grid", [ISOTROPIC, ANISOTROPIC], ids=["isotropic", "anisotropic"])
def test_hd95_of_concentric_balls_is_the_difference_of_their_radii(grid):
    found = hd95_by_label(ball(grid, 12.0), ball(grid, 18.0), 1, grid.spacing)[0]
    assert found == pytest.approx(6.0, abs=0.6 * grid.spacing.max())


@pytest.mark.parametrize("grid", [ISOTROPIC, ANISOTROPIC], ids=["isotropic", "anisotropic"])
def test_hd95_of_two_shifted_balls(grid):
    shift = (3.0, -4.0, 5.0)
    found = hd95_by_label(ball(grid, 18.0), ball(grid, 18.0, shift), 1, grid.spacing)[0]
    assert found == pytest.approx(
        shifted_ball_hd95(18.0, np.linalg.norm(shift)), abs=0.6 * grid.spacing.max()
    )


def test_hd95_is_in_millimetres_and_zero_for_equal_labels():
    a, b = ball(ISOTROPIC, 10.0), ball(ISOTROPIC, 10.0, (4.0, 0.0, 0.0))
    once, twice = hd95_by_label(a, b, 1, np.ones(3)), hd95_by_label(a, b, 1, 2 * np.ones(3))
    assert twice[0] == pytest.approx(2 * once[0])
    assert hd95_by_label(a, a, 1, np.ones(3))[0] == 0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_hd95_of_two_plates_is_their_distance_along_the_axis_in_millimetres(axis):
    spacing, steps = np.array([0.7, 1.3, 2.9]), 4
    plate = np.zeros((28, 29, 30), dtype=np.uint16)
    plate[3:24, 3:24, 3:24] = np.moveaxis(np.arange(21) == 5, -1, 0)[
        tuple(slice(None) if a == axis else None for a in range(3))
    ]
    moved = np.roll(plate, steps, axis)
    assert hd95_by_label(plate, moved, 1, spacing)[0] == pytest.approx(steps * spacing[axis])
    assert hd95_by_label(moved, plate, 1, spacing)[0] == pytest.approx(steps * spacing[axis])


def test_hd95_looks_from_both_sides():
    """A speck far off that only one of them has counts whichever it is, and a twentieth is a part
    of the surface.
    """
    small = np.zeros((60, 20, 20), dtype=np.uint16)
    small[5:9, 8:12, 8:12] = 1
    with_another = small.copy()
    with_another[35:38, 8:11, 8:11] = 1
    there, back = (
        hd95_by_label(*pair, 1, np.ones(3))[0]
        for pair in ((small, with_another), (with_another, small))
    )
    assert there == back
    assert 26 <= there <= 29


def test_hd95_forgives_a_twentieth_of_the_surface():
    clean, stained = ball(ISOTROPIC, 15.0), ball(ISOTROPIC, 15.0)
    stained[2:4, 2:4, 2:4] = 1
    assert hd95_by_label(clean, stained, 1, np.ones(3))[0] < 1


@pytest.mark.parametrize("thickness", [0.05, 1.0, 20.0])
def test_hd95_in_slices_is_the_distance_of_contours(thickness):
    """A large square is moved by three pixels; the faces of the slice have no say."""
    square = np.zeros((120, 110, 1), int)
    square[10:100, 8:100] = 1
    spacing = np.array([0.5, 2.0, thickness])
    for axis, expected in ((0, 1.5), (1, 6.0)):
        moved = np.roll(square, 3, axis)
        assert hd95_by_label(square, moved, 1, spacing)[0] == pytest.approx(expected)


def test_hd95_in_slices_is_that_of_the_package_to_the_bit():
    random, spacing = np.random.default_rng(7), (0.8, 1.3)
    fixed, warped = (
        (ndimage.gaussian_filter(random.normal(size=(60, 70)), 4) > 0).astype(int) for _ in "ab"
    )
    theirs = compute_robust_hausdorff(
        compute_surface_distances(fixed == 1, warped == 1, spacing), 95
    )
    ours = hd95_by_label(fixed[..., None], warped[..., None], 1, np.array([*spacing, 3.0]))
    assert ours[0] == theirs


def test_hd95_is_that_of_the_package_to_the_bit():
    """Three labels of irregular shape that touch each other and the border."""
    fixed, warped = (
        np.digitize(noise, np.quantile(noise, (0.3, 0.6, 0.8))).astype(np.uint16)
        for noise in (
            ndimage.gaussian_filter(np.random.default_rng(seed).random((30, 28, 33)), 3)
            for seed in (0, 1)
        )
    )
    spacing = np.array([0.86, 1.2, 0.7])
    package = [
        compute_robust_hausdorff(
            compute_surface_distances(fixed == label, warped == label, spacing), 95
        )
        for label in (1, 2, 3)
    ]
    assert hd95_by_label(fixed, warped, 3, spacing).tolist() == package
    assert len(set(package)) == 3


def test_hd95_to_nothing_is_not_a_number():
    a = ball(ISOTROPIC, 10.0)
    assert np.isnan(hd95_by_label(a, 2 * a, 3, np.ones(3))).all()


# ------------------------------------------------------------------------------------------- points


def test_a_translation_and_its_inverse_are_consistent_and_an_error_is_found_in_full():
    moving_grid = Grid((60, 60, 60), np.diag([1.5, 1.5, 1.5, 1.0]))
    mask = ball(ISOTROPIC, 15.0) > 0
    warp = densify(translation((2.0, -3.0, 1.0)), ISOTROPIC)
    exact, off = translation((-2.0, 3.0, -1.0)), translation((-1.7, 3.4, -1.0))
    assert inverse_consistency_mm(warp, densify(exact, moving_grid), mask) == pytest.approx(
        (0, 0), abs=1e-5
    )
    assert inverse_consistency_mm(warp, densify(off, moving_grid), mask) == pytest.approx(
        (0.5, 0.5), rel=1e-5
    )


def test_consistency_is_the_mean_and_the_95th_percentile_of_the_misses_in_the_brain():
    """The way back misses by the squares of 0 to 100, in 0.01 mm, so that no two summaries agree;
    outside by more.
    """
    grid = Grid((101, 4, 3), np.diag([2.0, 1.0, 3.0, 1.0]))
    back = np.zeros((*grid.shape, 3), dtype=np.float32)
    back[..., 2] = (np.arange(101) ** 2 / 100)[:, None, None]
    back[:, 2:] = 500
    mask = np.zeros(grid.shape, dtype=bool)
    mask[:, :2] = True
    found = inverse_consistency_mm(densify(Affine(), grid), DisplacementField(back, grid), mask)
    assert found == pytest.approx((33.5, 95**2 / 100), rel=1e-5)


def test_consistency_leaves_out_points_beyond_the_inverse():
    mask = np.ones(ISOTROPIC.shape, dtype=bool)
    warp = densify(translation((40.0, 0.0, 0.0)), ISOTROPIC)
    back = densify(translation((-40.0, 0.0, 0.0)), ISOTROPIC).displacement_mm.copy()
    back[-1] += 30.0
    mean, p95 = inverse_consistency_mm(warp, DisplacementField(back, ISOTROPIC), mask)
    assert mean == pytest.approx(
        np.sqrt(3) * 30 / 24, rel=1e-5
    )  # one sheet of the 24 that stay inside
    assert p95 == pytest.approx(0, abs=1e-5)
    gone = densify(translation((100.0, 0.0, 0.0)), ISOTROPIC)
    assert np.isnan(inverse_consistency_mm(gone, gone, mask)).all()


def test_points_of_a_slice_may_be_rounded_out_of_its_plane():
    grid = Grid((5, 6, 1), np.diag([1.0, 1.0, 2.0, 1.0]))
    rounded = densify(translation((0.0, 0.0, 1e-4)), grid)
    found = inverse_consistency_mm(rounded, densify(Affine(), grid), np.ones(grid.shape, bool))
    assert found == pytest.approx((1e-4, 1e-4), rel=0.01)


def test_landmarks_come_in_the_order_of_the_fixed_table():
    here, there = (
        pd.DataFrame({"name": list(names), "x": [*map(ord, names)], "y": 0.0, "z": side})
        for names, side in (("cab", 1.0), ("bxca", 2.0))
    )
    expected = [[ord(name), 0, 0] for name in "cab"]
    found = shared_landmarks(here, there)
    for side, points in enumerate(found, start=1):
        np.testing.assert_array_equal(points, np.add(expected, [0, 0, side]))


def test_landmarks_travel_from_the_fixed_to_the_moving_scan():
    whole_map = translation((1.0, 2.0, 3.0))
    fixed = np.array([[20.0, 30.0, 25.0], [33.3, 21.7, 40.1]])
    moving = whole_map(fixed) + np.array([[0.0, 0.0, 0.0], [0.0, 3.0, 4.0]])
    errors = target_registration_errors_mm(fixed, moving, densify(whole_map, ISOTROPIC))
    np.testing.assert_allclose(errors, [0.0, 5.0], atol=1e-5)


# --------------------------------------------------------------------------------------- similarity


def test_mutual_information_of_equal_inverted_independent_and_constant_images():
    rng = np.random.default_rng(0)
    image, other, mask = rng.random(200_000), rng.random(200_000), np.ones(200_000, dtype=bool)
    assert normalised_mutual_information(image, image, mask) == pytest.approx(2)
    assert normalised_mutual_information(image, 1 - image, mask) == pytest.approx(2, abs=1e-3)
    assert normalised_mutual_information(image, other, mask) == pytest.approx(1, abs=1e-3)
    assert np.isnan(normalised_mutual_information(0 * image, 0 * image, mask))


def test_mutual_information_of_a_table_by_hand():
    """Half, a quarter and a quarter of the voxels: of 1.5 bits together, 1 and 0.811 bits apart."""
    first, second = np.array([0.1, 0.1, 0.6, 0.6]), np.array([0.2, 0.9, 0.9, 0.9])
    apart = 1 - (0.25 * np.log2(0.25) + 0.75 * np.log2(0.75))
    assert normalised_mutual_information(first, second, np.ones(4, dtype=bool)) == pytest.approx(
        apart / 1.5
    )


def test_mutual_information_tells_32_intensities_apart():
    edges = np.arange(32) / 32
    values, mask = np.concatenate([edges, edges + 0.5 / 32, [1.0]]), np.ones(65, dtype=bool)
    same = np.concatenate([np.arange(32), np.arange(32), [31]]) / 32
    assert normalised_mutual_information(values, same, mask) == pytest.approx(2)
    assert normalised_mutual_information(values, np.floor(same * 16) / 16, mask) < 1.95


def test_mutual_information_of_a_pair_is_taken_over_both_brains():
    fixed, moving = 0.4 * ball(ISOTROPIC, 15.0), 0.8 * ball(ISOTROPIC, 15.0, (8.0, 0.0, 0.0))
    found = evaluate_pair(
        warp=densify(Affine(), ISOTROPIC),
        fixed_image=Image(fixed, ISOTROPIC),
        moving_scan=Image(moving, ISOTROPIC),
        fixed_mask=fixed > 0,
    ).set_index("metric")["value"]
    expected = normalised_mutual_information(fixed, moving, (fixed > 0) | (moving > 0))
    assert found["nmi"] == pytest.approx(expected)
    assert found["nmi"] != pytest.approx(
        normalised_mutual_information(fixed, moving, fixed >= 0), rel=0.01
    )


def test_mutual_information_looks_at_the_mask_only():
    image = np.linspace(0, 1, 1000)
    mask = image < 0.5
    changed = np.where(mask, image, 0.9)
    assert normalised_mutual_information(image, changed, mask) == pytest.approx(2)
    assert normalised_mutual_information(image, changed, ~mask) == pytest.approx(1)


# -------------------------------------------------------------------------------------- whole pairs


def flipped(grid: Grid, axis: int) -> Grid:
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, axis] * (grid.shape[axis] - 1)
    affine[:3, axis] *= -1
    return Grid(grid.shape, affine)


def labelled_pair() -> dict:
    grid = Grid(
        (30, 28, 20),
        np.array([[-1.0, 0, 0, 12], [0, 1.2, 0.3, -9], [0, -0.2, 1.6, 4], [0, 0, 0, 1]]),
    )
    rng = np.random.default_rng(3)
    labels = ball(grid, 8.0) + 2 * ball(grid, 3.0, (2.0, 0.0, 1.0))
    wave = np.sin(grid.points_mm() / 4).astype(np.float32)
    image = Image((labels > 0) * rng.random(grid.shape), grid)
    return {
        "warp": DisplacementField(wave[..., [1, 2, 0]], grid),
        "inverse_warp": DisplacementField(-wave[..., [1, 2, 0]], grid),
        "fixed_image": image,
        "moving_scan": image,
        "fixed_mask": labels > 0,
        "fixed_labels": Labels(labels, grid),
        "moving_labels": Labels(labels, grid),
        "label_table": label_table([1, 2, 3]),
        "fixed_landmarks_mm": np.array([[12.0, 3.0, 5.0]]),
        "moving_landmarks_mm": np.array([[12.0, 3.0, 5.0]]),
    }


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_how_the_fixed_array_is_stored_changes_no_metric(axis):
    pair = labelled_pair()
    grid = flipped(pair["fixed_image"].grid, axis)
    turned = pair | {
        "warp": DisplacementField(np.flip(pair["warp"].displacement_mm, axis), grid),
        "fixed_image": Image(np.flip(pair["fixed_image"].data, axis), grid),
        "fixed_mask": np.flip(pair["fixed_mask"], axis),
        "fixed_labels": Labels(np.flip(pair["fixed_labels"].data, axis), grid),
    }
    pd.testing.assert_frame_equal(
        evaluate_pair(**pair), evaluate_pair(**turned), rtol=1e-4, atol=1e-4
    )


def test_the_affine_alignment_is_no_deformation_of_the_pair():
    pair = labelled_pair()
    alignment = Affine(np.diag([1.2, 1.1, 1.3, 1.0]))
    rows = evaluate_pair(
        **pair | {"warp": densify(alignment, pair["warp"].grid), "moving_to_scan": alignment}
    )
    assert rows.set_index("metric").loc["min_jacobian", "value"] == pytest.approx(1, rel=1e-4)


def test_a_structure_that_the_map_loses_is_averaged_as_zero():
    """Label 2 lies in a corner of the moving scan only; whether a map reaches it must not change
    what is averaged.
    """
    pair = labelled_pair()
    moving = pair["moving_labels"].data.copy()
    moving[0, 0, 0] = 2
    pair |= {"moving_labels": Labels(moving, pair["moving_labels"].grid)}
    away = densify(translation((0.0, 0.0, 500.0)), pair["warp"].grid)
    for warp in (densify(Affine(), away.grid), away):
        dice = (
            evaluate_pair(**pair | {"warp": warp})
            .query("metric == 'dice'")
            .set_index("label")["value"]
        )
        assert dice["2"] == 0
        assert dice[""] == pytest.approx(dice[["1", "2", "3"]].mean())


def test_labels_that_one_side_lacks():
    """Dice: 0 where one side has a label, counted; none where neither has. HD95: none unless both
    have it.
    """
    grid = Grid(
        (24, 22, 20), np.array([[0.0, 0, 1.5, -9], [0.8, 0, 0, 3], [0, 2.0, 0, 4], [0, 0, 0, 1]])
    )
    fixed, moving = np.zeros((2, *grid.shape), dtype=int)
    fixed[2:8, 2:8, 2:8], moving[2:8, 4:8, 2:8] = 7, 7
    fixed[10:14, 10:14, 10:14], moving[10:14, 10:14, 12:16] = 3, 3
    fixed[18, 2:9, 2:9], moving[18, 12:20, 2:9] = 11, 12
    image = Image((fixed > 0).astype(float), grid)
    finer = grid.affine @ np.diag([1, 0.5, 1, 1])
    finer[:3, 3] -= finer[:3, 1] / 2
    rows = evaluate_pair(
        warp=densify(Affine(), grid),
        fixed_image=image,
        moving_scan=image,
        fixed_mask=fixed > 0,
        fixed_labels=Labels(fixed, grid),
        moving_labels=Labels(np.repeat(moving, 2, axis=1), Grid((24, 44, 20), finer)),
        label_table=label_table([12, 3, 11, 7, 5]),
    )
    dice, hd95 = (
        rows[rows["metric"] == name].set_index("label")["value"] for name in ("dice", "hd95_mm")
    )
    assert dice.drop("").to_dict() == pytest.approx(
        {"12": 0, "3": 0.5, "11": 0, "7": 0.8, "5": np.nan}, nan_ok=True
    )
    assert dice[""] == pytest.approx(1.3 / 4)
    assert np.isnan(hd95[["12", "11", "5"]]).all()
    assert hd95["3"] == pytest.approx(2 * 1.5)
    assert hd95["7"] == pytest.approx(2 * 2.0)
    assert hd95[""] == pytest.approx(3.5)
    named = rows[rows["label"] != ""]
    assert (named["label_name"] == "structure " + named["label"]).all()


def test_the_errors_of_landmarks_are_their_mean_and_their_largest():
    pair = labelled_pair()
    fixed = pair["fixed_image"].grid.to_world(
        np.array([[15.0, 14, 10], [10, 12, 9], [12, 15, 11], [14, 12, 8]])
    )
    off = np.array([[0, 0, 0], [3.0, 4, 0], [0, 0, 1], [0, 6, 8]])
    landmarks = {"fixed_landmarks_mm": fixed, "moving_landmarks_mm": fixed + off}
    rows = evaluate_pair(**pair | landmarks | {"warp": densify(Affine(), pair["warp"].grid)})
    found = rows.set_index("metric").loc[["tre_mm", "tre_max_mm"], "value"]
    np.testing.assert_allclose(found, [4, 10], atol=1e-4)


def test_mutual_information_before_is_that_of_the_alignment_alone():
    pair = labelled_pair()
    alignment = translation((1.0, -2.0, 1.0))
    whole = {
        "warp": densify(pair["warp"].then(alignment), pair["warp"].grid),
        "moving_to_scan": alignment,
    }
    found, before = (
        evaluate_pair(**pair | given).set_index("metric")["value"]
        for given in (
            whole,
            {"warp": densify(alignment, pair["warp"].grid), "moving_to_scan": alignment},
        )
    )
    assert found["nmi_before"] == pytest.approx(before["nmi"], abs=1e-6)
    assert found["nmi_before"] != pytest.approx(found["nmi"], abs=1e-3)


def test_every_number_of_a_pair_is_that_of_its_own_measure():
    """Each under its own name, over the fixed brain, of the map without its alignment where that
    does not count.
    """
    pair = labelled_pair()
    grid, mask = pair["warp"].grid, pair["fixed_mask"]
    alignment = Affine(
        np.array([[1.1, 0.1, 0, 2], [0, 0.9, 0, -1], [0, 0.05, 1.2, 1], [0, 0, 0, 1]])
    )
    folding = DisplacementField(6 * pair["warp"].displacement_mm, grid)
    whole, back = densify(folding.then(alignment), grid), densify(alignment.inverse(), grid)
    rows = evaluate_pair(
        **pair | {"warp": whole, "inverse_warp": back, "moving_to_scan": alignment}
    )
    found = rows[rows["label"] == ""].set_index("metric")["value"].to_dict()
    mean, p95 = inverse_consistency_mm(whole, back, mask)
    expected = jacobian_metrics(whole, mask, alignment)
    expected |= {"inverse_consistency_mm": mean, "inverse_consistency_p95_mm": p95}
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert len(set(expected.values())) == len(expected)


def test_which_order_the_label_table_has_changes_no_mean():
    pair = labelled_pair()
    ordered = evaluate_pair(**pair)
    reversed_ = evaluate_pair(**pair | {"label_table": pair["label_table"][::-1]})
    columns = ["metric", "label"]
    pd.testing.assert_frame_equal(
        ordered.sort_values(columns, ignore_index=True),
        reversed_.sort_values(columns, ignore_index=True),
    )


def test_the_right_map_undoes_a_shift_exactly():
    """Whole-voxel shift between the scans: through the right map everything fits, through the
    identity it does not.
    """
    pair, shift = labelled_pair(), 3
    grid = pair["fixed_image"].grid
    moving = np.roll(pair["fixed_labels"].data, shift, axis=0)
    image = Image(np.roll(pair["fixed_image"].data, shift, axis=0), grid)
    true = translation(grid.affine[:3, 0] * shift)
    pair |= {
        "moving_labels": Labels(moving, grid),
        "moving_scan": image,
        "moving_landmarks_mm": true(pair["fixed_landmarks_mm"]),
    }
    found = evaluate_pair(
        **pair | {"warp": densify(true, grid), "inverse_warp": densify(true.inverse(), grid)}
    )
    whole = found[found["label"] == ""].set_index("metric")["value"]
    assert whole["dice"] == 1
    assert whole["hd95_mm"] == 0
    assert whole["nmi"] == pytest.approx(
        2, abs=0.05
    )  # the linear resampling of an exact shift rounds a little
    assert whole["nmi_before"] < 1.5
    np.testing.assert_allclose(
        whole[["tre_mm", "tre_max_mm", "inverse_consistency_mm", "sdlogj"]], 0, atol=1e-4
    )
    unmoved = evaluate_pair(**pair | {"warp": densify(Affine(), grid)})
    assert unmoved[(unmoved["metric"] == "dice") & (unmoved["label"] == "")]["value"].item() < 0.7


def test_real_newborn_labels_before_any_registration(real_data_root):
    """ALBERTs 01 and 02 on their common grid: the mean Dice of 27 labels was measured as 0.433 with
    other code.
    """
    anat = [real_data_root / "albert" / f"sub-{n}" / "anat" / f"sub-{n}" for n in ("01", "02")]
    fixed, moving = (read_image(f"{stem}_T2w.nii.gz") for stem in anat)
    fixed_labels, moving_labels = (read_labels(f"{stem}_dseg.nii.gz") for stem in anat)
    rows = evaluate_pair(
        warp=densify(Affine(), fixed.grid),
        fixed_image=fixed,
        moving_scan=moving,
        fixed_mask=fixed.data > 0,
        fixed_labels=fixed_labels,
        moving_labels=moving_labels,
        label_table=label_table(ALBERT_LABELS),
    )
    dice = rows[rows["metric"] == "dice"].set_index("label")["value"]
    assert dice[""] == pytest.approx(0.433, abs=0.001)
    assert len(dice) == 28
    hd95 = rows[(rows["metric"] == "hd95_mm") & (rows["label"] != "")]["value"]
    assert hd95.between(0.5, 30).all()
