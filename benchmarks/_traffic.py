"""How many bytes torch's operations read and write, and how many are held at once; counted, on any
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
"""Operations that only look at the shape of what they are given."""
_WIDENED = (torch.ops.aten.avg_pool3d, torch.ops.aten.avg_pool3d_backward)
"""A CPU knows them in single and double precision only; in half they are counted as if it did."""


@final
class Traffic(TorchDispatchMode):
    """Counts while it is entered.

    Every operation reads each of its tensors once and writes what it returns; views cost nothing,
    nor does what an expanded one repeats. What an operation
    moves within itself (a convolution's columns, a cumulative sum's passes) is not seen, nor what a
    cache saves.

    Attributes:
        operations: that read or write memory.
        bytes_moved: read and written.
        bytes_held: of the tensors made here, at most at any time.
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
