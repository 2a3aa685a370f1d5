"""Kernels are compiled by a process of their own, once, and read from the disk by all others."""

import logging
import subprocess
import sys

import pytest
import torch

from diffeode.fused import compiler


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A cache folder in which nothing is compiled yet, for a process that has not looked."""
    monkeypatch.setattr(compiler, "compiled_mark", lambda: tmp_path / "compiled")
    compiler._compile_elsewhere.cache_clear()
    yield tmp_path
    compiler._compile_elsewhere.cache_clear()


@pytest.fixture
def started(monkeypatch):
    """The commands that are started, which all fail."""
    commands = []

    class Failing:
        """A process that tells how far it is, and then fails."""

        returncode = 1
        stdout = ("26% done, about 70 seconds left\n",)

        def __init__(self, command, stderr, **options):
            commands.append(command)
            stderr.write("Traceback\nOSError: no room\n")

        def __enter__(self):
            return self

        def __exit__(self, *exception):
            pass

    monkeypatch.setattr(subprocess, "Popen", Failing)
    return commands


VOLUME = torch.zeros(1, 1, 2, 2, 2)


def test_another_process_compiles_once_and_a_failure_is_said(folder, started, caplog):
    with caplog.at_level(logging.WARNING):
        assert compiler.serves(VOLUME)
        assert compiler.serves(VOLUME)
    assert started == [[sys.executable, "-m", "diffeode.fused"]]
    assert f"about {compiler.SECONDS} CPU seconds" in caplog.text
    assert "Kernels are compiled: 26% done, about 70 seconds left" in caplog.text
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
    """Every similarity that has kernels is used; code that the process compiled itself would sum in
    another order.
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
