"""Compiling kernels with numba, and deciding where they serve."""

from __future__ import annotations

import hashlib
import logging
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding
import numba
import torch
from numba import types
from numba.extending import intrinsic
from torch import Tensor

_LOG = logging.getLogger(__name__)

_FAST = {"contract", "reassoc", "nsz", "arcp"}
"""Sums may be reordered and multiply-adds fused; that nothing is NaN or infinite is not assumed."""


def kernel(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` compiled at its first call, ``prange`` in parallel, and kept on disk between
    processes.
    """
    options = {"parallel": True, "fastmath": _FAST, "error_model": "numpy", "nogil": True}
    try:
        return numba.njit(function, cache=True, **options)
    except RuntimeError as reason:
        _LOG.warning("Compiled kernels cannot be kept, so every process waits: %s", reason)
        return numba.njit(function, **options)


def inlined(function: Callable[..., Any]) -> Callable[..., Any]:
    """A piece of kernels."""
    return numba.njit(function, fastmath=_FAST, error_model="numpy", inline="always")


def serves(*tensors: Tensor) -> bool:
    """Whether kernels can work on these: volumes ``(1, C, X, Y, Z)`` in float32 on the CPU.

    None does where ``NUMBA_DISABLE_JIT`` is set: interpreted, they would take hours where torch
    takes seconds.
    """
    if numba.config.DISABLE_JIT or not all(map(_is_volume, tensors)):
        return False
    _compile_elsewhere()
    return True


def _is_volume(tensor: Tensor) -> bool:
    single = tensor.dtype == torch.float32 and tensor.device.type == "cpu"
    return single and tensor.dim() == 5 and tensor.shape[0] == 1


@cache
def _compile_elsewhere() -> None:
    """Have another process compile the kernels and keep them on disk, where none has yet.

    numba optimises what it keeps once more, so code that a process compiled for itself sums in
    another order than the
    same code from the disk: its maps would differ in their last digits from everyone's after it.
    """
    mark = compiled_mark()
    if mark is None or mark.exists():
        return
    _LOG.warning("Compiling kernels for this processor, once: one or two minutes")
    done = subprocess.run(
        [sys.executable, "-m", "diffeode.fused"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        _LOG.warning(
            "Kernels could not be compiled beforehand: %s", done.stderr.strip().rpartition("\n")[2]
        )


def compiled_mark() -> Path | None:
    """The file that says that all kernels lie compiled beside it; None where nothing can be kept.

    Its name holds what numba compiles anew for: the sources and their dates, the processor, its own
    version.
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
    """The float32 that an int32 spells."""

    def generate(context, builder, signature, arguments):
        return builder.bitcast(arguments[0], context.get_value_type(types.float32))

    return types.float32(types.int32), generate


@inlined
def exponential_of_negative(x):
    """``exp(x)`` of a float32 ``x <= 0`` within 3e-7 relative, in arithmetic that the compiler can
    vectorise.
    """
    t = max(x * numba.float32(1.4426950408889634), numba.float32(-126.0))
    whole = numba.int32(t) - numba.int32(1)
    f = t - numba.float32(whole) - numba.float32(0.5)
    # 2^f = sqrt(2) 2^(f - 1/2), by the exponential series around the middle of [0, 1].
    f = f * numba.float32(0.6931471805599453)
    p = numba.float32(1.0 / 5040.0)
    p = p * f + numba.float32(1.0 / 720.0)
    p = p * f + numba.float32(1.0 / 120.0)
    p = p * f + numba.float32(1.0 / 24.0)
    p = p * f + numba.float32(1.0 / 6.0)
    p = p * f + numba.float32(0.5)
    p = p * f + numba.float32(1.0)
    p = p * f + numba.float32(1.0)
    return (
        p
        * numba.float32(1.4142135623730951)
        * _float_of_bits((whole + numba.int32(127)) << numba.int32(23))
    )
