"""The registry of descriptors: every other module of this package is one, named after its file.

To add a descriptor, add a file with a function ``make(weights: str)``. It returns a function or a
torch module that turns an image ``(N, 1, *size)`` into channels ``(N, C, *size)``. A descriptor
with weights also defines ``weights_file(weights)``, which returns the path of their file; the
content of that file then counts in the identity of a run.
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

_NOT_DESCRIPTORS = {"convolution", "network", "registry"}
"""Names of the modules of this package that are no descriptors."""

Descriptor = Callable[["Tensor"], "Tensor"]
"""A function or a torch module from an image to its channels."""


@cache
def descriptor_names() -> tuple[str, ...]:
    """Return the names of all descriptors: those of their modules, with hyphens."""
    found = (m.name for m in pkgutil.iter_modules(descriptors.__path__) if not m.ispkg)
    return tuple(sorted(name.replace("_", "-") for name in found if name not in _NOT_DESCRIPTORS))


def make_descriptor(
    name: str,
    weights: str = "",
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Descriptor:
    """Return the descriptor ``name``.

    Args:
        weights: the name of its weights, or the path of their file; empty for its default ones.
        device, dtype: those of the images that it will describe; without a dtype single precision.

    Raises:
        InputError: there is no such descriptor, there are no such weights, or they do not fit it.
    """
    import torch  # here, so that a study is planned without it

    module = _module(name)
    _require_weights(module, name, weights)
    made = module.make(weights)
    return made.to(device, dtype or torch.float32) if isinstance(made, torch.nn.Module) else made


def descriptor_content(name: str, weights: str = "") -> str:
    """Return the hashes of a descriptor's code and of its weights, which say what it computes.

    Raises:
        InputError: there is no such descriptor, or there are no such weights.
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
