"""What the hash of source code sees, and what it does not."""

import shutil
from pathlib import Path

import pytest

from diffeode import source
from diffeode.seals import broken_seal, seal
from diffeode.source import code_hash, imported_modules


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the package that the hash reads instead."""
    folder = tmp_path / "diffeode"
    shutil.copytree(Path(source.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(source, "_PACKAGE", folder)
    return folder


def hashed(*sources) -> str:
    source.code_hash.cache_clear()
    source._read.cache_clear()
    return code_hash(*sources)


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text(encoding="utf-8") + text, encoding="utf-8")


HARNESS = "diffeode.methods.harness"


def test_same_code_same_hash(package):
    assert hashed(HARNESS) == hashed(HARNESS)
    assert hashed(HARNESS) != hashed("diffeode.receipt")


@pytest.mark.parametrize("module", ["methods/harness.py", "methods/base.py", "space.py", "receipt.py"])
def test_code_it_stands_on_counts(package, module):
    before = hashed(HARNESS)
    append(package / module, "\nADDED = 1\n")
    assert hashed(HARNESS) != before


def test_words_do_not_count(package):
    before = hashed(HARNESS)
    file = package / "transform.py"
    text = file.read_text(encoding="utf-8").replace('"""Spatial transforms', '"""Reworded: spatial transforms', 1)
    file.write_text(f"# a comment\n{text}\n\n\n# another\n", encoding="utf-8")
    append(package / "__init__.py", '\n__version__ = "9.9.9"\n')
    assert hashed(HARNESS) == before


def test_other_methods_do_not_count(package):
    before = hashed("diffeode.methods.identity", HARNESS)
    for file in ("methods/affine.py", "methods/neural_ode/method.py", "methods/registry.py", "evaluation/overlap.py"):
        append(package / file, "\nADDED = 1\n")
    assert hashed("diffeode.methods.identity", HARNESS) == before


def test_imports_inside_functions_count(package):
    module = package / "late.py"
    module.write_text("def f():\n    from diffeode.names import nearest\n    return nearest\n", encoding="utf-8")
    before = hashed("diffeode.late")
    append(package / "names.py", "\nADDED = 1\n")
    assert hashed("diffeode.late") != before


def test_imports_for_type_checkers_do_not_count(package):
    text = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from diffeode.names import nearest\n"
    (package / "typed.py").write_text(text, encoding="utf-8")
    source._read.cache_clear()
    assert imported_modules("diffeode.typed") == {"diffeode.typed"}


def test_a_script_counts_by_itself(package, tmp_path):
    script = tmp_path / "script.py"
    script.write_text("from diffeode.names import nearest\n", encoding="utf-8")
    before = hashed(script)
    append(package / "names.py", "\nADDED = 1\n")
    assert hashed(script) == before
    append(script, "print(1)\n")
    assert hashed(script) != before


def test_a_module_there_is_not(package):
    with pytest.raises(ModuleNotFoundError, match=r"diffeode\.nothing"):
        hashed("diffeode.nothing")


def test_a_seal_is_broken_by_any_change(tmp_path):
    file = tmp_path / "tables" / "a.tsv"
    file.parent.mkdir()
    file.write_text("1\t2\n", encoding="utf-8")
    assert broken_seal(file, tmp_path) == "it was never sealed, or its seal was lost"
    seal(file, tmp_path, {"inputs": [], "parameters": {}})
    assert broken_seal(file, tmp_path) is None
    for text in ("1\t3\n", "1\t2", ""):
        file.write_text(text, encoding="utf-8")
        assert broken_seal(file, tmp_path) == "it was changed"
