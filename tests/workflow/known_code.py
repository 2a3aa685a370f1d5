"""The code of this repository, read once for all plans that a process and its children make.

Every plan reads the code of the whole package for its identity, which takes two of its three
seconds. The code of a clone is that of the repository but for what a test has edited. Where this
module was imported before ``diffeode``, a clone's ``diffeode.provenance.source`` reads only what
differs. Nothing is taken over for a clone that reads code in another way.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

_REPOSITORY = Path(__file__).resolve().parents[2]
_SOURCES = _REPOSITORY / "src"
_FOUND_BY_NAME = ("methods", "prepare/steps", "descriptors")
_READER = "diffeode.provenance.source"
_READS_AS = (_SOURCES / "diffeode" / "provenance" / "definitions.py").read_bytes()
_KNOWN: dict[tuple[str, str, bool], Any] = {}
"""The definitions of a module or script, by its name, its text and whether it is a script."""


class _Reader(SourceFileLoader):
    """Loads the module that reads code, and tells it what is known."""

    def exec_module(self, module: ModuleType) -> None:
        super().exec_module(module)
        if Path(self.path).with_name("definitions.py").read_bytes() == _READS_AS:
            read = module._parsed
            module._parsed = lambda *code: _KNOWN.get(code) or read(*code)


class _Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        spec: ModuleSpec | None = PathFinder.find_spec(name, path) if name == _READER else None
        if spec and spec.origin:
            spec.loader = _Reader(name, spec.origin)
        return spec


@contextmanager
def _repository_imported() -> Iterator[ModuleType]:
    """Import the repository's module that reads code, and forget the package afterwards."""
    before = sys.path[:], sys.meta_path[:]
    sys.path.insert(0, str(_SOURCES))
    try:
        yield importlib.import_module(_READER)
    finally:
        sys.path[:], sys.meta_path[:] = before
        for name in [name for name in sys.modules if name.split(".")[0] == "diffeode"]:
            del sys.modules[name]


def _keeping(read: Callable[..., Any]) -> Callable[..., Any]:
    def kept(*code: Any) -> Any:
        _KNOWN[code] = read(*code)
        return _KNOWN[code]

    return kept


def _read_the_repository() -> None:
    """Read what the scripts of the workflow use, and the modules that they find by name."""
    with _repository_imported() as source:
        source._parsed = _keeping(source._parsed)
        for script in (_REPOSITORY / "workflow" / "scripts").glob("*.py"):
            source.code_hash(scripts=(script,), apart_from=("_job",) * (script.stem != "_job"))
        for folder in _FOUND_BY_NAME:
            for file in (_SOURCES / "diffeode" / folder).glob("[a-z]*.py"):
                source.code_hash(".".join(file.relative_to(_SOURCES).with_suffix("").parts))


assert "diffeode" not in sys.modules
_read_the_repository()
sys.meta_path.insert(0, _Finder())
