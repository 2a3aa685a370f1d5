"""The identity of code: a hash that changes where code that a result depends on changes.

A change of code so makes those results again that the code produced, and no others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path

from diffeode.formerly import name_of_today
from diffeode.provenance.definitions import WHOLE, Definition, Definitions, Reference, with_parents

_PACKAGE = Path(__file__).resolve().parents[1]

CANNOT_CHANGE_NUMBERS = {
    "diffeode.provenance.checksums": "compares files with what was recorded of them",
    "diffeode.provenance.definitions": "reads code for its identity",
    "diffeode.errors": "kinds of errors",
    "diffeode.geometry.shapes": "names shapes of tensors, for readers",
    "diffeode.formerly": "leads from former names of modules to those of today",
    "diffeode.registration.registry": "finds a method by its name; the identity names the method "
    "that is found",
    "diffeode.registration.runs": "reads a run; its method and parameters are in the identity by "
    "themselves",
    "diffeode.names": "words for sentences, and how names are shown",
    "diffeode.provenance.origin": "records what a file was made from",
    "diffeode.prepare.needs": "says what a tool lacks; checksums of weights are in the identity by "
    "themselves",
    "diffeode.prepare.registry": "finds a tool by its name; the identity names the tool that is "
    "found",
    "diffeode.files.presence": "says why a file is not there",
    "diffeode.provenance.software": "lists versions for receipts",
    "diffeode.provenance.source": "reads code for its identity",
    "diffeode.process.watch": "ends work that takes too long; what ends by itself goes through "
    "unchanged",
    "diffeode.weights.catalogue": "finds files of weights; their checksums are in the identity by "
    "themselves",
}
"""Modules of this package that count in no identity, and the reason: they cannot change a
number.
"""

Source = str | Path | type | Callable[..., object]


@cache
def code_hash(
    *sources: Source, scripts: tuple[Path, ...] = (), apart_from: tuple[str, ...] = ()
) -> str:
    """Return the SHA-256 of all code of this package that ``sources`` and ``scripts`` use, directly
    or indirectly.

    The code is followed definition by definition: each function, class and assignment leads to the
    definitions whose names it uses, also through imports inside functions. Statements that are no
    definition, such as a call at the top level, run when their module is imported, so they count
    for every module that is imported on the way. A module that is not only used by its attributes
    counts completely.

    Comments, docstrings, layout, annotations (except those of a class's fields), ``__version__``
    and imports for type checkers do not count, nor do the modules of
    :data:`CANNOT_CHANGE_NUMBERS`. An import by a name that is computed at run time is not seen, so
    such code has to be among the sources. A decorator is assumed to change only the function that
    it decorates, and an assignment only the names that it binds.

    Args:
        sources: definitions (functions and classes themselves, or names such as
            ``"diffeode.prepare.scan:prepare_scan"``), whole modules by name, or paths of scripts
            whose own text counts, without what they import.
        scripts: paths of scripts that count with what they import, including files beside them.
        apart_from: modules and packages that do not count, in addition to
            :data:`CANNOT_CHANGE_NUMBERS`.

    Raises:
        ModuleNotFoundError: there is no such module.
        AttributeError: there is no such definition.
        ValueError: a source is left out of every identity.
    """
    lines = sorted(_reached(sources, scripts, apart_from).lines())
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def definitions_reached(
    *sources: Source, scripts: tuple[Path, ...] = (), apart_from: tuple[str, ...] = ()
) -> frozenset[str]:
    """Return ``"module:name"`` of every definition that :func:`code_hash` of the same arguments
    covers.
    """
    found = _reached(sources, scripts, apart_from).found
    return frozenset(f"{module}:{name}" for module, name in found if name)


def modules_reached(
    *sources: Source, scripts: tuple[Path, ...] = (), apart_from: tuple[str, ...] = ()
) -> frozenset[str]:
    """Return the names of all modules that :func:`code_hash` of the same arguments reads."""
    return frozenset(_reached(sources, scripts, apart_from).imported)


def _reached(
    sources: Iterable[Source], scripts: Iterable[Path], apart_from: Iterable[str]
) -> _Reached:
    found = _Reached((*CANNOT_CHANGE_NUMBERS, *apart_from))
    for source in sources:
        if isinstance(source, Path):
            found.add_text(source)
        else:
            found.add_source(
                source if isinstance(source, str) else f"{source.__module__}:{source.__qualname__}"
            )
    for script in scripts:
        found.add_script(script)
    return found


class _Reached:
    """The code that is found by following the sources.

    Attributes:
        found: definitions by module and name; the name ``""`` stands for the statements that run on
            import.
        imported: the modules that are imported on the way.
    """

    def __init__(self, apart_from: Iterable[str]) -> None:
        self._apart_from = tuple(f"{name}." for name in apart_from)
        self._files: dict[str, Path] = {}
        self._scripts: set[str] = set()
        self._known: dict[str, Definitions | None] = {}
        self._waiting: list[Reference] = []
        self._seen: set[tuple[str, tuple[str, ...]]] = set()
        self.found: dict[tuple[str, str], Definition] = {}
        self.imported: set[str] = set()

    def lines(self) -> list[str]:
        """Return one line for each definition: its module, its name and its digest."""
        return [
            f"{module}:{name} {definition.digest}"
            for (module, name), definition in self.found.items()
        ]

    def add_text(self, script: Path) -> None:
        """Count the text of a script without what it imports."""
        definitions = _read(script, script.name, is_script=True)
        for name, definition in definitions.everything().items():
            self.found[script.name, name] = definition
        self.found[script.name, ""] = definitions.run_on_import

    def add_script(self, script: Path) -> None:
        """Count a script with what it imports from this package and from the files beside it."""
        self._files |= {file.stem: file for file in script.parent.glob("*.py")}
        self._scripts.add(script.stem)
        # files beside this script are found from now on, also where they were looked for before
        self._known.clear()
        self._seen.clear()
        self.add_source(script.stem)

    def add_source(self, source: str) -> None:
        """Count a module, or one definition of a module, with all code that it uses."""
        module, _, name = source.partition(":")
        if self._is_left_out(module):
            raise ValueError(f"{module} is left out of every identity, so none can be made of it.")
        definitions = self._definitions(module)
        if definitions is None:
            raise ModuleNotFoundError(f"No source for {source}")
        if name and definitions.definition(name) is None:
            raise AttributeError(f"There is no definition {name} in {module}.")
        for package in with_parents(module):
            self._import(package)
        self._waiting.append(Reference(source, module, (name or WHOLE,)))
        while self._waiting:
            _, used, path = self._waiting.pop()
            if (used, path) not in self._seen:
                self._seen.add((used, path))
                self._resolve(used, path)

    def _resolve(self, module: str, path: tuple[str, ...]) -> None:
        definitions = self._definitions(module)
        if definitions is None:
            return
        name, *rest = path or (WHOLE,)
        if name == WHOLE:
            self._add_whole(module, definitions)
        elif definition := definitions.definition(name):
            self._add(module, name, definition)
        elif origin := definitions.imported(name):
            self._waiting.append(origin._replace(path=(*origin.path, *rest)))
        elif self._definitions(f"{module}.{name}"):
            self._waiting.append(Reference(name, f"{module}.{name}", tuple(rest)))
        elif not name.startswith("__"):
            self._add_whole(module, definitions)

    def _add_whole(self, module: str, definitions: Definitions) -> None:
        for name, definition in definitions.everything().items():
            self._add(module, name, definition)

    def _add(self, module: str, name: str, definition: Definition) -> None:
        if (module, name) not in self.found:
            self.found[module, name] = definition
            for loaded in definition.loads:
                self._import(loaded)
            self._waiting += definition.uses

    def _import(self, module: str) -> None:
        """Count the statements that run when ``module`` is imported, and those of the modules that
        it imports.
        """
        if module in self.imported:
            return
        definitions = self._definitions(module)
        if definitions is None:
            return
        self.imported.add(module)
        if definitions.run_on_import.text:
            self._add(module, "", definitions.run_on_import)
        for loaded in definitions.loads:
            self._import(loaded)

    def _definitions(self, module: str) -> Definitions | None:
        """Return the definitions of a module of this package that counts; None for any other
        module.
        """
        if module not in self._known:
            self._known[module] = self._look_up(module)
        return self._known[module]

    def _look_up(self, module: str) -> Definitions | None:
        if self._is_left_out(module):
            return None
        file = self._files.get(module) or _file_of(module)
        return _read(file, module, module in self._scripts) if file else None

    def _is_left_out(self, module: str) -> bool:
        return f"{module}.".startswith(self._apart_from)


@cache
def _read(file: Path, name: str, is_script: bool = False) -> Definitions:
    return _parsed(name, file.read_text(encoding="utf-8"), is_script)


@cache
def _parsed(name: str, text: str, is_script: bool) -> Definitions:
    return Definitions(name, text, is_script)


@cache
def _file_of(name: str) -> Path | None:
    """Return the file of a module of this package; None for any other name."""
    root, *parts = name_of_today(name).split(".")
    if root != _PACKAGE.name:
        return None
    base = _PACKAGE.joinpath(*parts)
    candidates = (base / "__init__.py", base.with_suffix(".py"))
    return next((file for file in candidates if file.is_file()), None)
