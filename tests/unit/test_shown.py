"""What a study's figures show is chosen in its file and checked before any job."""

from pathlib import Path

import pytest

from diffeode.errors import InputError
from diffeode.registration.runs import load_run
from diffeode.study.experiments_table import COLUMNS, experiments_table
from diffeode.study.files import load_study
from diffeode.study.shown import Shown, read_shown

REPOSITORY = Path(__file__).resolve().parents[2]
TABLE = REPOSITORY / "config" / "labels" / "virtual.tsv"
RUNS = ["identity", "node-mind"]
LOADED = [load_run(name) for name in RUNS]


def test_runs_and_structures_are_chosen_in_their_order():
    content = {"runs": ["node-mind", "identity"], "structures": ["Thalamus", "Brain stem"]}
    found = read_shown(content, LOADED, [TABLE, TABLE], "A study")
    assert found == Shown(("node-mind", "identity"), ("Thalamus", "Brain stem"))
    assert read_shown({}, LOADED, [TABLE], "A study") == Shown()


def test_a_run_that_is_left_out_of_the_study_is_left_out_of_its_figures():
    found = read_shown({"runs": ["identity", "ants-syn"]}, LOADED, [TABLE], "A study")
    assert found.runs == ("identity",)


@pytest.mark.parametrize("key", ["runs", "models"])
def test_runs_of_blocks_are_left_out_where_the_command_line_gives_other_runs(key):
    """Their names are known to the study's file alone."""
    content = {key: ["node-mind-barrier-0.1", "node-mind"]}
    found = read_shown(content, LOADED, [TABLE], "A study", all_runs=False)
    assert getattr(found, key) == ("node-mind",)
    with pytest.raises(InputError, match=f"draws the run 'node-mind-barrier.*figures: {key}"):
        read_shown(content, LOADED, [TABLE], "A study")


def test_models_are_compared_of_our_method_alone():
    assert read_shown({"models": ["node-mind"]}, LOADED, [TABLE], "A study").models == (
        "node-mind",
    )
    with pytest.raises(InputError, match=r"model of the run identity .* method identity optimises"):
        read_shown({"models": ["identity"]}, LOADED, [TABLE], "A study")


def test_without_labels_structures_are_not_looked_up():
    assert read_shown({"structures": ["Thalamus"]}, LOADED, [], "A study").structures == (
        "Thalamus",
    )


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"runs": ["node-mnd"]}, "A study draws the run 'node-mnd' .* did you mean 'node-mind'"),
        ({"structures": ["Thalmus"]}, "the structure 'Thalmus' .* did you mean 'Thalamus'"),
        ({"structures": ["Left-Thalamus"]}, "the structure 'Left-Thalamus' .*in none of its label"),
    ],
)
def test_what_there_is_not_is_refused(content, sentence):
    with pytest.raises(InputError, match=sentence):
        read_shown(content, LOADED, [TABLE], "A study")


def test_a_study_names_what_its_figures_show():
    content = {
        **{"study": "s", "title": "S", "experiments": ["virtual-healthy"], "runs": RUNS},
        **{"ours": "node-mind", "seed": 1, "results": "results"},
        "figures": {"runs": ["node-mind"], "structures": ["Caudate"]},
    }
    study = load_study(content, REPOSITORY)
    assert study.shown == Shown(("node-mind",), ("Caudate",))
    with pytest.raises(InputError, match="colour"):
        load_study({**content, "figures": {"colour": "red"}}, REPOSITORY)


def test_experiments_are_listed_with_their_scans_persons_and_pairs():
    """Two and three scans of five persons make five pairs; five of the six pairs of three persons
    are drawn.
    """
    content = {
        **{"study": "s", "title": "S", "experiments": ["virtual-atrophy", "virtual-healthy"]},
        **{"runs": ["identity"], "ours": "identity", "seed": 1, "results": "results"},
    }
    rows = experiments_table(load_study(content, REPOSITORY))
    table = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    counted = ("fixed scans", "moving scans", "persons", "pairs")
    assert [[row[name] for name in counted] for row in table] == [list("2355"), list("3335")]
    assert {(row["fixed"][-5:], row["moving"][-5:]) for row in table} == {(", T2w", ", T1w")}


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nodoe", "by the run 'nodoe' .* but there is no such run; did you mean 'node"),
        ("ants-syn", "the run ants-syn .* whose method ants-syn takes no pictures in the plane"),
    ],
)
def test_pictures_in_the_plane_need_a_run_of_ours(name, sentence):
    assert read_shown({"plane": "nodeo"}, LOADED, [TABLE], "A study").plane == "nodeo"
    with pytest.raises(InputError, match=sentence):
        read_shown({"plane": name}, LOADED, [TABLE], "A study")
