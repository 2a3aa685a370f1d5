"""The benchmark of sequences: what it measures, and that its page is made from its table."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import _sequence_figure
import _sequence_page
import numpy as np
import pandas as pd
import pytest
import sequence
import torch
from _tables import Table

from diffeode.flows.smoothing import gaussian
from diffeode.geometry.image import Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
GROWTH = 0.1
TIMES = (0.0, 0.25, 0.5, 0.75, 1.0)


@pytest.fixture(scope="module")
def rows():
    return Table(RESULTS / "sequence.tsv", ("person", "way", "time")).rows


def swelling(points_mm, at):
    """Every length grows by GROWTH until time 1, from the origin."""
    return points_mm * (1 + GROWTH * at)


@pytest.fixture(scope="module")
def person():
    """A block of ventricle in a block of brain that swells; landmarks at its corners."""
    affine = np.diag([5.0, 5.0, 5.0, 1.0])
    affine[:3, 3] = -37, -35, -33
    grid = Grid((16, 15, 14), affine)
    fine = grid.resample(sequence.LABELS_MM)
    corners = np.array([[x, y, z] for x in (-9.0, 9) for y in (-9.0, 9) for z in (-9.0, 9)])
    noise = gaussian(torch.rand(1, 1, *grid.shape, generator=torch.Generator().manual_seed(0)), 1.5)
    visits = [
        SimpleNamespace(
            time=at,
            cdr=number,
            landmarks=lambda at=at: pd.DataFrame(
                swelling(corners, at), columns=["x", "y", "z"]
            ).assign(name=[f"corner {n}" for n in range(8)]),
        )
        for number, at in enumerate(TIMES)
    ]

    def labels(at):
        reach = np.abs(fine.points_mm() / (1 + GROWTH * at)).max(axis=-1)
        return Labels(np.where(reach < 11, 4, np.where(reach < 20, 2, 0)), fine)

    brain = np.abs(grid.points_mm()).max(axis=-1) < 24
    return sequence.Person(
        visits, grid, [noise / noise.max()] * len(TIMES), brain, [labels(at) for at in TIMES]
    )


def swollen(person, at):
    points = person.grid.points_mm()
    return DisplacementField((swelling(points, at) - points).astype(np.float32), person.grid)


# ----------------------------------------------------------------------------------------- measures


def test_the_true_swelling_has_no_error_and_the_volume_of_its_scale(person):
    row = sequence._at(person, 1.0, swollen(person, 1.0))
    before = sequence._at(person, 1.0, swollen(person, 0.0))
    assert row["tre_mm"] == pytest.approx(0, abs=1e-4)
    assert before["tre_mm"] == pytest.approx(np.sqrt(3) * 9 * GROWTH, rel=1e-4)
    scale = (1 + GROWTH) ** 3
    assert row["ventricles_ml"] == pytest.approx(scale * before["ventricles_ml"], rel=1e-4)
    assert row["ventricles_ml"] == pytest.approx(row["ventricles_true_ml"], rel=0.1)
    assert row["dice"] > before["dice"] + 0.05
    assert row["folds_percent"] == 0
    assert row["min_jacobian"] == pytest.approx(scale, rel=1e-4)
    assert row["cdr"] == 4


def test_between_two_visits_only_the_volume_is_known(person):
    assert list(sequence._at(person, 0.125, swollen(person, 0.125))) == ["ventricles_ml"]


def test_an_even_swelling_has_its_speed_and_no_acceleration(person):
    found = sequence.Found({at: swollen(person, at) for at in TIMES[1:]}, {})
    measured = sequence._between_visits(person, found)
    radius = np.linalg.norm(person.grid.points_mm()[person.brain], axis=-1).mean()
    assert measured["visit_speed_mm"] == pytest.approx(GROWTH * radius, rel=1e-4)
    assert measured["visit_acceleration_mm"] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("way", ["before", "free", "periodic", "stationary", "pairs"])
def test_every_way_reaches_every_visit_and_leaves_alike_images_alone(person, way, monkeypatch):
    monkeypatch.setitem(sequence.SETTINGS, "levels", {"factors": [1], "iterations": [2]})
    monkeypatch.setattr(sequence, "_at", lambda *arguments: {})
    *single, whole = sequence.rows_of(person, way)
    assert set(TIMES[1:]) <= {row["time"] for row in single}
    assert whole["time"] == _sequence_page.ALL_TIMES
    assert whole["visit_speed_mm"] == pytest.approx(0, abs=0.05)
    flows = {"free", "periodic", "stationary"}
    assert ("acceleration_mm" in whole) == (way in flows)
    assert ("cpu_seconds" in whole) == (way != "before")
    assert len(single) == (8 if way in flows else 4)


# --------------------------------------------------------------------------------------------- page


def test_page_and_figure_are_made_from_the_table(tmp_path):
    shutil.copy(RESULTS / "sequence.tsv", tmp_path)
    assert sequence.main(["--page", "--results", str(tmp_path)]) == 0
    page = (tmp_path / "sequence.md").read_text(encoding="utf-8")
    assert page == (RESULTS / "sequence.md").read_text(encoding="utf-8")
    drawn = (tmp_path / "sequence.svg").read_text(encoding="utf-8")
    for words in ("Virtual person 02", "Virtual person 04", "True labels", "Each visit by itself"):
        assert words in drawn
    assert (tmp_path / "sequence.png").stat().st_size > 10_000


def test_the_page_says_that_nobody_was_scanned(rows):
    page = (RESULTS / "sequence.md").read_text(encoding="utf-8")
    assert "virtual persons; nobody was scanned" in page
    assert all(f"{int(row['person']):02d}" in page for row in rows)
    assert "01" not in {f"{int(row['person']):02d}" for row in rows}


def test_the_table_has_every_person_way_and_visit_once(rows):
    keys = [(row["person"], row["way"], row["time"]) for row in rows]
    assert len(keys) == len(set(keys))
    for number in map(str, sequence.PERSONS):
        for way in sequence.WAYS:
            times = {time for person, its_way, time in keys if (person, its_way) == (number, way)}
            assert {"0.25", "0.5", "0.75", "1", "all"} <= times
    assert len({row["code"] for row in rows}) == 1


def test_the_curves_are_the_volumes_of_the_table_and_begin_alike(rows):
    table = _sequence_figure.volumes(rows)
    for person, own in table[table["time"] == 0].groupby("person"):
        assert own["volume"].nunique() == 1, person
        assert set(own["way"]) == {"free", "periodic", "stationary", "pairs", "truth", "true maps"}
    for row in rows:
        if row["way"] == "free" and row["time"] != "all":
            mine = table[(table["person"] == row["person"]) & (table["way"] == "free")]
            found = mine.loc[mine["time"] == float(row["time"]), "volume"]
            assert found.tolist() == [float(row["ventricles_ml"])]
