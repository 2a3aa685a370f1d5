"""Visits of virtual persons who age: what a study may ask for, what is measured, and its tables."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from diffeode.errors import InputError
from diffeode.flows.smoothing import gaussian
from diffeode.geometry.image import Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField
from diffeode.longitudinal import measures
from diffeode.longitudinal.design import Design, read_design
from diffeode.longitudinal.person import AgeingPerson, person_of
from diffeode.longitudinal.ways import WAYS, Found
from diffeode.methods.neural_ode import NeuralODE
from diffeode.statistics.longitudinal import (
    ALL_TIMES,
    REGISTERED,
    TITLES,
    by_trajectory,
    by_visit,
    judged_by,
    read_visits,
    shown,
    write_visits,
)

GROWTH = 0.1
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)
CONTENT = {
    "persons": [2, 3],
    "seed": 7,
    "times": [0, 0.5, 1],
    "spacing_mm": 5,
    "labels_mm": 2,
    "knots": 5,
    "parameters": {
        "flow": {"solver": "midpoint", "steps": 8, "step_size": 0.125},
        "levels": {"factors": [1], "iterations": [2]},
    },
}
DESIGN = Design.of(CONTENT)


def swelling(points_mm, at):
    """Every length grows by GROWTH until time 1, from the origin."""
    return points_mm * (1 + GROWTH * at)


@pytest.fixture(scope="module")
def person():
    """A block of ventricles in a block of brain that swells; as many landmarks lie at its middle,
    which stays, as at its corners.
    """
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = -37, -35, -33
    grid = Grid((16, 15, 14), affine)
    fine = grid.resample(DESIGN.labels_mm)
    corners = np.array([[x, y, z] for x in (-9.0, 9) for y in (-9.0, 9) for z in (-9.0, 9)])
    points = np.vstack([corners, np.zeros((8, 3))])
    noise = gaussian(torch.rand(1, 1, *grid.shape, generator=torch.Generator().manual_seed(0)), 1.5)
    visits = tuple(
        SimpleNamespace(
            time=at,
            cdr=number,
            landmarks=lambda at=at: pd.DataFrame(
                swelling(points, at), columns=["x", "y", "z"]
            ).assign(name=[f"landmark {n}" for n in range(16)]),
        )
        for number, at in enumerate(TIMES)
    )

    def labels(at):
        reach = np.abs(fine.points_mm() / (1 + GROWTH * at)).max(axis=-1)
        ventricles = np.where(fine.points_mm()[..., 0] < 0, 4, 43)
        return Labels(np.where(reach < 11, ventricles, np.where(reach < 20, 2, 0)), fine)

    brain = np.abs(grid.points_mm()).max(axis=-1) < 24
    images = (noise / noise.max(),) * len(TIMES)
    return AgeingPerson(visits, grid, images, brain, tuple(map(labels, TIMES)))


def swollen(person, at):
    points = person.grid.points_mm()
    return DisplacementField((swelling(points, at) - points).astype(np.float32), person.grid)


# ------------------------------------------------------------------------------------------- design


def test_a_design_survives_the_way_into_a_job_and_back():
    assert Design.of(DESIGN.content) == DESIGN
    assert DESIGN.content == CONTENT
    assert read_design(CONTENT, "A study") == DESIGN


def test_parameters_are_those_of_the_method_and_each_way_sets_its_knots():
    assert DESIGN.method(1).flow.solver == "midpoint"
    assert DESIGN.method(1).velocity == NeuralODE().velocity
    assert [DESIGN.method(knots).velocity.knots for knots in (1, 5)] == [1, 5]
    parameters = {**CONTENT["parameters"], "velocity": {"spacing": 3}}
    both = Design.of({**CONTENT, "parameters": parameters}).method(4).velocity
    assert (both.spacing, both.knots) == (3, 4)


FLOW = CONTENT["parameters"]["flow"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"times": [0, 1]}, r"A study has longitudinal: times \[0, 1\]; give 3 or more"),
        ({"times": [0, 0.4, 1]}, "of the times 0, 0.25, 0.5, 0.75, 1 at which"),
        ({"times": [0, 1, 0.5]}, "rising from 0"),
        ({"times": [0.25, 0.5, 1]}, "rising from 0"),
        ({"knots": 2}, "A study, longitudinal: Parameter velocity.knots is 2; a periodic"),
        ({"parameters": {}}, "flow.solver is exponential"),
        ({"parameters": {"flow": {**FLOW, "steps": 6}}}, "make up a time of 0.75"),
        (
            {"parameters": {"flow": {**FLOW, "steps": 5, "step_size": 0.2}}},
            "The time 0.5 is not the end of one of the 5 steps",
        ),
        ({"parameters": {"flow": FLOW, "velocity": {"knots": 3}}}, "each way has its own"),
        ({"parameters": {"flow": FLOW, "velocity": {"field": "network"}}}, "needs grid"),
        ({"parameters": {"flwo": FLOW}}, "did you mean 'flow'"),
    ],
)
def test_what_fits_no_flow_through_the_visits_is_refused(changes, sentence):
    with pytest.raises(InputError, match=sentence):
        read_design({**CONTENT, **changes}, "A study")


def test_a_person_has_the_visits_and_the_grids_of_the_design():
    found = person_of(2, Design.of({**CONTENT, "spacing_mm": 6, "labels_mm": 5}))
    assert found.times == [0, 0.5, 1]
    assert [visit.number for visit in found.visits] == [0, 2, 4]
    assert np.allclose(found.grid.spacing, 6)
    assert len(found.images) == len(found.labels) == 3
    for image, labels in zip(found.images, found.labels, strict=True):
        assert image.shape == (1, 1, *found.grid.shape)
        assert np.allclose(labels.grid.spacing, 5)
    assert 0 < found.images[0].max() <= 1
    assert found.brain.shape == found.grid.shape
    maps = WAYS["truth"](found, DESIGN).maps
    errors = [measures.measures_at(found, at, maps[at])["tre_mm"] for at in (0.5, 1.0)]
    assert max(errors) < 0.15, "a quarter of what the landmarks move"


# ----------------------------------------------------------------------------------------- measures


def test_the_true_swelling_has_no_error_and_the_volume_of_its_scale(person):
    row = measures.measures_at(person, 1.0, swollen(person, 1.0))
    before = measures.measures_at(person, 1.0, swollen(person, 0.0))
    assert row["tre_mm"] == pytest.approx(0, abs=1e-4)
    assert before["tre_max_mm"] == pytest.approx(np.sqrt(3) * 9 * GROWTH, rel=1e-4)
    assert before["tre_mm"] == pytest.approx(before["tre_max_mm"] / 2)
    scale = (1 + GROWTH) ** 3
    assert before["ventricles_ml"] == pytest.approx(10.648, rel=0.1)
    assert row["ventricles_ml"] == pytest.approx(scale * before["ventricles_ml"], rel=1e-4)
    assert row["ventricles_ml"] == pytest.approx(row["ventricles_true_ml"], rel=0.1)
    assert row["dice"] > before["dice"] + 0.05
    assert row["folds_percent"] == 0
    assert row["min_jacobian"] == pytest.approx(scale, rel=1e-4)
    assert row["cdr"] == 4
    assert (row["landmarks"], row["structures"]) == (16, 3)


def test_folds_are_those_of_one_sided_differences(person):
    """One voxel is pushed beyond its neighbour: the steps from it and to it turn round. Central
    differences see no fold.
    """
    pushed = np.zeros((*person.grid.shape, 3), dtype=np.float32)
    pushed[7, 7, 7, 0] = 7.0
    row = measures.measures_at(person, 1.0, DisplacementField(pushed, person.grid))
    assert person.brain.sum() == 10 * 9 * 10
    assert row["folds_percent"] == pytest.approx(100 * 2 / (8 * 7 * 8))
    assert row["min_jacobian"] == pytest.approx(1 - 7 / 5 / 2)


def test_between_two_visits_only_the_volume_is_known(person):
    found = measures.measures_at(person, 0.125, swollen(person, 0.125))
    assert list(found) == ["ventricles_ml"]


def test_an_even_swelling_has_its_speed_and_no_acceleration(person):
    found = Found({at: swollen(person, at) for at in TIMES[1:]})
    measured = measures.between_visits(person, found)
    radius = np.linalg.norm(person.grid.points_mm()[person.brain], axis=-1).mean()
    assert measured["visit_speed_mm"] == pytest.approx(GROWTH * radius, rel=1e-4)
    assert measured["visit_acceleration_mm"] == pytest.approx(0, abs=1e-3)


def test_every_way_has_a_title_and_those_that_look_at_scans_are_ways():
    assert list(WAYS) == list(TITLES)
    assert set(REGISTERED) == WAYS.keys() - {"before", "truth"}


@pytest.mark.parametrize("way", ["before", *REGISTERED])
def test_every_way_reaches_every_visit_and_leaves_alike_images_alone(person, way, monkeypatch):
    monkeypatch.setattr(measures, "measures_at", lambda *arguments: {})
    *single, whole = measures.rows_of(person, way, DESIGN)
    assert set(TIMES[1:]) <= {row["time"] for row in single}
    assert whole["time"] == ALL_TIMES
    assert whole["visit_speed_mm"] == pytest.approx(0, abs=0.05)
    flows = {"free", "periodic", "stationary"}
    assert ("acceleration_mm" in whole) == (way in flows)
    assert ("cpu_seconds" in whole) == (way != "before")
    assert len(single) == (8 if way in flows else 4)


@pytest.mark.parametrize("way", REGISTERED)
def test_every_way_leads_from_the_first_visit_to_the_others(person, way):
    """What is seen at the first visit lies one voxel of 5 mm further on at the second and two at
    the third: maps that lead from the others to the first would point back.
    """
    moved = tuple(torch.roll(person.images[0], number, 2) for number in range(3))
    drifting = replace(person, visits=person.visits[::2], labels=person.labels[::2], images=moved)
    levels = {"factors": [1], "iterations": [60]}
    design = Design.of({**CONTENT, "parameters": {"flow": FLOW, "levels": levels}})
    maps = WAYS[way](drifting, design).maps
    for at, drift in ((0.5, 5.0), (1.0, 10.0)):
        found = np.median(maps[at].displacement_mm[person.brain], axis=0)
        np.testing.assert_allclose(found, [drift, 0, 0], atol=1, err_msg=f"at {at}")


def test_velocities_are_free_periodic_and_stationary_in_time(person, monkeypatch):
    """The knots that each way asks for, and whether its ends are one."""
    asked = []

    def recorded(method, images, times, spacing, periodic):
        asked.append((method.velocity.knots, periodic, list(times)))
        raise InterruptedError

    monkeypatch.setattr("diffeode.longitudinal.ways.flow_through", recorded)
    for way in ("free", "periodic", "stationary"):
        with pytest.raises(InterruptedError):
            WAYS[way](person, DESIGN)
    assert asked == [(5, False, list(TIMES)), (5, True, list(TIMES)), (1, False, list(TIMES))]


# ------------------------------------------------------------------------------------------- tables


@pytest.fixture
def table(tmp_path):
    """Two persons before and after one flow, read from the file of a study."""
    rows = []
    for number, error in ((2, 0.25), (3, 0.75)):
        rows.append(
            {"person": number, "way": "before", "time": 1.0, "ventricles_ml": 10.0}
            | {"tre_mm": 2.0, "dice": 0.5, "ventricles_true_ml": 14.0}
        )
        rows.append({"person": number, "way": "before", "time": ALL_TIMES, "visit_speed_mm": 0.0})
        rows.append({"person": number, "way": "free", "time": 0.125, "ventricles_ml": 99.0})
        rows.append(
            {"person": number, "way": "free", "time": 1.0, "ventricles_ml": 10 + 4 * error}
            | {"tre_mm": error, "dice": 0.8, "ventricles_true_ml": 14.0}
        )
        rows.append(
            {"person": number, "way": "free", "time": ALL_TIMES}
            | {"visit_speed_mm": 3.0, "speed_mm": 4.0, "cpu_seconds": 5.0 + error}
        )
    write_visits(tmp_path / "longitudinal.tsv", rows)
    return read_visits(tmp_path / "longitudinal.tsv")


def test_a_table_comes_back_as_it_was_written(table):
    assert list(table["person"]) == [2] * 5 + [3] * 5
    assert list(table["time"].unique()) == ["1", ALL_TIMES, "0.125"]
    assert table["speed_mm"].notna().sum() == 2


def test_errors_are_means_over_persons_at_each_visit(table):
    found = by_visit(table).set_index(["way", "time"])
    assert list(found.index) == [("before", "1"), ("free", "1")]
    free = found.loc[("free", "1")]
    assert (free["persons"], free["tre_mm_mean"]) == (2, 0.5)
    assert free["tre_mm_sd"] == pytest.approx(np.sqrt(0.125))
    assert free["volume_error_ml_mean"] == pytest.approx(-2)
    assert found.loc[("before", "1"), "volume_error_ml_mean"] == pytest.approx(-4)


def test_trajectories_are_means_over_persons_and_those_that_rest_have_none(table):
    (row,) = by_trajectory(table).to_dict("records")
    assert (row["way"], row["visit_speed_mm_mean"], row["cpu_seconds_mean"]) == ("free", 3, 5.5)
    assert np.isnan(row["acceleration_mm_mean"])


def test_shown_tables_say_the_way_in_words_with_mean_and_sd(table):
    (before, free) = shown(by_visit(table)).to_dict("records")
    assert (before["way"], free["way"]) == ("Before registration", "One flow, free in time")
    assert (free["TRE (mm)"], free["Dice"]) == ("0.50 ± 0.35", "0.800 ± 0.000")
    (path,) = shown(by_trajectory(table)).to_dict("records")
    assert (path["speed"], path["acceleration"]) == ("3.00 ± 0.00", "\N{EN DASH}")
    one = shown(by_visit(table[table["person"] == 2]))
    assert list(one["TRE (mm)"]) == ["2.00", "0.25"]


def test_landmarks_and_structures_are_counted_in_words():
    counts = pd.DataFrame({"landmarks": [9, 9, None], "structures": [5, 4, None]})
    assert judged_by(counts) == (
        "The target registration error is a mean over 9 landmarks, and Dice is a mean over 4 to 5 "
        "structures."
    )


def test_a_table_of_another_kind_is_refused(tmp_path):
    file = tmp_path / "longitudinal.tsv"
    file.write_text("person\tway\n1\tfree\n", encoding="utf-8")
    with pytest.raises(InputError, match="time"):
        read_visits(file)
