"""What the hash of source code sees, and what it does not."""

from pathlib import Path
from textwrap import dedent

import pytest

from diffeode.files import io
from diffeode.formerly import FORMERLY
from diffeode.geometry.image import Image
from diffeode.provenance import source
from diffeode.provenance.seals import broken_seal, seal
from diffeode.provenance.source import code_hash, definitions_reached, modules_reached

PACKAGE = {
    "__init__": "",
    "sums": """
        '''Sums.'''
        from diffeode.numbers import ONE, double as twice

        def total(a, b=ONE):
            '''Both together.'''
            return twice(a) + b

        def unused():
            return total(1)
        """,
    "numbers": """
        ONE, TWO = 1, 2
        THREE = 3

        def double(x):
            return x * TWO
        """,
    "errors": "class InputError(ValueError): pass",
}
"""The package that stands for ours."""


class MadeUp:
    """Files that stand for the package that the hash reads."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, **modules: str) -> None:
        """Write modules; ``a__b`` is the module ``a.b``, whose package is made."""
        for name, text in modules.items():
            file = self.folder / (
                f"{name}.py" if name == "__init__" else f"{name.replace('__', '/')}.py"
            )
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.parent != self.folder:
                (file.parent / "__init__.py").touch()
            file.write_text(dedent(text), encoding="utf-8")
        forget()

    def append(self, name: str, text: str) -> None:
        file = self.folder / f"{name}.py"
        file.write_text(f"{file.read_text(encoding='utf-8')}\n{text}\n", encoding="utf-8")
        forget()


def forget() -> None:
    """Forget what was read, so that files are read again."""
    for kept in (source.code_hash, source._read, source._file_of):
        kept.cache_clear()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The made-up package."""
    monkeypatch.setattr(source, "_PACKAGE", tmp_path / "diffeode")
    made_up = MadeUp(tmp_path / "diffeode")
    made_up.write(**PACKAGE)
    yield made_up
    monkeypatch.undo()
    forget()


def reached(*sources, **named) -> set[str]:
    """The definitions that count, without the name of the package."""
    return {name.removeprefix("diffeode.") for name in definitions_reached(*sources, **named)}


TOTAL = {"sums:total", "numbers:double", "numbers:ONE", "numbers:TWO"}


def test_what_a_definition_uses_is_followed_from_name_to_name(package):
    assert reached("diffeode.sums:total") == TOTAL
    assert reached("diffeode.sums") == TOTAL | {"sums:unused"}
    assert reached("diffeode.numbers:ONE") == {"numbers:ONE"}
    assert modules_reached("diffeode.sums:total") == {
        "diffeode",
        "diffeode.sums",
        "diffeode.numbers",
    }


def test_a_definition_may_be_named_by_itself():
    assert (
        code_hash(io.read_image)
        == code_hash("diffeode.files.io:read_image")
        != code_hash(io.write_image)
    )
    assert code_hash(Image) == code_hash("diffeode.geometry.image:Image")


WAYS_TO_USE = {
    "in a function": "def f():\n    return double(1)",
    "in a function inside it": "def f():\n    def g():\n        return double\n    return g",
    "in a lambda": "f = lambda x: double(x)",
    "in a default": "def f(x=double(1)):\n    return x",
    "in a default of a lambda": "def f():\n    return lambda x=double: x",
    "in a comprehension": "def f():\n    return [double(x) for x in ()]",
    "in an f-string": "def f():\n    return f'{double(1)}'",
    "as a decorator": "@double\ndef f():\n    return 1",
    "as a decorator of a class": "@double\nclass f:\n    pass",
    "as a base": "class f(double):\n    pass",
    "as a keyword of a class": "class f(metaclass=double):\n    pass",
    "in the body of a class": "class f:\n    x = double(1)",
    "in a method": "class f:\n    def g(self):\n        return double(1)",
    "in the annotation of a field": "class f:\n    x: double = 1",
    "in a constant": "f = (1, double)",
    "in a table": "f = {'a': double}",
    "in a constant of several names": "f, g = double, 1",
    "in an annotated constant": "f: int = double(1)",
    "in a name of a name": "g = double\nf = [g]",
    "as what is deleted": "def f():\n    global double\n    del double",
}


@pytest.mark.parametrize("way", WAYS_TO_USE)
def test_a_name_counts_however_it_is_used(package, way):
    package.write(user=f"from diffeode.numbers import THREE, double\n{WAYS_TO_USE[way]}\n")
    assert reached("diffeode.user:f") >= {"numbers:double", "numbers:TWO"}
    assert "numbers:THREE" not in reached("diffeode.user:f")


WAYS_TO_IMPORT = {
    "the name": "from diffeode.numbers import double\ndef f(): return double(1)",
    "the name under another": "from diffeode.numbers import double as d\ndef f(): return d(1)",
    "the module": "from diffeode import numbers\ndef f(): return numbers.double(1)",
    "the module under another name": "import diffeode.numbers as n\ndef f(): return n.double(1)",
    "the package": "import diffeode.numbers\ndef f(): return diffeode.numbers.double(1)",
    "inside the "
    "function": "def f():\n    from diffeode.numbers import double\n    return double(1)",
    "the module inside the "
    "function": "def f():\n    from diffeode import numbers\n    return numbers.double(1)",
    "the package inside the "
    "function": "def f():\n    import diffeode.numbers\n    return diffeode.numbers.double(1)",
    "inside a class": "class f:\n    from diffeode.numbers import double\n",
    "through another module": "from diffeode.sums import twice\ndef f(): return twice(1)",
    "where that may "
    "fail": "try:\n    from diffeode.numbers import double\nexcept ImportError:\n    double = 1\n"
    "def f(): return double(1)",
}


@pytest.mark.parametrize("way", WAYS_TO_IMPORT)
def test_a_name_counts_however_it_is_imported(package, way):
    package.write(user=f"{WAYS_TO_IMPORT[way]}\n")
    assert reached("diffeode.user:f") - {"sums:twice"} == {
        "user:f",
        "numbers:double",
        "numbers:TWO",
    }


COUNT_WHOLE = {
    "a module that is handed on": "from diffeode import numbers\ndef f(): return dir(numbers)",
    "an attribute that is "
    "computed": "from diffeode import numbers\ndef f(x): return getattr(numbers, x)",
    "an attribute that nobody "
    "defines": "from diffeode import numbers\ndef f(x): return numbers.nothing",
    "everything of a module": "from diffeode.numbers import *\ndef f(x): return double(x)",
    "a module by its written name": "from importlib import import_module\n"
    "def f(x): return getattr(import_module('diffeode.numbers'), x)",
}


@pytest.mark.parametrize("way", COUNT_WHOLE)
def test_what_cannot_be_told_counts_whole(package, way):
    package.write(user=f"{COUNT_WHOLE[way]}\n")
    assert reached("diffeode.user:f") >= {
        "numbers:ONE",
        "numbers:TWO",
        "numbers:THREE",
        "numbers:double",
    }


def test_a_name_that_nobody_defines_makes_its_module_count_whole(package):
    package.write(user="def f(): return nowhere\ndef g(): return 1\n")
    assert reached("diffeode.user:f") == {"user:f", "user:g"}


def test_a_local_name_is_no_other_s(package):
    package.write(user="def f(g):\n    h = g\n    return h\ndef g(): return 1\nh = 2\n")
    assert reached("diffeode.user:f") == {"user:f"}


def test_a_class_counts_whole_with_its_bases(package):
    package.write(
        user="""
        from diffeode.numbers import double
        class Base:
            def unused(self): return double(1)
        class Derived(Base):
            pass
        class Other(Base):
            pass
        """
    )
    assert reached("diffeode.user:Derived") == {
        "user:Derived",
        "user:Base",
        "numbers:double",
        "numbers:TWO",
    }


# ------------------------------------------------------------------------------ what changes a hash

RUN_ON_IMPORT = (
    "print(ONE)",
    "if not TYPE_CHECKING:\n    print(ONE)",
    "if ONE:\n    pass",
    "for x in ():\n    pass",
    "with open(__file__):\n    pass",
    "try:\n    pass\nfinally:\n    pass",
    "ONE += 1",
    "double.name = 1",
    "[][:] = ()",
    "del THREE",
    "assert ONE",
)


@pytest.mark.parametrize("statement", RUN_ON_IMPORT)
def test_what_runs_on_import_counts_for_all_that_import_it(package, statement):
    package.write(importer="from diffeode.numbers import double\ndef f(): return 1\n")
    package.write(stranger="def f(): return 1\n")
    stranger, importing = code_hash("diffeode.stranger:f"), code_hash("diffeode.importer:f")
    package.append("numbers", statement)
    assert code_hash("diffeode.importer:f") != importing
    assert code_hash("diffeode.stranger:f") == stranger


def test_what_runs_on_import_of_a_package_or_of_what_that_imports_counts(package):
    package.write(room__inner="def f(): return 1\n")
    for name, module in (
        ("__init__", "diffeode"),
        ("room/__init__", "diffeode.room"),
        ("numbers", "diffeode.numbers"),
    ):
        before = code_hash("diffeode.room.inner:f")
        package.append(
            name, "print(1)" if name == "numbers" else "print(1)\nimport diffeode.numbers"
        )
        assert code_hash("diffeode.room.inner:f") != before, module


@pytest.mark.parametrize(
    "line", ["import diffeode.room.inner", "from diffeode.room.inner import f"]
)
def test_importing_a_module_runs_its_packages(package, line):
    package.write(room__inner="def f(): return 1\n", user=f"{line}\ndef g(): return 1\n")
    before = code_hash("diffeode.user:g")
    package.append("room/__init__", "print(1)")
    assert code_hash("diffeode.user:g") != before


def test_what_runs_on_import_uses_what_it_names(package):
    package.append("numbers", "print(helper())\ndef helper(): return 1")
    assert "numbers:helper" in reached("diffeode.numbers:ONE")


def test_a_module_that_is_only_loaded_counts_for_what_runs_in_it(package):
    package.write(
        user="import importlib\ndef f():\n    importlib.import_module('diffeode.numbers')\n"
    )
    assert reached("diffeode.user:f") == {"user:f"}
    before = code_hash("diffeode.user:f")
    package.append("numbers", "print(1)")
    assert code_hash("diffeode.user:f") != before


CHANGES_NOTHING = {
    "an unused function": "def new(): return double(1)",
    "an unused class": "class New:\n    x = 1",
    "an unused constant": "NEW = 1",
    "an annotated constant without a value": "NEW: int",
    "an import": "import os\nfrom diffeode.errors import InputError",
    "a comment": "# a comment",
    "words": "'''Words.'''",
    "the version": "__version__ = '9.9.9'",
    "what runs where this is the program": "if __name__ == '__main__':\n    print(1)",
    "imports for type "
    "checkers": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import ast",
}


@pytest.mark.parametrize("change", CHANGES_NOTHING)
def test_what_nobody_uses_changes_nothing(package, change):
    before = code_hash("diffeode.sums:total")
    package.append("numbers", CHANGES_NOTHING[change])
    package.append("sums", CHANGES_NOTHING[change])
    assert code_hash("diffeode.sums:total") == before


ALIKE = {
    "docstrings": ("return x * TWO", "'''Twice.'''\n    return x * TWO"),
    "layout": ("return x * TWO", "return (\n        x\n        *\n        TWO\n    )"),
    "annotations of arguments": ("double(x)", "double(x: 'list[int]')"),
    "annotations of results": ("double(x):", "double(x) -> float:"),
    "annotations of variables": ("return x * TWO", "y: int = x * TWO\n    return y"),
    "annotations of constants": ("THREE = 3", "THREE: int = 3"),
}


@pytest.mark.parametrize("change", ALIKE)
def test_words_layout_and_annotations_do_not_count(package, change):
    old, new = ALIKE[change]
    package.write(
        numbers=dedent(PACKAGE["numbers"]).replace(
            "    return x * TWO", "    y = x * TWO\n    return y"
        )
    )
    before = {True: code_hash("diffeode.sums:total")}
    package.write(numbers=PACKAGE["numbers"])
    before[False] = code_hash("diffeode.sums:total")
    package.write(numbers=dedent(PACKAGE["numbers"]).replace(old, new))
    assert old in dedent(PACKAGE["numbers"])
    assert code_hash("diffeode.sums:total") == before["y: int" in new]


def test_a_module_counts_under_its_former_name_too(package, monkeypatch):
    monkeypatch.setitem(FORMERLY, "old", "numbers")
    package.write(user="from diffeode.old import double\ndef f(): return double(1)\n")
    before = code_hash("diffeode.user:f")
    package.write(numbers=dedent(PACKAGE["numbers"]).replace("x * TWO", "x + TWO"))
    assert code_hash("diffeode.user:f") != before


KNOB = (
    "from diffeode.knobs import between, knob\nclass f:\n    x: int = knob(1, between(0, 9), "
    "'Number of steps')\n"
)


OF_A_KNOB = [("steps'", "bins', 'mm'", False), ("9", "8", True), ("(1", "(2", True)]


@pytest.mark.parametrize(("old", "new", "counts"), OF_A_KNOB)
def test_of_a_knob_its_default_and_range_count_and_its_words_do_not(package, old, new, counts):
    package.write(knobs="def knob(*a): return a\ndef between(*a): return a\n", user=KNOB)
    before = code_hash("diffeode.user:f")
    assert old in KNOB
    package.write(user=KNOB.replace(old, new))
    assert (code_hash("diffeode.user:f") != before) == counts


DIFFERENT = {
    "a number": ("TWO = 1, 2", "TWO = 1, 3"),
    "an operator": ("x * TWO", "x + TWO"),
    "a default": ("double(x)", "double(x=1)"),
    "a decorator": ("def double", "@staticmethod\ndef double"),
    "an order": ("ONE, TWO = 1, 2", "TWO, ONE = 2, 1"),
}


@pytest.mark.parametrize("change", DIFFERENT)
def test_code_that_is_used_counts(package, change):
    old, new = DIFFERENT[change]
    before = code_hash("diffeode.sums:total")
    assert old in dedent(PACKAGE["numbers"])
    package.write(numbers=dedent(PACKAGE["numbers"]).replace(old, new))
    assert code_hash("diffeode.sums:total") != before


SAME_WORDS = {
    "of ours, exchanged": (
        "from diffeode.numbers import double as a\nfrom diffeode.others import double as b\n",
        "from diffeode.numbers import double as b\nfrom diffeode.others import double as a\n",
    ),
    "of others": ("import os as a\nb = 1\n", "import sys as a\nb = 1\n"),
    "names of others": ("from os import path as a\nb = 1\n", "from os import name as a\nb = 1\n"),
}


@pytest.mark.parametrize("words", SAME_WORDS)
def test_what_a_name_stands_for_counts(package, words):
    """The same function with other imports above it is other code."""
    package.write(others="def double(x):\n    return x * 3\n")
    hashes, found = set(), set()
    for imports in SAME_WORDS[words]:
        package.write(user=f"{imports}def f():\n    return a(1) - b(2)\n")
        hashes.add(code_hash("diffeode.user:f"))
        found.add(definitions_reached("diffeode.user:f"))
    assert (len(hashes), len(found)) == (2, 1)


def test_modules_that_cannot_change_numbers_do_not_count(package):
    package.write(user="from diffeode.errors import InputError\ndef f():\n    raise InputError\n")
    before = code_hash("diffeode.user:f")
    package.write(errors="print(1)\nclass InputError(ValueError):\n    x = 1\n")
    assert code_hash("diffeode.user:f") == before
    assert reached("diffeode.user:f") == {"user:f"}


def test_what_is_left_out_on_purpose_does_not_count(package):
    package.write(
        room__inner="def g(): return 1\n",
        user="from diffeode.room.inner import g\ndef f(): return g()\n",
    )
    assert reached("diffeode.user:f") == {"user:f", "room.inner:g"}
    assert reached("diffeode.user:f", apart_from=("diffeode.room",)) == {"user:f"}


def test_a_script_counts_with_what_it_imports_or_by_itself(package, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from _beside import f\nwith f():\n    from diffeode.numbers import double\n    double(1)\n"
    )
    (tmp_path / "_beside.py").write_text("def f(): return 1\ndef unused(): return 2\n")
    assert reached(scripts=(script,)) == {"_beside:f", "numbers:double", "numbers:TWO"}
    assert reached(scripts=(script,), apart_from=("_beside",)) == {"numbers:double", "numbers:TWO"}
    assert reached(script) == set()
    alone, followed = code_hash(script), code_hash(scripts=(script,))
    script.write_text(f"{script.read_text()}print(1)\n")
    forget()
    assert code_hash(script) != alone
    assert code_hash(scripts=(script,)) != followed


def test_a_script_finds_the_files_beside_it_also_where_another_one_was_followed_before(
    package, tmp_path
):
    """Nothing is beside the first script, which asks for the same name."""
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{folder}.py").write_text("from _beside import f\nf()\n")
    (tmp_path / "other" / "_beside.py").write_text("def f(): return 1\n")
    first, second = (tmp_path / name / f"{name}.py" for name in ("one", "other"))
    assert reached(scripts=(first,)) == set()
    assert reached(scripts=(first, second)) == {"_beside:f"}


def test_what_is_not_there_is_named(package):
    with pytest.raises(ModuleNotFoundError, match=r"diffeode\.nothing"):
        code_hash("diffeode.nothing")
    with pytest.raises(ValueError, match=r"diffeode\.errors is left out"):
        code_hash("diffeode.errors")
    with pytest.raises(AttributeError, match=r"nothing in diffeode\.sums"):
        code_hash("diffeode.sums:nothing")
    package.write(user="from . import sums\n")
    with pytest.raises(ValueError, match="relative import"):
        code_hash("diffeode.user")


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
