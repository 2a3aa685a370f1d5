"""The virtual cohort: its maps, contrasts, labels and landmarks are as its page promises."""

import json
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffeode.datasets import virtual
from diffeode.datasets.bids import list_scans
from diffeode.datasets.virtual import dementia_rating, make_cohort, planned_scans
from diffeode.datasets.virtual_anatomy import (
    Ellipsoid,
    load_tissue_maps,
    template_labels,
    template_landmarks,
)
from diffeode.datasets.virtual_contrast import acquire, person_grid, template_contrast
from diffeode.datasets.virtual_deformation import ATROPHY, exponential, jacobian
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import sample
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.receipt import damage

SEED = 7
person_transform = cache(virtual.person_transform)
LABELS = Path(__file__).resolve().parents[2] / "config" / "labels" / "virtual.tsv"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory) -> Path:
    """Two persons at 4 mm."""
    root = tmp_path_factory.mktemp("virtual")
    make_cohort(root, persons=2, spacing_mm=4.0, seed=SEED)
    return root


def anat(cohort: Path, person: int, suffix: str) -> Path:
    return cohort / f"sub-{person:02d}/anat/sub-{person:02d}_{suffix}"


def landmarks_mm(cohort: Path, person: int) -> np.ndarray:
    return pd.read_csv(anat(cohort, person, "landmarks.tsv"), sep="\t")[["x", "y", "z"]].to_numpy()


def mean_dice(one: np.ndarray, other: np.ndarray) -> float:
    numbers = np.unique(one[one > 0])
    return float(
        np.mean(
            [
                2 * ((one == n) & (other == n)).sum() / ((one == n).sum() + (other == n).sum())
                for n in numbers
            ]
        )
    )


# --------------------------------------------------------------------------------------- the folder


def test_what_was_planned_is_what_was_made(cohort):
    planned = planned_scans("virtual", cohort, 2)
    assert [scan.id for scan in planned] == ["sub-01_T1w", "sub-01_T2w", "sub-02_T1w", "sub-02_T2w"]
    assert planned == list_scans("virtual", cohort)
    assert [scan.group for scan in planned] == ["healthy", "healthy", "atrophy", "atrophy"]
    assert damage(cohort / "receipt.json", Checksums(thorough=True)) is None


def test_the_folder_says_that_it_is_virtual(cohort):
    assert "virtual" in json.loads((cohort / "dataset_description.json").read_text())["Name"]
    assert json.loads((cohort / "receipt.json").read_text())["virtual"] is True


def test_participants(cohort):
    table = pd.read_csv(cohort / "participants.tsv", sep="\t")
    assert table.values.tolist() == [["sub-01", "healthy", 0.0], ["sub-02", "atrophy", 0.5]]


def test_half_of_the_persons_have_graded_atrophy():
    assert [dementia_rating(person) for person in range(1, 11)] == [
        0,
        0.5,
        0,
        1,
        0,
        2,
        0,
        3,
        0,
        0.5,
    ]
    grades = [(a.ventricles, a.sulci) for _, a in sorted(ATROPHY.items())]
    assert grades[0] == (0, 0)
    assert grades == sorted(grades)


def test_same_seed_same_bytes_and_another_seed_another_cohort(cohort, tmp_path):
    """Persons that two processes make at a time are those that one makes after the other."""
    make_cohort(tmp_path, persons=2, spacing_mm=4.0, seed=SEED, processes=2)
    for path in sorted(cohort.rglob("*.*")):
        assert path.read_bytes() == (tmp_path / path.relative_to(cohort)).read_bytes(), path.name
    points = template_landmarks()[["x", "y", "z"]].to_numpy()
    assert (
        np.abs(person_transform(1, SEED + 1)(points) - person_transform(1, SEED)(points)).max() > 3
    )


@pytest.mark.parametrize(
    ("persons", "spacing_mm", "message"),
    [(1, 3.0, "1 persons; it needs 2 to 99"), (2, 0.5, "0.5; it must lie between 1 and 6")],
)
def test_impossible_cohorts(tmp_path, persons, spacing_mm, message):
    with pytest.raises(InputError, match=message):
        make_cohort(tmp_path, persons, spacing_mm, SEED)
    assert list(tmp_path.iterdir()) == []


# ----------------------------------------------------------------------------------------- the maps


def test_flow_of_a_constant_velocity_is_a_shift():
    grid = Grid((8, 8, 8), np.diag([2.0, 2, 2, 1]))
    velocity = np.broadcast_to(np.array([3.0, -1, 2], dtype=np.float32), (8, 8, 8, 3))
    np.testing.assert_allclose(exponential(velocity, grid), velocity, rtol=1e-6)


def test_flow_of_a_linear_velocity_is_the_exponential():
    grid = Grid(
        (21, 21, 21), np.array([[2.0, 0, 0, -20], [0, 2, 0, -20], [0, 0, 2, -20], [0, 0, 0, 1]])
    )
    rate = 0.2
    flow = exponential((rate * grid.points_mm()).astype(np.float32), grid)
    inner = (slice(7, 14),) * 3
    np.testing.assert_allclose(flow[inner], (np.exp(rate) - 1) * grid.points_mm()[inner], atol=0.05)


@pytest.mark.parametrize("person", [1, 6, 8])
def test_map_of_a_person_is_a_smooth_diffeomorphism_of_several_mm(person):
    deformation = person_transform(person, SEED).deformation
    template = load_tissue_maps()
    brain = (
        sample(template.brain, template.grid.to_voxel(deformation.grid.points_mm()), order=1) > 0.5
    )
    length = np.linalg.norm(deformation.displacement_mm[brain], axis=-1)
    assert 3 < length.mean() < 4
    assert jacobian(deformation).min() >= 0.25


def test_jacobian_of_a_stretch_is_its_volume_change():
    grid = Grid((6, 6, 6), np.diag([3.0, 3, 3, 1]))
    stretched = DisplacementField(grid.points_mm() * np.array([0.2, -0.1, 0.0]), grid)
    np.testing.assert_allclose(jacobian(stretched), 1.2 * 0.9, rtol=1e-5)


def test_inverse_of_a_person_s_map():
    template = load_tissue_maps()
    points = template.grid.to_world(np.argwhere(template.brain > 0)[::500].astype(float))
    to_template = person_transform(6, SEED)
    assert np.abs(to_template(to_template.inverse(points)) - points).max() < 0.01
    assert np.abs(to_template.inverse(to_template(points)) - points).max() < 0.05


def test_atrophy_widens_the_ventricles_and_thins_the_cortex():
    """A structure's volume in a person is the integral over the points that the person's map sends
    into it.
    """
    template, labels = load_tissue_maps(), template_labels().data
    nodes = person_transform(6, SEED).deformation.grid
    ratios = {}
    for name, numbers in {"ventricles": (4, 43), "cortex": (3, 42)}.items():
        structure = np.isin(labels, numbers).astype(np.float32)
        healthy, atrophied = (
            sample(
                structure,
                template.grid.to_voxel(person_transform(p, SEED).deformation(nodes.points_mm())),
                1,
            ).sum()
            for p in (3, 6)
        )
        ratios[name] = atrophied / healthy
    assert ratios["ventricles"] > 1.4
    assert ratios["cortex"] < 0.99


# -------------------------------------------------------------------------------- landmarks, labels


def test_true_map_sends_each_landmark_to_its_namesake(cohort):
    fixed, moving = person_transform(1, SEED), person_transform(2, SEED)
    reached = moving.inverse(fixed(landmarks_mm(cohort, 1)))
    error = np.linalg.norm(reached - landmarks_mm(cohort, 2), axis=1)
    apart = np.linalg.norm(landmarks_mm(cohort, 1) - landmarks_mm(cohort, 2), axis=1)
    assert error.max() < 0.05
    assert apart.mean() > 3


def test_landmarks_are_many_named_apart_and_inside_the_scan(cohort):
    tables = [pd.read_csv(anat(cohort, person, "landmarks.tsv"), sep="\t") for person in (1, 2)]
    assert len(tables[0]) >= 60
    assert tables[0]["name"].is_unique
    assert list(tables[0]["name"]) == list(tables[1]["name"])
    mask = io.read_image(anat(cohort, 1, "T1w.nii.gz"))
    voxels = mask.grid.to_voxel(landmarks_mm(cohort, 1))
    assert (sample((mask.data > 0).astype(float), voxels, order=1) > 0).mean() > 0.95


def test_every_structure_has_a_row_in_the_table_and_voxels_in_every_person(cohort):
    listed = set(pd.read_csv(LABELS, sep="\t")["id"])
    assert len(listed) >= 12
    assert set(np.unique(template_labels().data)) - {0} == listed
    for person in (1, 2):
        assert (
            set(np.unique(io.read_labels(anat(cohort, person, "dseg.nii.gz")).data)) - {0} == listed
        )


def test_left_is_left():
    labels = template_labels()
    table = pd.read_csv(LABELS, sep="\t")
    for row in table[table["hemisphere"] != "none"].itertuples():
        x = labels.grid.to_world(np.argwhere(labels.data == row.id).astype(float))[:, 0]
        assert (x < 0).all() if row.hemisphere == "left" else (x >= 0).all(), row.name


def test_labels_agree_under_the_true_map_and_not_without_it(cohort):
    fixed, moving = (io.read_labels(anat(cohort, person, "dseg.nii.gz")) for person in (1, 2))
    points = fixed.grid.points_mm()
    truth = person_transform(2, SEED).inverse(person_transform(1, SEED)(points))
    under_truth = sample(moving.data, moving.grid.to_voxel(truth), order=0)
    without = sample(moving.data, moving.grid.to_voxel(points), order=0)
    assert mean_dice(fixed.data, under_truth) > 0.75
    assert mean_dice(fixed.data, without) < 0.5


def test_ellipsoid_turns_its_front_end_outwards_and_up():
    rod = Ellipsoid((0, 0, 0), (1, 10, 1), yaw_degrees=30)
    assert rod.contains(np.array(4.0), np.array(6.9), np.array(0.0))
    assert not rod.contains(np.array(-4.0), np.array(6.9), np.array(0.0))
    rod = Ellipsoid((0, 0, 0), (1, 10, 1), pitch_degrees=30)
    assert rod.contains(np.array(0.0), np.array(6.9), np.array(4.0))


# ---------------------------------------------------------------------------------------- contrasts


def test_template_tissues_add_up_to_the_brain():
    template = load_tissue_maps()
    np.testing.assert_allclose(
        template.grey + template.white + template.fluid, template.brain, atol=1e-5
    )
    assert min(template.grey.min(), template.white.min(), template.fluid.min()) > -1e-5


def test_t2w_shows_fluid_bright_and_white_matter_dark_and_t1w_the_reverse(cohort):
    labels = io.read_labels(anat(cohort, 2, "dseg.nii.gz")).data
    structures = {"fluid": (4, 43), "grey": (3, 42), "white": (2, 41)}
    for modality, order in {
        "T1w": ("fluid", "grey", "white"),
        "T2w": ("white", "grey", "fluid"),
    }.items():
        image = io.read_image(anat(cohort, 2, f"{modality}.nii.gz")).data
        means = [np.median(image[np.isin(labels, structures[name])]) for name in order]
        assert means[0] < 0.9 * means[1] < 0.81 * means[2], modality


def test_scans_are_skull_stripped(cohort):
    for person in (1, 2):
        t1w, t2w = (io.read_image(anat(cohort, person, f"{m}.nii.gz")) for m in ("T1w", "T2w"))
        np.testing.assert_array_equal(t1w.data > 0, t2w.data > 0)
        assert min(t1w.data.min(), t2w.data.min()) == 0
        # A margin of background on every side.
        for axis in range(3):
            assert not np.take(t1w.data, [0, -1], axis=axis).any()
        assert 1.4e6 < (t1w.data > 0).sum() * t1w.grid.voxel_volume < 2.4e6


def test_no_tissue_of_the_t2w_template_is_flat():
    template = load_tissue_maps()
    for tissue in (template.grey, template.white):
        assert template_contrast("T2w")[tissue > 0.99].std() > 0.005


def test_scans_share_no_noise():
    """Between neighbours in pure white matter, anatomy and drift hardly change: what differs is
    noise.
    """
    to_template = person_transform(3, SEED)
    grid = person_grid(to_template, 4.0)
    white = (
        sample(
            load_tissue_maps().white,
            load_tissue_maps().grid.to_voxel(to_template(grid.points_mm())),
            order=1,
        )
        > 0.98
    )
    both = white[1:] & white[:-1]
    first, again = (acquire(to_template, grid, person=3, seed=seed) for seed in (1, 2))
    t1w, t2w, other = (
        np.diff(s.data, axis=0)[both] for s in (first["T1w"], first["T2w"], again["T1w"])
    )
    assert abs(np.corrcoef(t1w, t2w)[0, 1]) < 0.25
    assert abs(np.corrcoef(t1w, other)[0, 1]) < 0.25
    assert t1w.std() > 0.02 * first["T1w"].data[white].mean()
