"""The runs of a study: blocks with other settings, and sweeps."""

import pytest

from diffeode.errors import InputError
from diffeode.registration.runs import load_run
from diffeode.study.runs import crossed, read_runs

BARRIER = "penalties.jacobian.barrier"
DILATION = "similarity.mind.dilation"


def read(*entries):
    return read_runs(entries, "config/study.yaml")


def test_a_sweep_makes_one_run_for_each_value_and_each_computes_with_its_own():
    runs, (sweep,) = read("identity", {"run": "node-mind", "sweep": {BARRIER: [0.1, 0.5]}})
    assert [run.name for run in runs] == [
        "identity",
        "node-mind-barrier-0.1",
        "node-mind-barrier-0.5",
    ]
    assert [run.build().penalties[-1].barrier for run in runs[1:]] == [0.1, 0.5]
    title = load_run("node-mind").title
    assert [run.title for run in runs[1:]] == [f"{title}, barrier 0.1", f"{title}, barrier 0.5"]
    assert (sweep.run, sweep.settings) == ("node-mind", (BARRIER,))
    assert dict(sweep.points) == {
        "node-mind-barrier-0.1": (0.1,),
        "node-mind-barrier-0.5": (0.5,),
    }


def test_runs_that_share_a_title_are_told_apart_by_their_names():
    runs, _ = read("affine", {"run": "node-mind", "title": "One", "sweep": {BARRIER: [0.1, 0.5]}})
    assert [run.title for run in runs] == [
        load_run("affine").title,
        "One (node-mind-barrier-0.1)",
        "One (node-mind-barrier-0.5)",
    ]


def test_a_sweep_of_two_settings_makes_every_combination():
    runs, (sweep,) = read(
        {"run": "node-mind", "sweep": {BARRIER: [0.1, 0.5], "flow": {"steps": [2, 4]}}}
    )
    assert list(sweep.points.values()) == [(0.1, 2), (0.1, 4), (0.5, 2), (0.5, 4)]
    built = [run.build() for run in runs]
    assert [(method.penalties[-1].barrier, method.flow.steps) for method in built] == list(
        sweep.points.values()
    )
    assert runs[1].name == "node-mind-barrier-0.1-steps-4"


def test_sweeps_of_one_setting_among_different_others_have_titles_of_their_own():
    """A figure draws one curve for each title, so it would show medians over both."""
    values = {"sweep": {BARRIER: [0.1, 0.5]}}
    _, sweeps = read(
        {"run": "node-mind", "name": "near", "set": {DILATION: 1}, **values},
        {"run": "node-mind", "set": {DILATION: 2}, **values},
        {"run": "node-mind", "sweep": {BARRIER: [0.7]}},
        {"run": "node-mind", "set": {DILATION: 1}, "sweep": {"flow.steps": [2]}},
    )
    title = load_run("node-mind").title
    expected = [f"{title}, dilation 1", f"{title}, dilation 2", title, title]
    assert [sweep.title for sweep in sweeps] == expected


def test_sweeps_of_two_settings_are_crossed_each_under_a_word_of_its_own():
    two = {BARRIER: [0.1, 0.5], "flow.steps": [2]}
    _, sweeps = read(
        {"run": "node-mind", "sweep": two},
        {"run": "node-mind", "set": {DILATION: 1}, "sweep": two},
        {"run": "node-mind", "name": "other", "sweep": dict(reversed(two.items()))},
        {"run": "node-mind", "sweep": {BARRIER: [0.7]}},
        {"run": "node-mind", "name": "three", "sweep": {**two, DILATION: [1, 2]}},
    )
    found = crossed(sweeps)
    words = ["node-mind-barrier-steps", "node-mind-barrier-steps-2", "other-steps-barrier"]
    assert list(found) == words
    assert [found[word] for word in words] == list(sweeps[:3])
    assert found["other-steps-barrier"].settings == ("flow.steps", BARRIER)


def test_lists_and_flags_are_compared_as_words():
    _, (lists, flags) = read(
        {
            "run": "node-mind",
            "sweep": {"levels": {"iterations": [[9, 5], [5, 9]], "factors": [[4, 2]]}},
        },
        {"run": "node-mind", "sweep": {"masked": [True, False]}},
    )
    assert list(lists.points.values()) == [("9-5", "4-2"), ("5-9", "4-2")]
    assert list(flags.points.values()) == [("true",), ("false",)]


def test_settings_whose_names_end_alike_keep_the_part_before():
    (run,), _ = read(
        {"run": "node-mind", "set": {"similarity.mind.weight": 2, f"{BARRIER[:-8]}.weight": 3}}
    )
    assert run.name == "node-mind-mind_weight-2-jacobian_weight-3"


def test_a_list_of_one_value_counts_as_that_value():
    runs, (sweep,) = read(
        {
            "run": "node-mind",
            "set": {"levels.factors": [1]},
            "sweep": {"levels.iterations": [[20], [30]]},
        }
    )
    assert list(sweep.points.values()) == [(20,), (30,)]
    assert [run.build().levels.iterations for run in runs] == [(20,), (30,)]
    assert runs[0].name == "node-mind-factors-1-iterations-20"


def test_a_block_with_set_alone_is_one_run_and_no_sweep():
    (run,), sweeps = read(
        {"run": "node-mind", "set": {"similarity": {"mind": {"dilation": 1}}}, "name": "near"}
    )
    assert (run.name, sweeps) == ("near", ())
    assert run.build().similarity[0].dilation == 1
    assert run.title.endswith(", dilation 1")


def test_name_and_title_of_a_block_are_those_it_gives():
    runs, _ = read(
        {
            "run": "node-mind",
            "name": "near",
            "title": "MIND of {dilation} voxels, {barrier}",
            "set": {DILATION: 1},
            "sweep": {BARRIER: [0.1, 0.5]},
        }
    )
    assert [(run.name, run.title) for run in runs] == [
        ("near-barrier-0.1", "MIND of 1 voxels, 0.1"),
        ("near-barrier-0.5", "MIND of 1 voxels, 0.5"),
    ]


@pytest.mark.parametrize(
    ("entries", "sentence"),
    [
        ([{"run": "node-mnd", "set": {BARRIER: 0.1}}], "no run 'node-mnd'.*node-mind"),
        ([{"run": "node-mind", "sweep": {"penalties.jacobian.barier": [1]}}], "barier.*barrier"),
        ([{"run": "node-mind", "sweep": {BARRIER: ["much"]}}], "barrier.*much"),
        ([{"run": "node-mind", "sweep": {BARRIER: 0.1}}], "over 0.1; give a list"),
        ([{"run": "node-mind", "sweep": {BARRIER: []}}], r"over \[\]; give a list"),
        ([{"run": "node-mind", "sweep": {"velocity.field": [{"grid": {}}]}}], "numbers or words"),
        ([{"run": "node-mind"}], "changes nothing"),
        ([{"run": "node-mind", "set": {}}], "changes nothing"),
        (["node-mind", "node-mind"], "two runs with the name 'node-mind'"),
        (
            [{"run": "node-mind", "sweep": {BARRIER: [0.1, 0.10]}}],
            "two runs with the name 'node-mind-barrier-0.1'",
        ),
        (
            [{"run": "node-mind", "title": "{barier}", "set": {BARRIER: 0.1}}],
            "no setting called 'barier'.*barrier",
        ),
        (
            [{"run": "node-mind", "set": {"similarity.descriptor.weights": "../x y"}}],
            "cannot be the name of a file",
        ),
    ],
)
def test_an_unusable_entry_is_answered_with_a_sentence(entries, sentence):
    with pytest.raises(InputError, match=sentence):
        read(*entries)
