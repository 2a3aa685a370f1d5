"""docs/methods.md is made from the methods' own descriptions, and these are complete."""

import re
from pathlib import Path

import pytest

from diffeode import cli
from diffeode.registration import knobs, page, registry

REPOSITORY = Path(__file__).resolve().parents[2]
METHODS = registry.method_names()


def test_the_committed_page_is_up_to_date(capsys):
    assert cli.main(["methods", "--markdown"]) == 0
    committed = (REPOSITORY / "docs" / "methods.md").read_text(encoding="utf-8")
    assert capsys.readouterr().out == committed, (
        "run: diffeode methods --markdown > docs/methods.md"
    )


@pytest.fixture(scope="module")
def text():
    return page.methods_page()


@pytest.mark.parametrize("name", METHODS)
def test_every_parameter_has_its_row(text, name):
    section = text[text.index(f"(`{name}`)") :].partition("\n## ")[0]
    for parameter, field in knobs.leaves_of(registry.method_class(name)).items():
        (row,) = [line for line in section.splitlines() if line.startswith(f"| `{parameter}` |")]
        known = knobs.knob_of(field)
        assert f" {known.meaning}. |" in row
        assert known.unit in row
        assert str(known.domain) in row


def test_nothing_on_the_page_is_marked_for_sphinx(text):
    assert not re.search(r":\w+:`|(?<!`)``(?!`)", text)


@pytest.mark.parametrize("name", METHODS)
def test_every_environment_named_is_there(name):
    assert (REPOSITORY / "envs" / f"{registry.method_class(name).needs.environment}.yaml").is_file()


def test_the_page_depends_on_no_machine(text, monkeypatch):
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda package: None)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("DIFFEODE_TOOLS", "")
    assert page.methods_page() == text


def test_standing_after_installation_follows_from_the_needs():
    stands = {name: page.standing_after_install(name) for name in METHODS}
    assert stands["ants-syn"] == stands["convexadam"] == stands["greedy"] == "run"
    assert stands["niftyreg"] == "needs-binary"
    assert stands["multigradicon"] == stands["dinoreg"] == "needs-package, needs-weights"
    assert stands["symnet"] == "needs-training"
