"""The number of threads is the one that was asked for, whatever started a pool of threads before;
each case has a process of its own.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

BEFORE = {
    "nothing": "",
    "torch": "(torch.ones(10**6) + 1).sum()",
    "torch, limited": "torch.set_num_threads(1); (torch.ones(10**6) + 1).sum()",
    "kernels": "from diffeode.fused.__main__ import _folding; _folding()",
}
_FORKING = """
import json, os, sys
import diffeode.methods.neural_ode, diffeode.process.threads, numba, torch
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        exec(json.loads(line), {"__name__": "__main__"})
        sys.stdout.flush()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(f"ended {os.waitstatus_to_exitcode(status)}", flush=True)
"""
"""It imports what takes seconds, and forks for every program; no thread has started in it."""


@pytest.fixture(scope="module")
def printed() -> Iterator[Callable[[str], str]]:
    """A function that runs a program in a process of its own, and returns what it prints."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    command = [sys.executable, "-c", _FORKING]
    with subprocess.Popen(command, env=environment, text=True, **pipes) as forking:

        def run(program: str) -> str:
            forking.stdin.write(json.dumps(program) + "\n")
            forking.stdin.flush()
            lines = []
            while not (line := forking.stdout.readline()).startswith("ended "):
                assert line, "the process that forks has ended"
                lines.append(line)
            assert line == "ended 0\n", "the program failed: see above"
            return "".join(lines).strip()

        yield run


@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE.keys())
def test_both_run_on_what_was_asked(printed, before):
    assert (
        printed(f"""
import numba, torch
from diffeode.process.threads import use_threads
{before}
use_threads(1)
from diffeode.fused.__main__ import _folding
_folding()
print(torch.get_num_threads(), numba.get_num_threads())
""")
        == "1 1"
    )


@pytest.mark.parametrize(
    ("limit", "before", "after", "used"),
    [
        ("1", "", "", 1),
        ("1,2", "", "", 1),
        ("64", "", "", 2),
        ("none", "", "", 2),
        ("1", "", "use_threads(2)", 2),
        ("1", "use_threads(2)", "", 2),
        ("2", "use_threads(1)", "", 1),
    ],
)
def test_kernels_keep_to_the_limit_of_the_surroundings(printed, limit, before, after, used):
    """Unless a number is asked for; numba alone would use both of two processors."""
    program = f"""
import os
os.environ["OMP_NUM_THREADS"] = {limit!r}
import numba, torch
numba.config.NUMBA_NUM_THREADS = 2
from diffeode.fused.compiler import serves
from diffeode.process.threads import use_threads
{before}
assert serves(torch.zeros(1, 1, 2, 2, 2))
{after}
print(numba.get_num_threads())
"""
    assert printed(program) == str(used)


def test_no_more_than_there_are_processors(printed):
    assert (
        printed("""
import numba, torch
from diffeode.process.threads import use_threads
use_threads(10**6)
print(torch.get_num_threads() == numba.get_num_threads() == numba.config.NUMBA_NUM_THREADS)
""")
        == "True"
    )


def test_they_are_given_back(printed):
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


def test_a_map_does_not_know_what_torch_did_before(printed):
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
