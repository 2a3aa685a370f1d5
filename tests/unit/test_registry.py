"""Methods are found by presence and runs by name; a misspelt word names the nearest known one."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from diffeode import methods
from diffeode.errors import InputError
from diffeode.methods.neural_ode import Gradient, Levels
from diffeode.registration import base, knobs, registry, runs

BASELINES = ("affine", "ants-syn", "convexadam", "identity")


def test_every_file_is_a_method_named_after_it():
    (folder,) = map(Path, methods.__path__)
    folders = {path.parent for path in folder.glob("*/__init__.py")}
    files = {path.stem.replace("_", "-") for path in {*folder.glob("*.py"), *folders}} - {
        "--init--"
    }
    assert set(registry.method_names()) == files
    assert set(BASELINES) <= files


def test_every_named_run_can_be_built():
    assert set(BASELINES) <= set(runs.run_names())
    for name in runs.run_names():
        run = runs.load_run(name)
        assert run.title.strip()
        assert isinstance(run.build(), registry.method_class(run.method))


def test_titles_of_named_runs_tell_them_apart():
    titles = [runs.load_run(name).title for name in runs.run_names()]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: registry.method_class("ants-sin"),
            "There is no method 'ants-sin'; did you mean 'ants-syn'",
        ),
        (lambda: registry.make_method("convexadam", {"grid_spacing": 4}), "did you mean 'grid_sp"),
        (lambda: registry.make_method("convexadam", {"grid_sp": "six"}), "no whole number"),
        (lambda: registry.make_method("convexadam", {"grid_sp": True}), "no whole number"),
        (lambda: registry.make_method("ants-syn", {"iterations": 100}), "no list"),
        (
            lambda: runs.load_run("convexadamm"),
            "There is no run 'convexadamm'; did you mean 'convexadam'",
        ),
    ],
)
def test_what_is_unknown_or_of_another_kind_is_one_sentence(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", registry.method_names())
def test_defaults_are_what_their_annotations_say(name):
    made = registry.make_method(name, {})
    assert knobs.as_parameters(made) == {}
    assert registry.make_method(name, knobs.as_parameters(made, whole=True)) == made


def nested(name, value):
    """Return the mapping in the form of a YAML file."""
    for key in reversed(name.split(".")):
        value = {key: value}
    return value


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("levels.factors", ["a", 1], "list of numbers"),
        ("levels.factors", [None, 1], "list of numbers"),
        ("levels.factors", [[2], [1]], "list of numbers"),
        ("levels.factors", [True, 1], "list of numbers"),
        ("levels.factors", [float("nan"), 1], "list of numbers"),
        ("levels.factors", 2.0, "list of numbers"),
        ("levels.iterations", ["x", "y"], "list of whole numbers"),
        ("levels.iterations", [1.5, 2], "list of whole numbers"),
        ("flow.steps", 4.5, "whole number"),
        ("similarity.local_correlation.window", 9.0, "whole number"),
        ("similarity.mind.radius", None, "whole number"),
        ("velocity.kernel.gaussian.width", float("inf"), "number"),
        ("masked", 1, "flag, true or false"),
        ("weight_map", {"a": 1}, "word"),
        ("flow.solver", 3, "word"),
    ],
)
@pytest.mark.parametrize("way", ["in a file", "set"])
def test_a_parameter_is_what_its_annotation_says(name, value, wanted, way):
    default = knobs.leaves_of(registry.method_class("neural-ode"))[name].default
    ways = {
        "in a file": lambda: registry.make_method("neural-ode", nested(name, value)),
        "set": lambda: runs.load_run("node").changed({name: value}),
    }
    with pytest.raises(InputError) as error:
        ways[way]()
    told, shown = str(error.value).removesuffix(").").split(" (default: ")
    assert told == f"Parameter {name} of method neural-ode is {value!r}, which is no {wanted}"
    assert yaml.safe_load(shown) == (
        list(default) if isinstance(default, tuple) else default
    )  # can be typed into a shell without quotes


@pytest.mark.parametrize(
    "parameters", [{"descent": {"learning_rate": "1e-3"}}, {"levels": {"factors": ["2e0", 1]}}]
)
def test_a_number_that_yaml_takes_for_a_word_is_told_how_to_be_written(parameters):
    with pytest.raises(InputError, match=r"write 1\.0e-3 or 0\.001 where 1e-3 is meant"):
        registry.make_method("neural-ode", parameters)


def test_whole_numbers_are_numbers_and_lists_become_tuples():
    levels = {"factors": [2, 1.0], "iterations": [3, 2]}
    made = registry.make_method(
        "neural-ode", {"penalties": {"gradient": {"weight": 1}}, "levels": levels}
    )
    assert made.penalties == (Gradient(1),)
    assert made.levels == Levels((2, 1.0), (3, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methd: identity\n", "unknown key 'methd'; did you mean 'method'"),
        ("title: X\n", "lacks the key 'method'; give the name of a method"),
        ("", "mine.yaml is empty; write keys and values"),
        ("method: identity\ntitel: X\n", "unknown key 'titel'; did you mean 'title'"),
        ("method: identiti\n", "did you mean 'identity'"),
        ("method: ants-syn\nparameters: {bin: 3}\n", "did you mean 'bins'"),
        ("method: [\n", "not valid YAML"),
        (
            "method: identity\ntime_limit_minutes: -5\n",
            "time_limit_minutes: -5; give a number of minutes above 0",
        ),
        ("method: identity\ntime_limit_minutes: yes\n", "time_limit_minutes: True"),
        (
            "method: identity\ntime_limit_minutes: .nan\n",
            "time_limit_minutes: nan; give a number of minutes above 0",
        ),
        (
            "method: identity\ntime_limit_minutes: .inf\n",
            "time_limit_minutes: inf; give a number of minutes above 0",
        ),
        (
            "method: identity\ntime_limit_minutes: 1.0e+300\n",
            r"time_limit_minutes: 1e\+300; .* up to 35,000",
        ),
        ("method: identity\nparameters: [1, 2]\n", r"parameters: \[1, 2\]; give names and values"),
        ("method: identity\nparameters: abc\n", "parameters: 'abc'; give names and values"),
        ("method: identity\nparameters: {1: 2}\n", r"parameters: \{1: 2\}; give names and values"),
        ("method: [a]\n", r"method: \['a'\]; give the name of a method"),
        ("method: identity\ntitle: [1]\n", r"title: \[1\]; give a text"),
        ("method: identity\n3: 4\n", "unknown key 3"),
        ("- identity\n", "does not hold keys and values"),
        ("method: identity\nmethod: affine\n", r"line 2, column 1: the key 'method' comes twice"),
        ("method: identity\nparameters: {bins: 3, bins: 4}\n", "the key 'bins' comes twice"),
    ],
)
def test_a_run_file_is_checked(tmp_path, monkeypatch, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.setattr(runs, "runs_folder", lambda: tmp_path)
    with pytest.raises(InputError, match=message):
        runs.load_run("mine")


def test_a_run_file_of_another_encoding_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_bytes("method: identity\ntitle: Verzögert\n".encode("latin-1"))
    monkeypatch.setattr(runs, "runs_folder", lambda: tmp_path)
    with pytest.raises(
        InputError, match=r"mine\.yaml is not text in UTF-8 \(byte 28\); save it as such\.$"
    ):
        runs.load_run("mine")


def test_a_run_file_names_and_tunes_a_method(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text(
        "method: ants-syn\ntitle: SyN, coarse\nparameters: {iterations: [20, 10]}\n"
    )
    monkeypatch.setattr(runs, "runs_folder", lambda: tmp_path)
    run = runs.load_run("mine")
    assert runs.run_names() == ("mine",)
    assert (run.name, run.title) == ("mine", "SyN, coarse")
    assert run.build().iterations == (20, 10)


def test_missing_needs_are_named(monkeypatch):
    needs = base.Needs(
        packages=("no_such_package_here", "numpy"), executables=("no-such-program-here",)
    )
    monkeypatch.setattr(registry.method_class("identity"), "needs", needs)
    assert registry.missing_needs("identity") == [
        "the Python package no_such_package_here is not installed",
        "the program no-such-program-here is neither in a folder of $DIFFEODE_TOOLS nor on PATH",
    ]


@pytest.fixture
def unreachable(monkeypatch):
    """Let the method ``identity`` need a package, a program and weights that are not here."""
    needs = base.Needs(("no_such_package_here",), ("no-such-program-here",), "baselines")
    monkeypatch.setattr(registry.method_class("identity"), "needs", needs)
    monkeypatch.setattr(registry.method_class("identity"), "pretrained", ("no-such-weights",))


def test_standing_says_what_kind_of_thing_is_missing(unreachable):
    assert registry.standing("affine") == "run"
    assert registry.standing("identity") == "needs-package, needs-binary, needs-weights"


def test_a_run_whose_descriptor_has_no_weights_lacks_them_unless_they_are_made_first():
    parameters = {"similarity": {"mind": {}, "descriptor": {"weights": "nowhere.safetensors"}}}
    (clause,) = registry.lacks("neural-ode", parameters)["weights"]
    assert clause.startswith("there are no descriptor weights 'nowhere.safetensors'")
    run = runs.Run("described", "neural-ode", "Described", parameters)
    assert runs.obstacles([run]) == [f"Run described cannot work here: {clause}."]
    assert runs.obstacles([run], provided={"described"}) == []
    without = run.changed({"similarity.descriptor.weight": 0.0})
    assert registry.lacks("neural-ode", without.parameters) == {}


@pytest.mark.parametrize("parameters", [{}, {"weights": ""}])
def test_a_run_that_the_study_trains_first_lacks_nothing(parameters):
    run = runs.Run("trained", "voxelmorph", "Trained", parameters)
    assert run.is_trained_first
    assert runs.obstacles([run]) == []


def test_a_run_that_cannot_work_is_one_sentence(unreachable):
    (sentence,) = runs.obstacles([runs.load_run("affine"), runs.load_run("identity")])
    assert sentence.startswith(
        "Run identity cannot work here: the Python package no_such_package_here is not installed"
    )
    for told in ("envs/baselines.yaml", "no-such-program-here", "no weights 'no-such-weights'"):
        assert told in sentence
    assert sentence.count(".") - sentence.count(".yaml") == 1


def test_packages_of_another_environment_are_not_looked_for_in_this_one(unreachable):
    (sentence,) = runs.obstacles([runs.load_run("identity")], own_environments=True)
    assert "weights" in sentence
    assert "package" not in sentence


def test_looking_at_every_run_imports_no_heavy_package():
    """Third-party packages are imported inside the methods, so looking is quick and works without
    them.
    """
    code = (
        "import sys; from diffeode.registration.runs import load_run, "
        "run_names;[load_run(name).build() for name in run_names()];print(*{'torch', 'ants', "
        "'convexAdam', 'nilearn', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
