"""Jobs that start at the same time compile the kernels once."""

import heapq
import multiprocessing
import time

import pytest
import torch

from diffeode.fused import __main__ as program

MEASURED = [
    (45.9, 29.5, 22.3, 14.0, 8.7, 9.5, 10.0, 6.1, 5.7),
    (36.0, 25.5, 25.1, 13.2, 10.1, 8.8, 7.2, 6.3, 5.9),
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


@pytest.mark.parametrize("processors", [1, 2])
def test_every_step_is_done_once_and_it_is_told_how_far_the_compilation_is(
    tmp_path, monkeypatch, processors
):
    """A step that returns a loss wants its gradient, too."""
    noted = tmp_path / "noted"

    def note(text):
        with noted.open("a") as file:
            file.write(f"{text}\n")

    def with_gradient():
        loss = torch.zeros((), requires_grad=True)
        loss.register_hook(lambda gradient: note("gradient"))
        return loss

    steps = {with_gradient: 25, lambda: note("second"): 55, lambda: note("third"): 20}
    monkeypatch.setattr(program, "compiled_mark", lambda: tmp_path / "mark")
    monkeypatch.setattr(program, "_STEPS", steps)
    monkeypatch.setattr(program.numba.config, "NUMBA_NUM_THREADS", processors)
    said = []
    program.compile_all(said.append)
    assert sorted(noted.read_text().split()) == ["gradient", "second", "third"]
    assert (tmp_path / "mark").exists()
    assert len(said) == 2
    if processors == 1:
        assert [message.split(",")[0] for message in said] == ["25% done", "80% done"]


def test_a_step_that_fails_ends_the_compilation_and_leaves_no_mark(tmp_path, monkeypatch):
    def failing():
        raise OSError("no room")

    monkeypatch.setattr(program, "compiled_mark", lambda: tmp_path / "mark")
    monkeypatch.setattr(program, "_STEPS", {lambda: None: 1, failing: 1})
    with pytest.raises(OSError, match="no room"):
        program.compile_all()
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("seconds", MEASURED)
@pytest.mark.parametrize("processors", [1, 2, 4, 16])
def test_the_time_that_is_left_is_right_within_a_factor_of_two(seconds, processors):
    """Of steps that processes take one after the other, but for the last tenth of the time."""
    weights = list(program._STEPS.values())
    assert len(seconds) == len(weights)
    free, ends = [0.0] * min(processors, len(weights)), []
    for taken in seconds:
        begun = heapq.heappop(free)
        ends.append(begun + taken)
        heapq.heappush(free, ends[-1])
    spent = done = 0.0
    for end, taken, weight in sorted(zip(ends, seconds, weights, strict=True)):
        spent, done = spent + taken, done + weight
        left = program.seconds_left(weights, processors, spent / done, end)
        if (true := max(ends) - end) > max(ends) / 10:
            assert 1 / 2 < left / true < 2
