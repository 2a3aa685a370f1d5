"""Descriptors by presence: every module here that defines ``make`` is one, named after its file.

To add a descriptor, add a file with ``make(weights: str)``: what it returns turns an image ``(N, 1,
*size)`` into channels ``(N, C, *size)``, a function or a torch module. Where it reads weights, it
defines ``weights_file(weights)`` too, the path of the file behind a name, so that a run is known by
what is in that file.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING

from diffeode import descriptors
from diffeode.errors import InputError
from diffeode.files.io import sha256
from diffeode.names import nearest
from diffeode.provenance.source import code_hash

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_NOT_DESCRIPTORS = {"network", "registry"}

Descriptor = Callable[["Tensor"], "Tensor"]


@cache
def descriptor_names() -> tuple[str, ...]:
    """Every descriptor's name: its module's, with hyphens."""
    found = (m.name for m in pkgutil.iter_modules(descriptors.__path__) if not m.ispkg)
    return tuple(sorted(name.replace("_", "-") for name in found if name not in _NOT_DESCRIPTORS))


def make_descriptor(
    name: str,
    weights: str = "",
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Descriptor:
    """Descriptor ``name`` with ``weights``, a name or a path (empty: its own), for images of
    ``device`` and ``dtype``.

    Args:
        dtype: None: single precision.

    Raises:
        InputError: no such descriptor or weights, or weights that do not fit it.
    """
    import torch  # here, so that a study is planned without it

    module = _module(name)
    _require_weights(module, name, weights)
    made = module.make(weights)
    return made.to(device, dtype or torch.float32) if isinstance(made, torch.nn.Module) else made


def descriptor_content(name: str, weights: str = "") -> str:
    """What a descriptor is, whatever it is called: the hashes of its code and of its weights.

    Raises:
        InputError: no such descriptor or weights.
    """
    module = _module(name)
    _require_weights(module, name, weights)
    code = code_hash(f"{module.__name__}:make")
    return (
        f"{code} {sha256(module.weights_file(weights))}"
        if hasattr(module, "weights_file")
        else code
    )


def _require_weights(module: ModuleType, name: str, weights: str) -> None:
    if weights and not hasattr(module, "weights_file"):
        raise InputError(f"Descriptor {name} has no weights; leave out {weights!r}.")


def _module(name: str) -> ModuleType:
    if name not in descriptor_names():
        raise InputError(f"There is no descriptor {name!r}{nearest(name, descriptor_names())}.")
    return importlib.import_module(f"diffeode.descriptors.{name.replace('-', '_')}")
