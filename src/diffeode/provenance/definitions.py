"""The definitions at the top level of a Python file, the names that they use, and the statements
that run on import.

:mod:`diffeode.provenance.source` makes the identity of code from them.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import symtable
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, final

WHOLE = "*"
"""Stands in place of an attribute for everything that the module defines."""

_ALWAYS_THERE = frozenset(
    {*dir(builtins), "__file__", "__name__", "__path__", "__package__", "snakemake"}
)
"""Names that no file needs to define."""
_NO_CODE = frozenset({"__version__"})
"""Names whose values cannot change a result."""


class Reference(NamedTuple):
    """A name that code uses, the module that it comes from, and the attributes that are taken of
    it.

    After ``from diffeode import io``, the expression ``io.read_image`` is
    ``("io", "diffeode", ("io", "read_image"))``.
    """

    written: str
    module: str
    path: tuple[str, ...]


@final
@dataclass(frozen=True)
class Definition:
    """A piece of code that counts completely or not at all.

    Attributes:
        text: the code without comments, docstrings, layout and annotations.
        uses: the names that the code uses.
        loads: dotted names of all modules that its import statements may load.
    """

    text: str
    uses: tuple[Reference, ...]
    loads: tuple[str, ...]

    @cached_property
    def digest(self) -> str:
        """Return the SHA-256 of the text and of the modules and attributes that its names
        refer to.
        """
        stand_for = (f"{use.written}={'.'.join((use.module, *use.path))}" for use in self.uses)
        return hashlib.sha256("\n".join([self.text, *stand_for]).encode()).hexdigest()


@final
class Definitions:
    """The top level of one Python file.

    Annotations of functions and variables do not count. Annotations of a class's fields count,
    because dataclasses and the reader of hyper-parameters use them.

    Args:
        name: the module's dotted name.
        text: the text of the file.
        is_script: whether the file is run instead of imported, so that the code under ``if __name__
            == "__main__"`` counts.
    """

    def __init__(self, name: str, text: str, is_script: bool = False) -> None:
        self.name = name
        self._defined: dict[str, list[ast.stmt]] = defaultdict(list)
        self._imported: dict[str, Reference] = {}
        self._imports: list[ast.stmt] = []
        self._run: list[ast.stmt] = []
        tree = ast.parse(text, filename=name)
        self._unseen = _names_for_type_checkers(tree) | _NO_CODE
        for statement in _Essence(is_script).visit(tree).body:
            self._sort(statement)
        self._bound_when_run = {name for s in self._run for name in _stored(s)}
        self._bound_when_run |= {name for s in self._run for name, _ in _bindings(s)}
        self._found: dict[str, Definition] = {}

    def _sort(self, statement: ast.stmt) -> None:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            self._imports.append(statement)
            self._imported |= dict(_bindings(statement))
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            self._defined[statement.name].append(statement)
        elif isinstance(statement, ast.Assign) and (names := _assigned(statement.targets)):
            for name in names:
                self._defined[name].append(statement)
        else:
            self._run.append(statement)

    def everything(self) -> dict[str, Definition]:
        """Return every definition by its name, in the order of the file."""
        found = {name: self.definition(name) for name in self._defined}
        return {name: definition for name, definition in found.items() if definition}

    def definition(self, name: str) -> Definition | None:
        """Return the definition of ``name``; several definitions of one name are taken together.
        None where there is none.
        """
        if name in _NO_CODE or name not in self._defined:
            return None
        if name not in self._found:
            self._found[name] = self._read(self._defined[name])
        return self._found[name]

    def imported(self, name: str) -> Reference | None:
        """Return where ``name`` comes from if this file imports it at its top level, else None."""
        return self._imported.get(name)

    @cached_property
    def run_on_import(self) -> Definition:
        """Return the statements that run on import, apart from definitions and assignments."""
        return self._read(self._run)

    @cached_property
    def loads(self) -> tuple[str, ...]:
        """Return the dotted names of all modules that the top level's import statements
        may load.
        """
        return tuple(
            dict.fromkeys(name for statement in self._imports for name in _loaded_by(statement))
        )

    def _read(self, statements: Iterable[ast.stmt]) -> Definition:
        statements = list(statements)
        text = "\n".join(map(ast.unparse, statements))
        paths, own = _paths(statements), dict(b for s in statements for b in _bindings(s))
        uses = [
            reference for name, r in own.items() for reference in _with_attributes(r, paths[name])
        ]
        for name in sorted(_global_names(text)):
            uses += self._resolved(name, paths[name])
        loads = [name for s in statements for node in ast.walk(s) for name in _loaded_by(node)]
        uses += [Reference(name, name, (WHOLE,)) for s in statements for name in _named_modules(s)]
        return Definition(text, tuple(dict.fromkeys(uses)), tuple(dict.fromkeys(loads)))

    def _resolved(self, name: str, paths: set[tuple[str, ...]]) -> list[Reference]:
        if name in self._defined and name not in _NO_CODE:
            return [Reference(name, self.name, (name,))]
        if name in self._imported:
            return _with_attributes(self._imported[name], paths)
        if name in _ALWAYS_THERE or name in self._unseen or name in self._bound_when_run:
            return []
        everything_of = [
            reference for s in self._imports for star, reference in _bindings(s) if star == WHOLE
        ]
        return [Reference(name, self.name, (WHOLE,)), *everything_of]


# -------------------------------------------------------------------------------------------- names


def _global_names(text: str) -> set[str]:
    """Return the names that any part of ``text`` looks up at the top level of its module."""
    top = symtable.symtable(text, "<definition>", "exec")
    found = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_referenced()}
    waiting = top.get_children()
    while waiting:
        table = waiting.pop()
        found |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
        waiting += table.get_children()
    return found


def _paths(statements: Iterable[ast.stmt]) -> dict[str, set[tuple[str, ...]]]:
    """Return the chains of attributes that are taken of each name; ``()`` where the name is used
    alone.
    """
    found: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    waiting: list[ast.AST] = list(statements)
    while waiting:
        node, path = waiting.pop(), []
        while isinstance(node, ast.Attribute):
            path.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            found[node.id].add(tuple(reversed(path)))
        waiting += ast.iter_child_nodes(node)
    return found


def _with_attributes(reference: Reference, paths: set[tuple[str, ...]]) -> list[Reference]:
    """Return ``reference`` once for each chain of attributes that is taken of it."""
    return [reference._replace(path=reference.path + path) for path in sorted(paths or {()})]


def _assigned(targets: Iterable[ast.expr]) -> list[str]:
    """Return the names that are assigned to; none where an attribute or an item is assigned to."""
    names: list[str] = []
    for target in targets:
        if isinstance(target, ast.Name):
            names.append(target.id)
        elif isinstance(target, ast.Tuple | ast.List) and (parts := _assigned(target.elts)):
            names += parts
        else:
            return []
    return names


def _stored(statement: ast.stmt) -> Iterator[str]:
    """Yield the names that any part of a statement assigns to."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def _names_for_type_checkers(tree: ast.Module) -> set[str]:
    blocks = (
        node for node in ast.walk(tree) if isinstance(node, ast.If) and _is_for_type_checkers(node)
    )
    return {
        name for block in blocks for statement in block.body for name, _ in _bindings(statement)
    }


# ------------------------------------------------------------------------------------------ imports


def _bindings(statement: ast.stmt) -> Iterator[tuple[str, Reference]]:
    """Yield every name that an import in ``statement`` binds, and what the name refers to."""
    for node in ast.walk(statement):
        if isinstance(node, ast.Import):
            for alias in node.names:
                name, module = alias.asname, alias.name
                if name is None:
                    name = module = alias.name.partition(".")[0]
                yield name, Reference(name, module, ())
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                name = alias.asname or alias.name
                yield name, Reference(name, _module_of(node), (alias.name,))


def _loaded_by(node: ast.AST) -> Iterator[str]:
    """Yield every dotted name that an import may load: packages, and attributes that may be
    modules.
    """
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield from with_parents(alias.name)
    elif isinstance(node, ast.ImportFrom):
        yield from with_parents(_module_of(node))
        yield from (f"{_module_of(node)}.{alias.name}" for alias in node.names)
    elif module := _module_named_by(node):
        yield from with_parents(module)


def _module_of(node: ast.ImportFrom) -> str:
    if node.level or node.module is None:
        raise ValueError(
            f"'{ast.unparse(node)}' is a relative import, which is not followed; write the whole "
            "name."
        )
    return node.module


def with_parents(name: str) -> Iterator[str]:
    """Yield ``a``, ``a.b`` and ``a.b.c`` for ``a.b.c``: the modules that importing it loads."""
    parts = name.split(".")
    yield from (".".join(parts[: n + 1]) for n in range(len(parts)))


def _named_modules(statement: ast.stmt) -> Iterator[str]:
    """Yield the modules that ``import_module("...")`` returns where the returned module is used."""
    loaded_alone = {id(node.value) for node in ast.walk(statement) if isinstance(node, ast.Expr)}
    for node in ast.walk(statement):
        if (module := _module_named_by(node)) and id(node) not in loaded_alone:
            yield module


def _module_named_by(node: ast.AST) -> str | None:
    """Return the module that ``import_module("...")`` names; None where ``node`` is no
    such call.
    """
    if not (isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant)):
        return None
    is_import = "import_module" in (getattr(node.func, "attr", ""), getattr(node.func, "id", ""))
    return str(node.args[0].value) if is_import else None


# -------------------------------------------------------------------------------------- what counts


def _is_for_type_checkers(node: ast.If) -> bool:
    """Return whether the statement is ``if TYPE_CHECKING:``; ``if not TYPE_CHECKING:`` is not."""
    is_a_name = isinstance(node.test, ast.Name | ast.Attribute)
    return is_a_name and ast.unparse(node.test).endswith("TYPE_CHECKING")


class _Essence(ast.NodeTransformer):
    """Keeps of a file's syntax tree what can change results."""

    def __init__(self, is_script: bool) -> None:
        self._is_script = is_script
        self._fields: set[int] = set()

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        return None if is_text else self.generic_visit(node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        self.generic_visit(node)
        is_main = ast.unparse(node.test) == "__name__ == '__main__'" and not self._is_script
        return node.orelse if is_main or _is_for_type_checkers(node) else node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """Drop the meaning and the unit of a knob; its default and its range count."""
        if isinstance(node.func, ast.Name) and node.func.id == "knob":
            node.args = node.args[:2]
        return self.generic_visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._fields |= {id(part) for part in node.body if isinstance(part, ast.AnnAssign)}
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if id(node) in self._fields:
            node.value = self.visit(node.value) if node.value else None
            return node
        self.generic_visit(node)
        return (
            ast.copy_location(ast.Assign([node.target], node.value), node) if node.value else None
        )

    def generic_visit(self, node: ast.AST) -> ast.AST:
        super().generic_visit(node)
        if getattr(node, "body", None) == [] and not isinstance(node, ast.Module):
            node.body = [ast.Pass()]  # type: ignore[attr-defined]
        return node
