"""Jobs that start at the same time compile the kernels once."""

import multiprocessing
import time

import pytest
import torch

from diffeode.fused import __main__ as program


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


def test_it_is_told_how_far_the_compilation_is(tmp_path, monkeypatch):
    """By the time that was needed so far; nothing is compiled."""
    clock = iter([10.0, 15.0, 30.0])
    monkeypatch.setattr(program.time, "monotonic", lambda: next(clock))
    loss = torch.zeros((), requires_grad=True)
    monkeypatch.setattr(program, "_LOSSES", {lambda: 1 * loss: 0.25, lambda: 2 * loss: 0.55})
    monkeypatch.setattr(program, "_others", lambda: None)
    monkeypatch.setattr(program, "compiled_mark", lambda: tmp_path / "mark")
    told = []
    program.compile_all(told.append)
    assert told == ["25% done, about 15 seconds left", "80% done, about 5 seconds left"]
    assert (tmp_path / "mark").exists()
    assert loss.grad == 3
