"""Methods are found by presence and runs by name; a misspelt word names the nearest known one."""

import subprocess
import sys
from pathlib import Path

import pytest

from diffeode.errors import InputError
from diffeode.methods import base, registry, runs

BASELINES = ("affine", "ants-syn", "convexadam", "identity")


def test_every_file_is_a_method_named_after_it():
    folder = Path(registry.__file__).parent
    files = {p.stem.replace("_", "-") for p in folder.glob("*.py")} - {
        "--init--",
        "base",
        "energy",
        "harness",
        "registry",
        "runs",
        "trained",
        "training",
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
        (lambda: registry.method_class("ants-sin"), "There is no method 'ants-sin'; did you mean 'ants-syn'"),
        (lambda: registry.make_method("convexadam", {"grid_spacing": 4}), "did you mean 'grid_sp"),
        (lambda: registry.make_method("convexadam", {"grid_sp": "six"}), "no number"),
        (lambda: registry.make_method("convexadam", {"grid_sp": True}), "no number"),
        (lambda: registry.make_method("ants-syn", {"iterations": 100}), "no list"),
        (lambda: runs.load_run("convexadamm"), "There is no run 'convexadamm'; did you mean 'convexadam'"),
    ],
)
def test_what_is_unknown_or_of_another_kind_is_one_sentence(call, message):
    with pytest.raises(InputError) as error:
        call()
    assert message in str(error.value)
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("methd: identity\n", "must name a method"),
        ("method: identity\ntitel: X\n", "unknown key 'titel'; did you mean 'title'"),
        ("method: identiti\n", "did you mean 'identity'"),
        ("method: ants-syn\nparameters: {bin: 3}\n", "did you mean 'bins'"),
        ("method: [\n", "not valid YAML"),
        ("- identity\n", "must name a method"),
    ],
)
def test_a_run_file_is_checked(tmp_path, monkeypatch, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    monkeypatch.setattr(runs, "runs_folder", lambda: tmp_path)
    with pytest.raises(InputError, match=message):
        runs.load_run("mine")


def test_a_run_file_names_and_tunes_a_method(tmp_path, monkeypatch):
    (tmp_path / "mine.yaml").write_text("method: ants-syn\ntitle: SyN, coarse\nparameters: {iterations: [20, 10]}\n")
    monkeypatch.setattr(runs, "runs_folder", lambda: tmp_path)
    run = runs.load_run("mine")
    assert runs.run_names() == ("mine",)
    assert (run.name, run.title) == ("mine", "SyN, coarse")
    assert run.build().iterations == (20, 10)


def test_missing_needs_are_named(monkeypatch):
    needs = base.Needs(packages=("no_such_package_here", "numpy"), executables=("no-such-program-here",))
    monkeypatch.setattr(registry.method_class("identity"), "needs", needs)
    assert registry.missing_needs("identity") == [
        "the Python package no_such_package_here is not installed",
        "the program no-such-program-here is neither in a folder of $DIFFEODE_TOOLS nor on PATH",
    ]


@pytest.mark.parametrize("name", BASELINES)
def test_looking_at_a_baseline_imports_no_heavy_package(name):
    """What third parties bring stays inside the methods, so that looking is quick and works without them."""
    code = (
        f"import sys; from diffeode.methods.registry import method_class; method_class({name!r});"
        "print(*{'torch', 'ants', 'convexAdam', 'nilearn', 'matplotlib'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.split() == []
