"""The examples in docstrings, the lines that begin with ``>>>``, give what they say."""

import doctest
import importlib
from pathlib import Path

import pytest
import torch

import diffeode

SOURCE = Path(diffeode.__file__).parent
LEAST_EXAMPLES = 80
"""There are at least as many lines to run, so that none goes missing unnoticed."""


def modules_with_examples() -> list[str]:
    """Names of the modules whose text has an example; the others need not be imported."""
    names = []
    for file in sorted(SOURCE.rglob("*.py")):
        if ">>> " in file.read_text(encoding="utf-8"):
            parts = file.relative_to(SOURCE.parent).with_suffix("").parts
            names.append(".".join(parts).removesuffix(".__init__"))
    return names


MODULES = modules_with_examples()


def examples_in(name: str) -> list[doctest.DocTest]:
    return doctest.DocTestFinder().find(importlib.import_module(name), name)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_give_what_they_say(name):
    report = []
    runner = doctest.DocTestRunner()
    for test in examples_in(name):
        torch.manual_seed(0)
        runner.run(test, out=report.append)
    assert runner.tries > 0, f"doctest finds no example in {name}"
    assert runner.failures == 0, "".join(report)


def test_no_example_is_overlooked():
    found = sum(len(test.examples) for name in MODULES for test in examples_in(name))
    written = sum(text_of(name).count(">>> ") for name in MODULES)
    assert found == written
    assert found >= LEAST_EXAMPLES


def text_of(name: str) -> str:
    return Path(importlib.import_module(name).__file__).read_text(encoding="utf-8")
