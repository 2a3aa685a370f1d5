"""A hash of source code, so that changed code makes again what it produced and nothing else."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

_PACKAGE = Path(__file__).resolve().parent


@cache
def code_hash(*sources: str | Path) -> str:
    """SHA-256 over modules and every ``diffeode`` module they import, directly or not, also inside functions.

    Comments, docstrings, layout, ``__version__`` and imports for type checkers alone do not count. What is imported by
    a name computed at run time is not seen.

    Args:
        sources: names of modules (``"diffeode.prepare.scan"``), or paths of scripts, which count without their imports.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    lines = sorted(f"{path.name} {_read(path).hash}" for path in _closure(sources))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def imported_modules(*sources: str | Path) -> set[str]:
    """Names of the ``diffeode`` modules that :func:`code_hash` of ``sources`` covers."""
    return {_name_of(path) for path in _closure(sources) if path.is_relative_to(_PACKAGE)}


def _closure(sources: tuple[str | Path, ...]) -> set[Path]:
    reached: set[Path] = set()
    waiting = [_path_of(source) for source in sources]
    while waiting:
        path = waiting.pop()
        if path not in reached:
            reached.add(path)
            waiting += _read(path).imports if path.is_relative_to(_PACKAGE) else ()
    return reached


class _Read(NamedTuple):
    """What a file comes to: the hash of what can change its results, and the package's files that it imports."""

    hash: str
    imports: tuple[Path, ...]


@cache
def _read(path: Path) -> _Read:
    essence = _Essence().visit(ast.parse(path.read_text(encoding="utf-8"), filename=str(path)))
    names = dict.fromkeys(name for node in ast.walk(essence) for name in _names_in(node))
    imports = dict.fromkeys(file for name in names if (file := _file_of(name)))
    return _Read(hashlib.sha256(ast.unparse(essence).encode()).hexdigest(), tuple(imports))


def _names_in(node: ast.AST) -> Iterator[str]:
    """Every dotted name that importing ``node`` may load: packages on the way, and attributes that may be modules."""
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from _with_parents(alias.name)
    elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
        yield from _with_parents(node.module)
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[: n + 1]) for n in range(len(parts)))


def _path_of(source: str | Path) -> Path:
    path = source.resolve() if isinstance(source, Path) else _file_of(source)
    if path is None or not path.is_file():
        raise ModuleNotFoundError(f"No source for {source}")
    return path


def _file_of(name: str) -> Path | None:
    root, *parts = name.split(".")
    if root != _PACKAGE.name:
        return None
    base = _PACKAGE.joinpath(*parts)
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)


def _name_of(path: Path) -> str:
    parts = path.relative_to(_PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


class _Essence(ast.NodeTransformer):
    """What of a module can change its results: no docstrings, no ``__version__``, no ``if TYPE_CHECKING``."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else node

    def visit_Assign(self, node: ast.Assign) -> ast.AST | None:
        is_version = any(isinstance(t, ast.Name) and t.id == "__version__" for t in node.targets)
        return None if is_version else node

    def visit_If(self, node: ast.If) -> ast.AST | None:
        self.generic_visit(node)
        return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else node
