"""Modules that are imported at their first use, for processes of which few use them."""

from __future__ import annotations

import importlib.util
import sys


def import_when_used(*names: str) -> None:
    """Let ``import`` statements for these modules load nothing before the first use of the module.

    ``from module import name`` is a use. A module that is loaded already stays as it is, and one
    that is not installed fails where it is imported, as usual.

    Args:
        names: dotted names; the packages above a module are loaded now.
    """
    for name in names:
        spec = importlib.util.find_spec(name) if name not in sys.modules else None
        if spec is None or spec.loader is None:
            continue
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        package, _, last = name.rpartition(".")
        if package:
            setattr(sys.modules[package], last, module)
