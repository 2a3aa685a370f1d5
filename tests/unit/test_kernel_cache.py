"""Kernels are compiled by a process of their own, once, and read from the disk by all others."""

import logging
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from diffeode.fused import compiler


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """No kernel is compiled yet, and the process has not looked for any."""
    monkeypatch.setattr(compiler, "compiled_mark", lambda: tmp_path / "compiled")
    compiler._compile_elsewhere.cache_clear()
    yield tmp_path
    compiler._compile_elsewhere.cache_clear()


@pytest.fixture
def started(monkeypatch):
    """The commands that were started; all of them fail."""
    commands = []

    def start(command, **options):
        commands.append(command)
        return SimpleNamespace(returncode=1, stderr="Traceback\nOSError: no room\n")

    monkeypatch.setattr(subprocess, "run", start)
    return commands


VOLUME = torch.zeros(1, 1, 2, 2, 2)


def test_another_process_compiles_once_and_a_failure_is_said(folder, started, caplog):
    with caplog.at_level(logging.WARNING):
        assert compiler.serves(VOLUME)
        assert compiler.serves(VOLUME)
    assert started == [[sys.executable, "-m", "diffeode.fused"]]
    assert "OSError: no room" in caplog.text


def test_nothing_is_compiled_again(folder, started):
    (folder / "compiled").touch()
    assert compiler.serves(VOLUME)
    assert started == []


def test_nothing_is_compiled_for_what_kernels_do_not_serve(folder, started):
    assert not compiler.serves(VOLUME.double())
    assert started == []


def test_edited_sources_are_compiled_anew(tmp_path, monkeypatch):
    (tmp_path / "kernels.py").write_text("")
    monkeypatch.setattr(compiler, "__file__", str(tmp_path / "compiler.py"))
    before = compiler.compiled_mark()
    (tmp_path / "kernels.py").write_text("\n")
    assert compiler.compiled_mark() != before
    assert compiler.compiled_mark().parent == before.parent


def test_a_registration_finds_every_kernel_compiled():
    """The map is the same with every similarity that has kernels, though code that a process
    compiled itself sums in another order.
    """
    program = """
import gc, torch
from numba.core.registry import CPUDispatcher
from diffeode.methods.neural_ode import (
    GradientFields, Levels, LocalCorrelation, Mind, MutualInformation, NeuralODE
)
image = torch.rand((1, 1, 16, 18, 20), generator=torch.Generator().manual_seed(7))
others = (Mind(), MutualInformation(normalised=True), GradientFields())
for squared in (True, False):
    method = NeuralODE((*others, LocalCorrelation(squared=squared)), levels=Levels((2.0, 1.0), (2, 2)))
    method.velocity_between(image, image.flip(2), (1.0, 1.2, 1.0)).inverse
dispatchers = [thing for thing in gc.get_objects() if isinstance(thing, CPUDispatcher)]
ours = [one.stats for one in dispatchers if one.py_func.__module__.startswith("diffeode.")]
print(sum(bool(stats.cache_hits) for stats in ours) > 10, sum(bool(stats.cache_misses) for stats in ours))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "True 0"
