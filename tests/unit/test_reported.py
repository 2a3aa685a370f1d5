"""The numbers of the papers: their form, and that they stand beside ours and never among them."""

from pathlib import Path

import pandas as pd
import pytest

from diffeode.errors import InputError
from diffeode.evaluation.catalogue import METRICS
from diffeode.registration.runs import run_names
from diffeode.statistics.reported import (
    COLUMNS,
    OTHER_NUMBERS,
    SOURCES,
    as_settings,
    beside,
    comparable,
    read_reported,
    require_known_runs,
    shown_number,
)

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "config" / "reported.tsv"


@pytest.fixture(scope="module")
def reported() -> pd.DataFrame:
    table = read_reported(TABLE)
    require_known_runs(table, run_names(), TABLE)
    return table


def value(reported: pd.DataFrame, **said: str) -> float:
    """The one value of the rows that say so."""
    (found,) = reported[(reported[list(said)] == list(said.values())).all(axis=1)]["value"]
    return found


def test_every_row_is_of_a_known_experiment_source_and_kind(reported):
    experiments = {path.stem for path in (REPOSITORY / "config" / "experiments").glob("*.yaml")}
    assert set(reported["experiment"]) - {""} <= experiments
    assert set(reported["source"]) == set(SOURCES)
    assert set(reported["metric"]) <= {*METRICS, *OTHER_NUMBERS}
    assert set(OTHER_NUMBERS) <= set(reported["metric"])
    assert (reported["place"] != "").all()
    percent = reported["unit"].str.startswith("%")
    assert reported.loc[percent, "value"].between(0, 100).all()
    assert comparable(reported).query("metric == 'dice'")["value"].between(0, 1).all()


def test_tables_are_complete(reported):
    nodeo, poster = (reported[reported["source"] == name] for name in ("nodeo", "poster"))
    assert len(poster) == 7 * 3
    assert len(nodeo[nodeo["place"] == "Table 2"]) == 5 * 3 * 3
    assert len(nodeo[nodeo["place"] == "Table 3"]) == 7 * 3
    assert len(nodeo[nodeo["place"].str.startswith("Table 1")]) == 4 + 3 + 3 * 2 + 3 * 3


def test_some_numbers_are_those_of_the_papers(reported):
    table_2 = {"place": "Table 2", "settings": "steps=4;iterations=250"}
    assert value(reported, **table_2, metric="seconds") == 260
    assert value(reported, **table_2, metric="dice") == 0.802
    of_the_poster = {"source": "poster", "run": "paper-mi"}
    assert value(reported, **of_the_poster, metric="folds_central_grid_sum") == 0.00294
    assert value(comparable(reported), **of_the_poster, metric="dice") == pytest.approx(0.449)
    assert value(reported, place="Section III-D3", metric="halvings") == 3
    assert value(reported, place="Section IV-A2", method="OASIS-3", metric="groups") == 5
    kernel = "velocity=tensor without kernel;steps=3"
    assert value(reported, settings=kernel, metric="folds_central_grid_percent") == 5.28


def test_reported_numbers_stand_in_a_column_of_their_own(reported):
    ours = pd.DataFrame(
        {
            "experiment": ["neurite-oasis", "candi", "neurite-oasis", "virtual-healthy"],
            "run": ["nodeo", "symnet", "node", "nodeo"],
            "dice_mean": [0.7, 0.6, 0.8, 0.9],
        }
    )
    table = beside(ours, reported, "dice")
    pd.testing.assert_frame_equal(table[list(ours)], ours)
    assert table["reported"].tolist() == [
        "0.784 ± 0.027 (arXiv 2108.03443, Table 1, structures=28)",
        "0.736 ± 0.015 (arXiv 2108.03443, Table 1, structures=32); "
        "0.778 ± 0.091 (arXiv 2108.03443, Table 1, structures=28)",
        "",
        "",
    ]


def test_numbers_keep_the_digits_they_were_reported_with():
    assert shown_number("dice", 0.6875, 0.0255) == "0.6875 ± 0.0255"
    assert shown_number("dice", 0.784, 0.027) == "0.784 ± 0.027"
    assert shown_number("dice", 2 / 3) == "0.667"
    assert shown_number("folds_central_grid_percent", 1.01e-6) == "1.01e-06"


def test_settings_are_read_where_values_are_named():
    assert as_settings("steps=2;iterations=250") == {"steps": "2", "iterations": "250"}
    assert as_settings("least of a range") == as_settings("") == {}


GOOD = dict(
    zip(
        COLUMNS,
        ("nodeo", "Table 1", "candi", "ours", "nodeo", "", "dice", "", "0.8", "0.1", "80"),
        strict=True,
    )
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"run": "nodoe"}, r"Line 2 of .* unknown run 'nodoe'; did you mean 'nodeo'"),
        ({"metric": "dcie"}, r"unknown metric 'dcie'; did you mean 'dice'"),
        ({"source": "posters"}, r"unknown source 'posters'; did you mean 'poster'"),
        ({"value": "0,8"}, r"the value '0,8'; a number that is not negative is needed"),
        ({"value": ""}, r"the value ''"),
        ({"value": "inf"}, r"the value 'inf'"),
        ({"spread": "-0.1"}, r"the spread '-0.1'"),
        ({"n": "many"}, r"the n 'many'"),
        ({"unit": "mm"}, r"gives dice in 'mm'; it is given in '' or '%'"),
        ({"metric": "seconds", "unit": "%"}, r"gives seconds in '%'; it is given in 's'"),
    ],
)
def test_a_bad_row_is_refused(tmp_path, changes, sentence):
    path = tmp_path / "reported.tsv"
    pd.DataFrame([GOOD | changes]).to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match=sentence):
        require_known_runs(read_reported(path), ["nodeo"], path)


def test_what_is_said_twice_and_what_is_no_table_is_refused(tmp_path):
    path = tmp_path / "reported.tsv"
    pd.DataFrame([GOOD, GOOD | {"value": "0.7"}]).to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match=r"Line 3 of .* repeats an earlier line \(nodeo, Table 1"):
        read_reported(path)
    pd.DataFrame([GOOD]).rename(columns={"spread": "sd"}).to_csv(path, sep="\t", index=False)
    with pytest.raises(InputError, match="no column 'spread'"):
        read_reported(path)
    for content in (b"", b"\xff\xfe\x00"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="is not a table of tab-separated columns"):
            read_reported(path)
    with pytest.raises(InputError, match=r"lost\.tsv"):
        read_reported(tmp_path / "lost.tsv")
