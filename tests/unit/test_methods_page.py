"""docs/methods.md is what the methods say of themselves, and they say all of it."""

import dataclasses
from pathlib import Path

import pytest

from diffeode import cli
from diffeode.methods import page, registry

REPOSITORY = Path(__file__).resolve().parents[2]
METHODS = registry.method_names()


def test_the_committed_page_is_up_to_date(capsys):
    assert cli.main(["methods", "--markdown"]) == 0
    committed = (REPOSITORY / "docs" / "methods.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == committed, "run: diffeode methods --markdown > docs/methods.md"


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_says_what_it_means(name):
    cls = registry.method_class(name)
    missing = {f.name for f in dataclasses.fields(cls)} - set(page.parameters_of(cls))
    assert not missing, f"{cls.__name__} must describe {sorted(missing)} under Attributes in its docstring"


@pytest.mark.parametrize("name", METHODS)
def test_every_environment_named_is_there(name):
    assert (REPOSITORY / "envs" / f"{registry.method_class(name).needs.environment}.yaml").is_file()


def test_the_page_depends_on_no_machine(monkeypatch):
    before = page.methods_page()
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda package: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DIFFEODE_TOOLS", "")
    assert page.methods_page() == before


def test_standing_after_installation_follows_from_the_needs():
    stands = {name: page.standing_after_install(name) for name in METHODS}
    assert stands["ants-syn"] == stands["convexadam"] == stands["greedy"] == "run"
    assert stands["niftyreg"] == "needs-binary"
    assert stands["multigradicon"] == stands["dinoreg"] == "needs-package, needs-weights"
    assert stands["symnet"] == "needs-training"


def test_parameters_with_one_entry_for_two_and_over_several_lines():
    class Example(registry.method_class("identity").__mro__[1]):
        """In short.

        Attributes:
            one, two: of a pair
                that goes on: here.
            three: alone.
        Raises:
            InputError: never.
        """

    assert page._attributes(Example) == {
        "one": "``one``, ``two``: of a pair that goes on: here.",
        "two": "``one``, ``two``: of a pair that goes on: here.",
        "three": "alone.",
    }
