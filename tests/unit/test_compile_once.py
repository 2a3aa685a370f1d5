"""Jobs that start at the same time compile the kernels once."""

import multiprocessing
import re
import time

import numpy as np
import pytest
import torch

from diffeode.fused import __main__ as program

MEASURED = [
    (22.3, 5.7, 14.0, 9.5, 8.7, 45.9, 29.5, 6.1, 10.0),
]
"""Seconds that the steps of real compilations took, each on its machine."""


@pytest.fixture
def compilations(tmp_path, monkeypatch):
    """The file to which each compilation writes a line; nothing is compiled."""
    mark, noted = tmp_path / "cache" / "compiled-0", tmp_path / "noted"

    def compile_all(tell) -> None:
        with noted.open("a") as file:
            file.write("compiled\n")
        time.sleep(0.5)
        mark.touch()

    monkeypatch.setattr(program, "compiled_mark", lambda: mark)
    monkeypatch.setattr(program, "compile_all", compile_all)
    return noted


def test_others_wait_for_the_first(compilations):
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=program.compile_once) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert compilations.read_text() == "compiled\n"


def test_without_a_place_on_disk_each_process_compiles(compilations, monkeypatch, tmp_path):
    monkeypatch.setattr(program, "compiled_mark", lambda: None)
    (tmp_path / "cache").mkdir()
    program.compile_once()
    program.compile_once()
    assert compilations.read_text() == "compiled\n" * 2


@pytest.fixture
def told(tmp_path, monkeypatch):
    """Runs all steps, of which each takes some seconds and compiles nothing; returns what was
    told.
    """
    monkeypatch.setattr(program, "compiled_mark", lambda: tmp_path / "mark")

    def run(steps, seconds):
        clock = iter(np.cumsum([10.0, *seconds]))
        monkeypatch.setattr(program.time, "monotonic", lambda: next(clock))
        monkeypatch.setattr(program, "_STEPS", steps)
        said = []
        program.compile_all(said.append)
        return said

    return run


def test_it_is_told_how_far_the_compilation_is(told, tmp_path):
    """By the time that was needed so far."""
    loss = torch.zeros((), requires_grad=True)
    steps = {lambda: 1 * loss: 25, lambda: 2 * loss: 55, lambda: None: 20}
    assert told(steps, (5, 15, 2)) == [
        "25% done, about 15 seconds left",
        "80% done, about 5 seconds left",
    ]
    assert (tmp_path / "mark").exists()
    assert loss.grad == 3


@pytest.mark.parametrize("seconds", MEASURED)
def test_the_time_that_is_left_is_right_within_a_factor_of_two(told, seconds):
    assert len(seconds) == len(program._STEPS)
    weights = program._STEPS.values()
    said = told({lambda n=n: None: weight for n, weight in enumerate(weights)}, seconds)
    left = [float(re.search(r"about (\d+) seconds left", message)[1]) for message in said]
    true = np.cumsum(seconds[:0:-1])[::-1]
    assert len(left) == len(true)
    assert (np.abs(np.log2(np.array(left) / true)) < 1).all()
