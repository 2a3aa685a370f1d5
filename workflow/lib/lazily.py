"""Modules that are imported at their first use, for processes of which few use them."""

from __future__ import annotations

import importlib.util
import sys
import threading
from types import ModuleType
from typing import Any

_loading = threading.RLock()


def import_when_used(*names: str) -> None:
    """Let ``import`` statements for these modules load nothing before the first use of the module.

    ``from module import name`` is a use, and so is the import of a module inside it. A module that
    is loaded already stays as it is, and one that is not installed fails where it is imported, as
    usual.

    Args:
        names: dotted names; the packages above a module are loaded now.
    """
    for name in names:
        spec = importlib.util.find_spec(name) if name not in sys.modules else None
        if spec is None or spec.loader is None:
            continue
        module = importlib.util.module_from_spec(spec)
        vars(module).pop("__path__", None)  # whoever imports a module inside it asks for this
        module.__class__ = _Unused
        sys.modules[name] = module
        package, _, last = name.rpartition(".")
        if package:
            setattr(sys.modules[package], last, module)


class _Unused(ModuleType):
    """A module without its content, which is loaded when something of it is asked for.

    Python's own ``LazyLoader`` loads a module at its second import statement already.
    """

    def __getattr__(self, name: str) -> Any:
        """Load the module, where it is not loaded yet, and return what it defines."""
        with _loading:
            if isinstance(self, _Unused) and "_is_loading" not in vars(self):
                self._load()
        return ModuleType.__getattribute__(self, name)

    def _load(self) -> None:
        spec: Any = self.__spec__
        vars(self)["_is_loading"] = True
        if spec.submodule_search_locations is not None:
            self.__path__ = spec.submodule_search_locations
        try:
            spec.loader.exec_module(self)
        finally:
            vars(self).pop("_is_loading")
        self.__class__ = ModuleType
