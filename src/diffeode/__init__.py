"""Multimodal diffeomorphic registration with Neural ODEs and structural descriptors.

``import diffeode as de`` gives the names of ``__all__``, which are stable: they keep their meaning
within a major version. All other modules may change. The names are loaded when they are first used,
so that the import itself takes no time.

The frames are the same everywhere: every transform maps points of the *fixed* scan to points of the
*moving* scan, in RAS millimetres. Arrays are indexed ``[i, j, k]`` as NIfTI stores them; "voxel"
coordinates are such indices as real numbers.
"""

from typing import TYPE_CHECKING, Any

from diffeode.formerly import know_former_names

if TYPE_CHECKING:
    from diffeode.desk.landmarks import load_points, save_points
    from diffeode.desk.library import RegistrationResult, register
    from diffeode.desk.measuring import Evaluation, evaluate
    from diffeode.desk.preparing import PreparedScan, prepare_scan
    from diffeode.desk.transform import Transform, load_transform
    from diffeode.errors import InputError, RegistrationError
    from diffeode.geometry.image import Image
    from diffeode.geometry.space import Grid

__version__ = "0.1.0"

__all__ = [
    "Evaluation",
    "Grid",
    "Image",
    "InputError",
    "PreparedScan",
    "RegistrationError",
    "RegistrationResult",
    "Transform",
    "evaluate",
    "load_points",
    "load_transform",
    "prepare_scan",
    "register",
    "save_points",
]

_HOMES = {
    "Evaluation": "desk.measuring",
    "Grid": "geometry.space",
    "Image": "geometry.image",
    "InputError": "errors",
    "PreparedScan": "desk.preparing",
    "RegistrationError": "errors",
    "RegistrationResult": "desk.library",
    "Transform": "desk.transform",
    "evaluate": "desk.measuring",
    "load_points": "desk.landmarks",
    "load_transform": "desk.transform",
    "prepare_scan": "desk.preparing",
    "register": "desk.library",
    "save_points": "desk.landmarks",
}
"""The module, within the package, in which each name of ``__all__`` is defined."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    found = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


know_former_names()
