"""Nothing that comes from outside is run: no pickle is loaded, no text becomes code, and no name
reaches a shell. docs/security.md tells the same to users.
"""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
_ROOMS = ("src", "workflow", "benchmarks")
_CODE = sorted(file for room in _ROOMS for file in (REPOSITORY / room).rglob("*.py"))
_RULES = [REPOSITORY / "Snakefile", *sorted((REPOSITORY / "workflow").rglob("*.smk"))]

# Each call that could run what it reads, and the reason why it is safe in the file that has it.
ALLOWED = {
    ("src/diffeode/bids_app/plan.py", "yaml.safe_dump"): "writes only",
    ("src/diffeode/process/fresh.py", "pickle.dumps"): "writes only",
    ("src/diffeode/process/fresh.py", "pickle.load"): "what the process pickled that started this",
    ("src/diffeode/process/fresh.py", "pickle.loads"): "what the process pickled that it started",
    ("src/diffeode/process/watch.py", "pickle.loads"): "bytes that the same line pickled",
    ("src/diffeode/process/watch.py", "pickle.dumps"): "writes only",
    ("src/diffeode/datasets/virtual.py", "multiprocessing.get_context"): (
        "names of files that this program's own child process returns"
    ),
    ("src/diffeode/fused/__main__.py", "multiprocessing.get_context"): (
        "seconds that this program's own child process returns"
    ),
    ("src/diffeode/process/watch.py", "multiprocessing.get_context"): (
        "a pipe between this process and the child that it forked"
    ),
    ("src/diffeode/formerly.py", "importlib.import_module"): "names of a table in the same file",
    ("src/diffeode/methods/affine.py", "importlib.import_module"): "a fixed name",
    ("src/diffeode/methods/convexadam.py", "importlib.import_module"): "fixed names",
    ("src/diffeode/methods/neural_ode/method.py", "importlib.import_module"): "a fixed name",
    ("src/diffeode/registration/guidance.py", "importlib.import_module"): (
        "the guided form of a method that method_names() found in our own folder"
    ),
    ("src/diffeode/registration/registry.py", "importlib.import_module"): (
        "names that method_names() found in our own folder"
    ),
    ("src/diffeode/registration/harness.py", "importlib.import_module"): (
        "packages that our own methods declare"
    ),
    ("src/diffeode/descriptors/registry.py", "importlib.import_module"): (
        "names that descriptor_names() found in our own folder"
    ),
    ("src/diffeode/prepare/registry.py", "importlib.import_module"): (
        "names of the files in our own folder"
    ),
    ("src/diffeode/units/registration.py", "numpy.load"): "with allow_pickle=False",
    ("src/diffeode/__init__.py", "importlib.import_module"): "names of a table in the same file",
    ("workflow/lib/lazily.py", "importlib.util.module_from_spec"): "names in our own files",
    ("workflow/scripts/_alignment_unit.py", "importlib.import_module"): "a fixed name",
    ("benchmarks/_register.py", "importlib.import_module"): "packages that our methods declare",
    ("benchmarks/cluster.py", "yaml.safe_load"): "the profile of this repository, as plain values",
    ("benchmarks/cluster.py", "yaml.safe_dump"): "writes only",
}
_RUNS_WHAT_IT_READS = re.compile(
    r"(c?[pP]ickle|dill|cloudpickle|joblib|shelve|marshal|yaml|runpy|code|codeop)\.\w+"
    r"|importlib\.(import_module|util\.\w+|machinery\.\w+|__import__)"
    r"|multiprocessing\.\w+"
    r"|(torch\.)?(jit|hub)\.load\w*|torch\.load|torch\.package\.\w+"
    r"|(np|numpy)\.(load|lib\.npyio\.\w+)|(pd|pandas)\.(read_pickle|read_hdf|eval|read_sql)"
    r"|\w+\.(query|to_pickle|allow_pickle)"
    r"|eval|exec|compile|__import__|execfile|input"
)
_HARMLESS = {
    *("yaml.YAMLError", "yaml.constructor.ConstructorError", "pickle.UnpicklingError"),
    *("importlib.util.find_spec", "importlib.machinery.ModuleSpec"),
}
_SHELLS = re.compile(
    r"os\.(system|popen|exec\w*|spawn\w*|posix_spawn\w*|startfile)|subprocess\.get(status)?output"
    r"|pty\.spawn|shell|snakemake\.shell\.\w+|asyncio\.create_subprocess_shell"
)
_PROCESSES = re.compile(r"(subprocess\.)?(run|Popen|call|check_call|check_output)")
_UNPACKING = re.compile(r".*\.extractall|(?!.*\.str\.).*\.extract|shutil\.unpack_archive")


@cache
def calls(file: Path) -> list[tuple[str, ast.Call]]:
    """Return every call in a file, with the dotted name of what is called."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    aliases = _aliases(tree)
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(_dotted(node.func, aliases), node) for node in found]


def _aliases(tree: ast.AST) -> dict[str, str]:
    """Return what each imported name stands for, so that ``from pickle import loads`` is seen."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {part.asname: part.name for part in node.names if part.asname}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {part.asname or part.name: f"{node.module}.{part.name}" for part in node.names}
    return names


def _dotted(node: ast.expr, aliases: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, aliases)}.{node.attr}"
    return aliases.get(node.id, node.id) if isinstance(node, ast.Name) else "?"


def dangerous(file: Path) -> list[tuple[str, int]]:
    """Return the calls in a file that may run what they read, with their lines."""
    found = []
    for name, call in calls(file):
        if name == "torch.load" and _is_given(call, "weights_only", True):
            continue
        if _RUNS_WHAT_IT_READS.fullmatch(name) and name not in _HARMLESS:
            found.append((name, call.lineno))
    return found


def shells(file: Path) -> list[tuple[str, int]]:
    """Return the calls in a file that start a shell, or a program by a text instead of a list."""
    found = []
    for name, call in calls(file):
        if _SHELLS.fullmatch(name) or any(word.arg == "shell" for word in call.keywords):
            found.append((name, call.lineno))
        if _PROCESSES.fullmatch(name) and name.startswith("subprocess") and _is_text(call):
            found.append((name, call.lineno))
    return found


def unpackings(file: Path) -> list[tuple[str, int]]:
    """Return the calls in a file that unpack an archive to the places that it names itself."""
    return [(name, call.lineno) for name, call in calls(file) if _UNPACKING.fullmatch(name)]


def _is_given(call: ast.Call, keyword: str, value: object) -> bool:
    return any(
        word.arg == keyword and isinstance(word.value, ast.Constant) and word.value.value is value
        for word in call.keywords
    )


def _is_text(call: ast.Call) -> bool:
    if not call.args:
        return True
    given = call.args[0]
    return isinstance(given, ast.JoinedStr) or (
        isinstance(given, ast.Constant) and isinstance(given.value, str)
    )


def test_nothing_runs_what_it_reads_but_for_a_short_list():
    found = {
        (file.relative_to(REPOSITORY).as_posix(), name)
        for file in _CODE
        for name, _ in dangerous(file)
    }
    assert found == set(ALLOWED)


def test_no_name_reaches_a_shell():
    assert [(file.name, *call) for file in _CODE for call in shells(file)] == []


def test_no_archive_is_unpacked_to_the_places_that_it_names():
    assert [(file.name, *call) for file in _CODE for call in unpackings(file)] == []


@pytest.mark.parametrize("file", _RULES, ids=lambda file: file.name)
def test_no_rule_runs_a_shell_or_code_of_its_own(file):
    text = file.read_text(encoding="utf-8")
    assert re.findall(r"(?m)^\s*(shell|run|wrapper|notebook|cwl)\s*:", text) == []
    assert re.findall(r"\b(eval|exec|pickle\.\w+|os\.system|shell)\(", text) == []


@pytest.mark.parametrize(
    ("finder", "text"),
    [
        (dangerous, "import pickle\npickle.load(file)"),
        (dangerous, "from pickle import loads as read\nread(content)"),
        (dangerous, "import torch\ntorch.load(path)"),
        (dangerous, "import torch\ntorch.load(path, weights_only=False)"),
        (dangerous, "import numpy as np\nnp.load(path)"),
        (dangerous, "import pandas as pd\npd.read_pickle(path)"),
        (dangerous, "import yaml\nyaml.unsafe_load(text)"),
        (dangerous, "eval(text)"),
        (dangerous, "import importlib\nimportlib.import_module(name)"),
        (shells, "import subprocess\nsubprocess.run(name, shell=True)"),
        (shells, "import subprocess\nsubprocess.run(f'ls {name}')"),
        (shells, "from subprocess import check_output as ask\nask('ls')"),
        (shells, "import os\nos.system(name)"),
        (unpackings, "archive.extractall(folder)"),
        (unpackings, "import shutil\nshutil.unpack_archive(tar)"),
    ],
)
def test_what_is_looked_for_is_found(tmp_path, finder, text):
    file = tmp_path / "module.py"
    file.write_text(text, encoding="utf-8")
    assert len(finder(file)) == 1
