"""Former names of modules, so that scripts that import them keep working, with a warning."""

from __future__ import annotations

import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import final

_PACKAGE = "diffeode"

FORMERLY = {
    "ants_bridge": "programs.ants_bridge",
    "checked_yaml": "files.checked_yaml",
    "checksums": "provenance.checksums",
    "descriptors.learning": "learning.descriptor",
    "descriptors.learning.contrastive": "learning.descriptor.contrastive",
    "descriptors.learning.contrasts": "learning.descriptor.contrasts",
    "descriptors.learning.lesson": "learning.descriptor.lesson",
    "descriptors.learning.material": "learning.descriptor.material",
    "determinism": "geometry.determinism",
    "download": "weights.download",
    "fields": "files.fields",
    "headers": "files.headers",
    "image": "geometry.image",
    "interfaces": "programs.interfaces",
    "interfaces.deedsbcv": "programs.interfaces.deedsbcv",
    "interfaces.freesurfer": "programs.interfaces.freesurfer",
    "inventory": "study.inventory",
    "io": "files.io",
    "label_ids": "files.label_ids",
    "methods.base": "registration.base",
    "methods.energy": "methods.neural_ode.energy",
    "methods.harness": "registration.harness",
    "methods.motion": "methods.neural_ode.motion",
    "methods.page": "registration.page",
    "methods.registry": "registration.registry",
    "methods.runs": "registration.runs",
    "methods.trained": "learning.trained_method",
    "methods.training": "learning.method_training",
    "methods_section": "study.methods_section",
    "origin": "provenance.origin",
    "presence": "files.presence",
    "receipt": "provenance.receipt",
    "resample": "geometry.resample",
    "seals": "provenance.seals",
    "software": "provenance.software",
    "source": "provenance.source",
    "space": "geometry.space",
    "study_files": "study.files",
    "statistics.page": "statistics.export",
    "surroundings": "process.surroundings",
    "threads": "process.threads",
    "tools": "programs.tools",
    "training": "learning",
    "training.checkpoint": "weights.checkpoint",
    "training.loop": "learning.loop",
    "training.pairs": "learning.pairs",
    "transform": "geometry.transform",
    "upkeep": "provenance.upkeep",
    "volumes": "files.volumes",
    "warp": "geometry.warp",
    "watch": "process.watch",
}
"""The name that a module has today within the package, by the name that it had before modules were
sorted into rooms.
"""


def name_of_today(module: str) -> str:
    """Return the full name that a module has today.

    >>> name_of_today("diffeode.io")
    'diffeode.files.io'

    Args:
        module: its full name, the former one or today's.
    """
    package, _, within = module.partition(".")
    is_former = package == _PACKAGE and within in FORMERLY
    return f"{_PACKAGE}.{FORMERLY[within]}" if is_former else module


@final
class _FormerName(Loader):
    """Loads the module of today's name in place of the one that was asked for."""

    def exec_module(self, module: ModuleType) -> None:
        former, today = module.__name__, name_of_today(module.__name__)
        warnings.warn(f"{former} is now {today}; import that.", DeprecationWarning, stacklevel=2)
        sys.modules[module.__name__] = importlib.import_module(today)


@final
class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name_of_today(fullname) == fullname:
            return None
        return ModuleSpec(fullname, _FormerName(), is_package=fullname in _PACKAGES)


_PACKAGES = {f"{_PACKAGE}.{name.rpartition('.')[0]}" for name in FORMERLY if "." in name}


def know_former_names() -> None:
    """Let Python find modules under their former names, too.

    Former names are looked up before all others. A former package stands for another package today,
    in whose folder Python would otherwise find the modules a second time.
    """
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())
