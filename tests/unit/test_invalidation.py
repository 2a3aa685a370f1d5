"""The table in docs/workflow.md of the results that are made again after a line was added to a
module.
"""

import ast

import pytest
from made import kinds
from made_again import MODULES, after, before, groups, measured, stated, with_text

UNUSED = "\n\ndef added_and_unused():\n    print('added')\n"


@pytest.fixture(scope="module")
def codes() -> dict[str, str]:
    """The identity of every kind of result."""
    return {kind: code for kind, (code, _) in before().items()}


def changed(codes: dict[str, str], by: dict) -> set[str]:
    return {kind for kind, made in kinds().items() if after(made, by) != codes[kind]}


def test_a_line_that_runs_makes_again_what_the_docs_say():
    """Where code was moved on purpose, ``python tests/made_again.py`` writes the table anew."""
    found, in_docs = measured(), stated()
    assert {name: made for name, made in found.items() if made != in_docs.get(name)} == {}
    assert in_docs.keys() == MODULES.keys()


def test_an_unused_function_in_any_module_that_is_read_makes_nothing_again(codes):
    read = set().union(*(files for _, files in before().values()))
    names = [name for name, file in MODULES.items() if file in read]
    assert len(names) > 100
    added = {}
    for name in names:
        added |= with_text(name, UNUSED)
    assert changed(codes, added) == set()


def test_a_function_makes_again_what_uses_it_and_nothing_else(codes):
    by = with_text("files.io", old="def read_image(", new="def read_image(added=1, *")
    assert changed(codes, by) >= groups()["every run"] | {
        "align",
        "evaluate",
        "place",
        "strip mindgrab",
    }
    assert changed(codes, by).isdisjoint({"collect", "wilcoxon", "dice_boxplot", "descriptor mind"})
    by = with_text("descriptors.mind", old="def mind(", new="def mind(added=1, *")
    assert changed(codes, by) == {"register neural-ode", "longitudinal", "models", "plane"}
    by = with_text("weights.download", old="def fetch(", new="def fetch(added, ")
    assert changed(codes, by) == set()


@pytest.mark.parametrize(
    "module",
    [
        "weights.download",
        "names",
        "errors",
        "programs.tools",
        "prepare.affine",
        "weights.catalogue",
        "provenance.checksums",
    ],
)
def test_what_only_fetches_finds_or_says_something_makes_no_engine_register_again(module, codes):
    by = with_text(module, "\nprint('added')\n")
    assert changed(codes, by).isdisjoint(
        {"register identity", "register neural-ode", "register greedy"}
    )


def test_only_these_modules_import_what_they_find_by_name():
    """No identity sees what is imported in this way; whoever computes an identity has to name
    it.
    """
    found = set()
    for name, file in MODULES.items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
                found |= set() if isinstance(node.args[0], ast.Constant) else {name}
    # the harness imports packages of others, ahead of the clock; formerly, modules of today's
    # names; the package, what only its users name; guidance, what guides a registration at a desk,
    # which has no identity
    assert found == {
        "__init__",
        "descriptors.registry",
        "formerly",
        "registration.registry",
        "registration.harness",
        "prepare.registry",
        "registration.guidance",
    }


def test_a_brain_that_mindgrab_found_hangs_on_no_program(codes):
    assert "strip mindgrab" not in changed(codes, with_text("programs.tools", "\nprint('added')\n"))
    assert "strip synthstrip" in changed(codes, with_text("programs.tools", "\nprint('added')\n"))
