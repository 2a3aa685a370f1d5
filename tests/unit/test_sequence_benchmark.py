"""The benchmark of sequences: what it measures again, and its page, made from its table."""

import shutil
from pathlib import Path

import pytest
import sequence
from _tables import Table

from diffeode.figures.longitudinal import volumes
from diffeode.longitudinal.ways import WAYS
from diffeode.statistics.longitudinal import ALL_TIMES, REGISTERED, read_visits

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="module")
def rows():
    return Table(RESULTS / "sequence.tsv", ("person", "way", "time")).rows


def test_page_and_figure_are_made_from_the_table(tmp_path):
    shutil.copy(RESULTS / "sequence.tsv", tmp_path)
    assert sequence.main(["--page", "--results", str(tmp_path)]) == 0
    page = (tmp_path / "sequence.md").read_text(encoding="utf-8")
    assert page == (RESULTS / "sequence.md").read_text(encoding="utf-8")
    drawn = (tmp_path / "sequence.svg").read_text(encoding="utf-8")
    for words in ("Virtual person 02", "Virtual person 04", "True labels", "Each visit by itself"):
        assert words in drawn
    assert (tmp_path / "sequence.png").stat().st_size > 10_000


def test_what_was_measured_by_today_s_code_is_not_measured_again(tmp_path, monkeypatch):
    monkeypatch.setattr(sequence, "person_of", lambda number, design: number)
    monkeypatch.setattr(
        sequence, "rows_of", lambda person, way, design: [{"time": ALL_TIMES, "found": person}]
    )
    table = Table(tmp_path / "sequence.tsv", ("person", "way", "time"))
    sequence.measure(table)
    persons = sequence.design().persons
    assert [(int(row["person"]), row["way"]) for row in table.rows] == [
        (number, way) for number in persons for way in WAYS
    ]
    monkeypatch.setattr(sequence, "rows_of", pytest.fail)
    sequence.measure(Table(tmp_path / "sequence.tsv", ("person", "way", "time")))


def test_the_page_says_that_nobody_was_scanned(rows):
    page = (RESULTS / "sequence.md").read_text(encoding="utf-8")
    assert "virtual persons; nobody was scanned" in page
    assert all(f"{int(row['person']):02d}" in page for row in rows)
    assert "01" not in {f"{int(row['person']):02d}" for row in rows}


def test_the_table_has_every_person_way_and_visit_of_the_study_once(rows):
    keys = [(row["person"], row["way"], row["time"]) for row in rows]
    assert len(keys) == len(set(keys))
    design = sequence.design()
    assert {key[0] for key in keys} == set(map(str, design.persons))
    for number in map(str, design.persons):
        for way in WAYS:
            times = {time for person, its_way, time in keys if (person, its_way) == (number, way)}
            assert {*(f"{time:g}" for time in design.times[1:]), ALL_TIMES} <= times
    assert len({row["code"] for row in rows}) == 1


def test_the_curves_are_the_volumes_of_the_table_and_begin_alike(rows):
    table = volumes(read_visits(RESULTS / "sequence.tsv"))
    for person, own in table[table["time"] == 0].groupby("person"):
        assert own["volume"].nunique() == 1, person
        assert set(own["way"]) == {"free", "periodic", "stationary", "pairs", "truth", "true maps"}
    shown = table.set_index(["person", "way", "time"])["volume"]
    for row in rows:
        if row["way"] in (*REGISTERED, "truth") and row["time"] != ALL_TIMES:
            unit, time = int(row["person"]), float(row["time"])
            curve = "true maps" if row["way"] == "truth" else row["way"]
            assert shown[unit, curve, time] == float(row["ventricles_ml"])
            if row["way"] == "truth":
                assert shown[unit, "truth", time] == float(row["ventricles_true_ml"])
