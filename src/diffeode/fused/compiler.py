"""Compilation of kernels with numba, and the decision where they are used."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import torch
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic
from torch import Tensor

from diffeode.process.threads import keep_to_the_limit

_LOG = logging.getLogger(__name__)

_FAST = {"contract", "reassoc", "nsz", "arcp"}
"""The liberties that the compiler may take with floating-point arithmetic (LLVM's fast-math flags).

It may fuse a product and a sum, reorder sums, ignore the sign of zero and multiply by a reciprocal.
It may not assume that no number is NaN or infinite: a descent stops at such an energy, so kernels
must pass it on.
"""


SECONDS = 120
"""CPU seconds that the compilation of all kernels took on an AMD EPYC."""


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` compiled by numba; use it as a decorator.

    It is compiled at its first call and kept on disk for later processes. Its loops over ``prange``
    run in parallel.
    """
    options = {"parallel": True, "fastmath": _FAST, "error_model": "numpy", "nogil": True}
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError as reason:
        _LOG.warning(
            "Compiled kernels cannot be kept on disk, so every process compiles them anew: %s",
            reason,
        )
        return numba.njit(function, **options)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` compiled into the kernels that call it; use it as a decorator.

    It is for pieces that several kernels share.
    """
    return numba.njit(function, fastmath=_FAST, error_model="numpy", inline="always")


def serves(*tensors: Tensor) -> bool:
    """Return whether kernels can work on these tensors: volumes ``(1, C, X, Y, Z)``, float32, CPU.

    The answer is no where the environment variable ``NUMBA_DISABLE_JIT`` is set. Kernels would then
    be interpreted, and take hours where torch takes seconds.
    """
    if numba.config.DISABLE_JIT or not all(map(_is_volume, tensors)):
        return False
    _compile_elsewhere()
    keep_to_the_limit()
    return True


def _is_volume(tensor: Tensor) -> bool:
    single = tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    return single and tensor.dim() == 5 and tensor.shape[0] == 1


def load_ahead() -> None:
    """Load what numba otherwise loads at the first call of a kernel; it starts no thread.

    This takes a quarter of a CPU second. Processes that are forked afterwards do not load it again.
    """
    cpu_target.typing_context.refresh()
    cpu_target.target_context.refresh()


@cache
def _compile_elsewhere() -> None:
    """Have another process compile the kernels and keep them on disk, unless they are there.

    Code that is read from the disk has been optimised once more than code that a process has
    compiled for itself, and sums in another order. The maps of the compiling process would differ
    in their last digits from those of all later processes. So no process uses what it has compiled
    itself.
    """
    mark = compiled_mark()
    if mark is None or mark.exists():
        return
    _LOG.warning(
        "Kernels are compiled for this processor, once; this takes about %d CPU seconds, which as "
        "many processes share as there are processors",
        SECONDS,
    )
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as complaints:
        with subprocess.Popen(
            [sys.executable, "-m", "diffeode.fused"],
            stdout=subprocess.PIPE,
            stderr=complaints,
            text=True,
        ) as child:
            for line in child.stdout or ():
                _LOG.warning("Kernels are compiled: %s", line.strip())
        if child.returncode:
            complaints.seek(0)
            _LOG.warning(
                "Kernels could not be compiled in a process of their own: %s",
                complaints.read().strip().rpartition("\n")[2],
            )


def compiled_mark() -> Path | None:
    """Return the path of the file that marks that all kernels lie compiled beside it.

    Its name is a hash of what makes numba compile anew: the dates and sizes of the sources, the
    processor, and the version of numba. Where nothing can be kept on disk, the result is None.
    """
    if numba.config.DISABLE_JIT:
        return None
    try:
        folder = Path(numba.njit(serves, cache=True).stats.cache_path)
    except RuntimeError:
        return None
    sources = sorted(Path(__file__).parent.glob("*.py"))
    states = [(source.name, source.stat().st_mtime_ns, source.stat().st_size) for source in sources]
    features = llvmlite.binding.get_host_cpu_features().flatten()
    processor = (
        llvmlite.binding.get_host_cpu_name(),
        features,
        numba.__version__,
        llvmlite.__version__,
    )
    return (
        folder / f"compiled-{hashlib.sha256(repr((states, processor)).encode()).hexdigest()[:16]}"
    )


@intrinsic
def _float_of_bits(typing_context, bits):
    """Return the float32 that has the same bits as an int32."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@inlined
def exponential_of_negative(x):
    """Return ``exp(x)`` of a float32 ``x <= 0``, with a relative error below 3e-7.

    It takes sums, products and integer arithmetic alone, which the compiler can vectorise.
    """
    # exp(x) = 2^t with t = x / ln 2. Below 2^-126 float32 has no normal numbers.
    t = max(x * numba.float32(1.4426950408889634), numba.float32(-126.0))
    # t = whole + 1/2 + f with -1/2 < f <= 1/2; the conversion to int rounds towards 0.
    whole = numba.int32(t) - numba.int32(1)
    f = t - numba.float32(whole) - numba.float32(0.5)
    # 2^f = exp(f ln 2) by the exponential series up to the seventh power.
    f = f * numba.float32(0.6931471805599453)
    p = numba.float32(1.0 / 5040.0)
    p = p * f + numba.float32(1.0 / 720.0)
    p = p * f + numba.float32(1.0 / 120.0)
    p = p * f + numba.float32(1.0 / 24.0)
    p = p * f + numba.float32(1.0 / 6.0)
    p = p * f + numba.float32(0.5)
    p = p * f + numba.float32(1.0)
    p = p * f + numba.float32(1.0)
    # 2^t = 2^f sqrt(2) 2^whole. A float32 with the exponent 127 + whole, which lies 23 bits from
    # the right, and a mantissa of 0 is 2^whole; for whole = -127 it is 0.
    return (
        p
        * numba.float32(1.4142135623730951)
        * _float_of_bits((whole + numba.int32(127)) << numba.int32(23))
    )
