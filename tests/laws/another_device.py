"""A pretended device: torch takes its tensors for those of an accelerator, but their values lie in
ordinary memory.

Code that mixes devices fails here as it does on a GPU, on machines that have none. ``python
another_device.py PARAMETERS`` takes a JSON object of hyper-parameters by name. For each name it
prints how far the map found on the pretended device and the map found on the CPU lie ``apart`` in
voxels, how long the displacements of the latter are (``leads``), and the ``operations`` that the
pretended device computed.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

from diffeode.descriptors import learned
from diffeode.flows import integrate
from diffeode.losses import mutual_information
from diffeode.methods.neural_ode import NeuralODE
from diffeode.registration.registry import make_method

NAME = "another"
SIZE = (20, 22, 18)
COMPUTED: set[str] = set()
"""Names of the operations that the device has computed since the list was last emptied."""
_WIDENED = (torch.ops.aten.avg_pool3d, torch.ops.aten.avg_pool3d_backward)
"""Operations that a CPU has in single and double precision only."""


class Distant(Tensor):
    """A tensor of the pretended device."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, values: Tensor) -> Distant:
        layout = {
            "strides": values.stride(),
            "storage_offset": values.storage_offset(),
            "dtype": values.dtype,
        }
        tensor = torch.Tensor._make_wrapper_subclass(
            cls, values.size(), device=f"{NAME}:0", **layout
        )
        tensor.values_here = values
        return tensor

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return compute(operation, args, kwargs or {})

    def new_tensor(self, data: Any, **options: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device, **options})


def compute(operation: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Compute an operation on the values, and refuse tensors of the CPU unless they are single
    numbers.
    """
    copies = operation.overloadpacket in (torch.ops.aten._to_copy, torch.ops.aten.copy_)
    given: dict[int, Tensor] = {}

    def here(value: Any) -> Any:
        if isinstance(value, Distant):
            given[id(value.values_here)] = value
            return value.values_here
        if isinstance(value, Tensor) and value.dim() and not copies:
            raise RuntimeError(f"Tensors of two devices meet in {operation}.")
        return torch.device("cpu") if isinstance(value, torch.device) else value

    there = kwargs.get("device")
    COMPUTED.add(operation.overloadpacket.__name__)
    result = _widened(operation, *_each(args, here), **_each(kwargs, here))
    arrives = there is not None and torch.device(there).type == "cpu"
    if arrives or (
        operation.overloadpacket is torch.ops.aten.copy_ and not isinstance(args[0], Distant)
    ):
        return result

    def back(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return given[id(value)] if id(value) in given else Distant(value)

    return _each(result, back)


def _each(values: Any, changed: Callable[[Any], Any]) -> Any:
    """Return ``values`` with every value in its tuples, lists and dictionaries changed.

    torch's own ``tree_map`` would take half of the time of the whole comparison.
    """
    if isinstance(values, (tuple, list)):
        return type(values)([_each(value, changed) for value in values])
    if isinstance(values, dict):
        return {name: _each(value, changed) for name, value in values.items()}
    return changed(values)


def _widened(operation: Any, *args: Any, **kwargs: Any) -> Any:
    if operation.overloadpacket not in _WIDENED or args[0].dtype != torch.half:
        return operation(*args, **kwargs)
    return operation(*(v.float() if isinstance(v, Tensor) else v for v in args), **kwargs).half()


class Factories(TorchDispatchMode):
    """Compute an operation that makes tensors on the pretended device."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        there = kwargs.get("device")
        called = there is not None and torch.device(there).type == NAME
        if called or any(issubclass(kind, Distant) for kind in types):
            return compute(operation, args, kwargs)
        return operation(*args, **kwargs)


def install() -> torch.device:
    """Make the device known to torch, and replace the functions that make tensors from lists, which
    torch lets no hook see.
    """
    _setup_privateuseone_for_python_backend(NAME)
    library = torch.library.Library("_", "IMPL")
    library.fallback(
        lambda operation, *args, **kwargs: compute(operation, args, kwargs), "PrivateUse1"
    )
    make = torch.tensor
    torch.tensor = lambda data, *, device=None, **options: make(data, **options).to(device or "cpu")
    install.kept = library  # torch forgets the fallback with it
    return torch.device(NAME, 0)


def on_that_device() -> AbstractContextManager[None]:
    """Allow computing with tensors of the device within this context, in one thread, because torch
    has no other for it.
    """
    stack = ExitStack()
    stack.enter_context(Factories())
    stack.enter_context(torch.autograd.set_multithreading_enabled(False))
    return stack


def maps(method: NeuralODE, dtype: torch.dtype, place: Callable[[Tensor], Tensor]) -> Tensor:
    """Return the map forward of a scene whose tensors ``place`` puts on a device."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(1, 1, 5, 6, 5, generator=generator, dtype=dtype)
    fixed = F.interpolate(coarse, size=SIZE, mode="trilinear")
    scene = (fixed, torch.roll(fixed, 1, 2).square()), ((fixed > 0.3).to(dtype), fixed + 0.5)
    torch.manual_seed(1)
    images, masks = (tuple(map(place, tensors)) for tensors in scene)
    return method.velocity_between(*images, (1.0, 1.0, 1.0), *masks).forward


@cache
def maps_here(method: NeuralODE, dtype: torch.dtype) -> Tensor:
    """Return the map that is found on the CPU."""
    return maps(method, dtype, lambda tensor: tensor)


def compare(method: NeuralODE, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Return the distance between the maps that are found there and here, and the length of the
    latter, voxels.

    Here the usual map is found also for a method that is deterministic, because the CPU always is.
    """
    COMPUTED.clear()
    with on_that_device():
        there = maps(method, dtype, lambda tensor: tensor.to(device))
        if there.device != device:
            raise RuntimeError(f"The map came back from {device} on {there.device}.")
        there = there.to("cpu")
    operations = sorted(COMPUTED)
    here = maps_here(replace(method, deterministic=False), dtype)
    return {
        "apart": (there - here).abs().max().item(),
        "leads": here.abs().max().item(),
        "operations": operations,
    }


def main(parameters: dict[str, dict[str, Any]]) -> None:
    """Print distance and length for each name as JSON. Precision is double, for which the CPU has
    no kernels.
    """
    warnings.simplefilter("ignore")
    device = install()
    # Checkpointing asks the device's module for streams and threads that this one does not have.
    for module in (integrate, learned, mutual_information):
        module.checkpoint = lambda function, *arguments, **options: function(*arguments)
    methods = {name: make_method("neural-ode", given) for name, given in parameters.items()}
    found = {name: compare(method, device, torch.float64) for name, method in methods.items()}
    single = compare(
        make_method("neural-ode", {"levels": {"iterations": [3, 3]}}), device, torch.float32
    )
    print(json.dumps({**found, "single precision": single}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
