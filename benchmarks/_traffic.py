"""Count the bytes that torch's operations read and write, and those that are held at once, on any
device.
"""

from __future__ import annotations

import math
import weakref
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_BLIND = ("new_", "zeros_like", "ones_like")
"""Beginnings of the names of operations that read only the shape of their arguments."""
_WIDENED = (torch.ops.aten.avg_pool3d, torch.ops.aten.avg_pool3d_backward)
"""Operations that a CPU has in single and double precision only. In half precision they are
computed in single, and counted as half.
"""


@final
class Traffic(TorchDispatchMode):
    """Counts operations and their bytes while this context is entered.

    Every operation is taken to read each of its tensors once and to write its result. Views cost
    nothing, and neither do the repetitions of an expanded tensor. Bytes that an operation moves
    within itself (the columns of a convolution, the passes of a cumulative sum) are not seen, and
    bytes that a cache saves are counted.

    Attributes:
        operations: number of operations that read or write memory.
        bytes_moved: bytes that they read and wrote.
        bytes_held: the most bytes of tensors made here that were held at one time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.operations = self.bytes_moved = self.bytes_held = 0
        self._held: dict[int, int] = {}

    def __torch_dispatch__(
        self, operation: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        result = _computed(operation, args, kwargs)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        if operation.is_view or operation.overloadpacket.__name__.startswith(
            ("empty", "new_empty")
        ):
            self._hold(made)
            return result
        blind = operation.overloadpacket.__name__.startswith(_BLIND)
        taken = (
            []
            if blind
            else [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        )
        self.operations += 1
        self.bytes_moved += sum(map(_bytes, [*taken, *made]))
        self._hold(made)
        return result

    def _hold(self, tensors: list[Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            if storage._cdata not in self._held:
                self._held[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self._held.pop, storage._cdata, None)
        self.bytes_held = max(self.bytes_held, sum(self._held.values()))


def _computed(operation: Any, args: Any, kwargs: Any) -> Any:
    halves = (
        operation.overloadpacket in _WIDENED
        and args[0].dtype == torch.half
        and args[0].device.type == "cpu"
    )
    if not halves:
        return operation(*args, **kwargs)
    return operation(
        *(value.float() if isinstance(value, Tensor) else value for value in args), **kwargs
    ).half()


def _bytes(tensor: Tensor) -> int:
    distinct = (n for n, step in zip(tensor.shape, tensor.stride(), strict=True) if step)
    return math.prod(distinct) * tensor.element_size()
