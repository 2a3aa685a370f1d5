"""The registry of methods: every file or folder of :mod:`diffeode.methods` holds one method.

The method is named after its file or folder.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import re
from functools import cache
from typing import Any

from diffeode import methods
from diffeode.errors import InputError
from diffeode.names import nearest
from diffeode.programs.tools import identities, missing_program
from diffeode.registration.base import Method, Needs
from diffeode.registration.knobs import build
from diffeode.registration.weight_maps import require_weight_map


@cache
def method_names() -> tuple[str, ...]:
    """Return the name of every method: the name of its module, with hyphens."""
    found = (module.name for module in pkgutil.iter_modules(methods.__path__))
    return tuple(sorted(name.replace("_", "-") for name in found if not name.startswith("_")))


def method_module(name: str) -> str:
    """Return the dotted name of the module that defines method ``name``.

    Raises:
        InputError: there is no such method; the message gives the nearest name.
    """
    if name not in method_names():
        raise InputError(f"There is no method {name!r}{nearest(name, method_names())}.")
    return f"diffeode.methods.{name.replace('-', '_')}"


@cache
def method_class(name: str) -> type[Method]:
    """Return the class of method ``name``."""
    module = importlib.import_module(method_module(name))
    own = [
        v
        for v in vars(module).values()
        if isinstance(v, type) and issubclass(v, Method) and _lies_in(v.__module__, module.__name__)
    ]
    if len(own) != 1:
        raise TypeError(
            f"{module.__name__} must define exactly one Method, found {[c.__name__ for c in own]}"
        )
    return own[0]


def _lies_in(module: str, method: str) -> bool:
    return module == method or module.startswith(f"{method}.")


def make_method(name: str, parameters: dict[str, Any]) -> Method:
    """Return method ``name`` with ``parameters`` in place of its defaults.

    Raises:
        InputError: the method or a parameter is unknown, or a value has the wrong type or is out of
            range.
    """
    return build(method_class(name), parameters, name)


def programs_of(name: str) -> dict[str, dict[str, str]]:
    """Return path, checksum and version of the programs that method ``name`` runs
    (:func:`diffeode.programs.tools.identities`).
    """
    return identities(method_class(name).needs.executables)


def lacks(name: str, parameters: dict[str, Any] | None = None) -> dict[str, list[str]]:
    """Return the reasons why method ``name`` cannot run here, by kind: ``package``, ``binary``,
    ``weights`` or ``training``.
    """
    cls, method = method_class(name), make_method(name, parameters or {})
    needs, why = cls.needs, method.lacking() or _unreadable(method)
    found = {
        "package": [
            f"the Python package {p} is not installed{_remedy(needs)}"
            for p in needs.packages
            if not _importable(p)
        ],
        "binary": [clause for e in needs.executables if (clause := missing_program(e))],
        "training" if cls.trained else "weights": [_clause(why)] if why else [],
    }
    return {kind: clauses for kind, clauses in found.items() if clauses}


def _unreadable(method: Method) -> str:
    """Return why a file that the settings of ``method`` name cannot be used; empty where it can.

    Weights of other people and of trained methods are left out: :meth:`Method.lacking` has tested
    them, and they are large.
    """
    if method.pretrained or method.trained:
        return ""
    try:
        method.reads()
        require_weight_map(method)
    except InputError as error:
        return str(error)
    return ""


def missing_needs(name: str, parameters: dict[str, Any] | None = None) -> list[str]:
    """Return the reasons why method ``name`` cannot run here, one clause each; an empty list where
    it can.
    """
    return [clause for clauses in lacks(name, parameters).values() for clause in clauses]


def standing(name: str, parameters: dict[str, Any] | None = None) -> str:
    """Return ``run``, or the kinds of what is missing here: ``needs-package``, ``needs-binary``,
    ``needs-weights``, ``needs-training``.
    """
    return ", ".join(f"needs-{kind}" for kind in lacks(name, parameters)) or "run"


def _importable(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _remedy(needs: Needs) -> str:
    return "" if needs.environment == "base" else f" (envs/{needs.environment}.yaml has it)"


def _clause(sentence: str) -> str:
    return re.sub("^T(?=he)", "t", sentence).removesuffix(".")
