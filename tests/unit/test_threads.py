"""The number of threads is the one that was asked for, whatever started a pool of threads before;
each case has a process of its own.
"""

import subprocess
import sys

import pytest

BEFORE = {
    "nothing": "",
    "torch": "(torch.ones(10**6) + 1).sum()",
    "torch, limited": "torch.set_num_threads(1); (torch.ones(10**6) + 1).sum()",
    "kernels": "from diffeode.fused.__main__ import compile_all; compile_all()",
}


def printed(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE.keys())
def test_both_run_on_what_was_asked(before):
    assert (
        printed(f"""
import numba, torch
from diffeode.process.threads import use_threads
{before}
use_threads(1)
from diffeode.fused.__main__ import compile_all
compile_all()
print(torch.get_num_threads(), numba.get_num_threads())
""")
        == "1 1"
    )


def test_no_more_than_there_are_processors():
    assert (
        printed("""
import numba, torch
from diffeode.process.threads import use_threads
use_threads(10**6)
print(torch.get_num_threads() == numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS)
""")
        == "True"
    )


def test_they_are_given_back():
    assert (
        printed("""
import torch, numba
from diffeode.process.threads import on_threads
torch.set_num_threads(3)
(torch.ones(10**6) + 1).sum()
with on_threads(1):
    print(torch.get_num_threads(), numba.get_num_threads(), end=" ")
print(torch.get_num_threads())
""")
        == "1 1 3"
    )


def test_a_map_does_not_know_what_torch_did_before():
    """Sums of many values depend on the number of threads, so another number would change the
    map.
    """
    program = """
import hashlib, numpy as np, torch
from diffeode.geometry.image import Image, foreground
from diffeode.registration.base import Machine, Pair
from diffeode.methods.neural_ode import Levels, LocalCorrelation, Mind, MutualInformation, NeuralODE
from diffeode.geometry.space import Grid
{before}
values = np.random.default_rng(7).random((40, 40, 40), dtype=np.float32)
fixed, moving = (Image(v, Grid(v.shape, np.eye(4))) for v in (values, values[::-1].copy()))
similarity = (Mind(), MutualInformation(normalised=True), LocalCorrelation())
method = NeuralODE(similarity, levels=Levels((1.0,), (3,)))
pair = Pair(fixed, moving, foreground(fixed), foreground(moving))
moved = method.register(pair, Machine(threads=1, seed=0)).forward.displacement_mm
print(hashlib.sha256(moved.tobytes()).hexdigest())
"""
    assert printed(program.format(before="")) == printed(
        program.format(before=BEFORE["torch, limited"])
    )
