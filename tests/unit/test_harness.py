"""The harness treats every method alike: one clock, one seed, one way to write, one way to fail."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import ClassVar, final
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from diffeode.errors import InputError, RegistrationError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, warp_image
from diffeode.process.watch import Terminated
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.receipt import damage, read_receipt
from diffeode.registration import harness
from diffeode.registration.base import Machine, Method, Needs, Registration
from diffeode.registration.harness import Task, register, register_to_folder
from diffeode.registration.runs import Run

GRID = Grid(
    (10, 12, 11), np.array([[-2.0, 0, 0, 60], [0, 1.5, 0, -80], [0, 0, 1.0, -40], [0, 0, 0, 1]])
)
SCAN_GRID = Grid(
    (13, 11, 12),
    np.diag([1.7, 1.6, 1.5, 1])
    + np.array([[0, 0, 0, 38], [0, 0, 0, -80], [0, 0, 0, -42], [0] * 4]),
)
ALIGNMENT = Affine(
    np.array([[1.05, 0.02, 0, 1.0], [0, 0.97, 0.01, -2.0], [0, 0, 1.02, 0.5], [0, 0, 0, 1]])
)
STEP_MM = np.array([1.5, -1.0, 2.0])


def noise(grid, seed):
    return Image(np.random.default_rng(seed).uniform(0.1, 1, grid.shape), grid)


def a_task():
    scan = noise(SCAN_GRID, 1)
    return Task(noise(GRID, 0), warp_image(scan, ALIGNMENT, GRID), scan, ALIGNMENT)


@pytest.fixture
def task():
    return a_task()


@dataclass(frozen=True)
class FakeRun:
    """A run whose method is passed in instead of being looked up."""

    made: Method
    name: str = "fake"
    method: str = "fake"
    title: str = "Fake"
    parameters: tuple = ()

    def build(self):
        return self.made


class Fake(Method):
    """A method whose arguments are no hyper-parameters, so they are not declared or checked as
    such.
    """

    title: ClassVar[str] = "Fake"
    citation: ClassVar[str] = "None: it exists in a test."

    def __post_init__(self):
        pass


@final
@dataclass(frozen=True)
class Stepping(Fake):
    """Finds a constant displacement, with or without its inverse."""

    with_inverse: bool = True

    def register(self, pair, machine):
        field = np.broadcast_to(STEP_MM, (*pair.fixed.grid.shape, 3))
        inverse = DisplacementField(-field, pair.fixed.grid) if self.with_inverse else None
        return Registration(
            DisplacementField(field, pair.fixed.grid), inverse, ({"loss": 1.0}, {"loss": 0.5})
        )


@final
@dataclass(frozen=True)
class Noting(Fake):
    def register(self, pair, machine):
        return Registration(Affine(), Affine(), notes=("it was a dark night",))


@final
@dataclass(frozen=True)
class Raising(Fake):
    error: BaseException

    def register(self, pair, machine):
        raise self.error


@final
@dataclass(frozen=True)
class Returning(Fake):
    """Returns a displacement with one bad vector."""

    value: float = np.nan

    def register(self, pair, machine):
        field = np.zeros((*pair.fixed.grid.shape, 3))
        field[3, 3, 3] = self.value
        return Registration(DisplacementField(field, pair.fixed.grid))


@final
@dataclass(frozen=True)
class Allocating(Fake):
    megabytes: int

    def register(self, pair, machine):
        block = np.ones(self.megabytes * 1_000_000, dtype=np.uint8)
        return Registration(Affine(), Affine(), ({"sum": float(block.sum())},))


@final
@dataclass(frozen=True)
class AllocatingInAChild(Fake):
    megabytes: int

    def register(self, pair, machine):
        code = f"block = b'1' * {self.megabytes * 1_000_000}; print('there', flush=True); input()"
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        _wait_until_memory_was_looked_at(times=1)
        with subprocess.Popen([sys.executable, "-c", code], text=True, **pipes) as child:
            child.stdout.readline()
            _wait_until_memory_was_looked_at(times=harness._SAMPLES_PER_SEARCH + 1)
            child.communicate("\n")
        return Registration(Affine(), Affine())


def _wait_until_memory_was_looked_at(times):
    """Wait until memory was measured so many times after this call. Processes are searched for at
    one of ten measurements, so one of eleven saw all that were there at this call.
    """
    looks = threading.Semaphore(0)
    look = harness._resident_bytes

    def counted(process):
        found = look(process)
        looks.release()
        return found

    with mock.patch.object(harness, "_resident_bytes", counted):
        for _ in range(times):
            assert looks.acquire(timeout=600)


@final
@dataclass(frozen=True)
class Working(Fake):
    """Computes for some seconds of processor time, and as long again in a child process."""

    cpu_seconds: float

    def register(self, pair, machine):
        until = time.process_time() + self.cpu_seconds
        while time.process_time() < until:
            pass
        code = f"import time\nwhile time.process_time() < {self.cpu_seconds}: pass"
        subprocess.run([sys.executable, "-c", code], check=True)
        return Registration(Affine(), Affine())


@final
@dataclass(frozen=True)
class Waiting(Fake):
    """Takes some seconds of a clock that only it moves."""

    clock: "Clock"
    seconds: float = 5.0

    def register(self, pair, machine):
        self.clock.now += self.seconds
        return Registration(Affine(), Affine())


@dataclass
class Clock:
    """Stands for ``time`` in the harness, and stands still unless it is moved."""

    now: float = 100.0

    def perf_counter(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    """The harness reads this clock instead of the machine's."""
    standing = Clock()
    monkeypatch.setattr("diffeode.registration.harness.time", standing)
    return standing


@final
@dataclass(frozen=True)
class Dying(Fake):
    """A tool whose process is killed, as for lack of memory, or never ends."""

    how: str = "killed"

    def register(self, pair, machine):
        if self.how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)


@final
@dataclass(frozen=True)
class Wandering(Fake):
    """Draws from every global generator a method might use."""

    needs: ClassVar[Needs] = Needs(packages=("torch",))

    def register(self, pair, machine):
        import torch

        step = [random.random(), np.random.rand(), float(torch.rand(()))]
        return Registration(
            DisplacementField(np.broadcast_to(step, (*pair.fixed.grid.shape, 3)), pair.fixed.grid)
        )


# ---------------------------------------------------------------------------------------- a success


def test_whole_map_is_the_alignment_after_the_method(task):
    result = register(Stepping(), task, Machine())
    points = GRID.points_mm()
    np.testing.assert_allclose(result.warp(points), ALIGNMENT(points + STEP_MM), atol=1e-4)
    on_scan = SCAN_GRID.points_mm()
    assert result.inverse_warp.grid is task.moving_scan.grid
    np.testing.assert_allclose(
        result.inverse_warp(on_scan), ALIGNMENT.inverse()(on_scan) - STEP_MM, atol=1e-4
    )
    assert result.inverse_origin == "method"


def test_what_a_method_noted_is_in_the_receipt_and_in_the_log(task, tmp_path, capsys):
    assert register_to_folder(FakeRun(Noting()), task, Machine(), tmp_path, {})
    assert read_receipt(tmp_path / "receipt.json")["notes"] == ["it was a dark night"]
    assert capsys.readouterr().err.splitlines()[0] == "fake: it was a dark night"


def test_missing_inverse_is_made_and_said_to_be_numerical(task):
    result = register(Stepping(with_inverse=False), task, Machine())
    assert result.inverse_origin == "numerical"
    claimed = register(Stepping(), task, Machine())
    np.testing.assert_allclose(
        result.inverse_warp.displacement_mm, claimed.inverse_warp.displacement_mm, atol=1e-3
    )


def test_the_method_sees_the_aligned_pair_and_its_brains(task):
    pair = task.pair()
    assert pair.moving.grid is GRID
    np.testing.assert_array_equal(pair.fixed_mask, task.fixed.data > 0)
    np.testing.assert_array_equal(pair.moving_mask, task.moving.data > 0)


def test_a_finished_unit_is_whole_and_says_how_it_was_made(task, tmp_path):
    machine = Machine(threads=1, seed=7)
    assert register_to_folder(FakeRun(Stepping()), task, machine, tmp_path, {"pair": "a__b"})
    assert damage(tmp_path / "receipt.json", Checksums(thorough=True)) is None
    receipt = read_receipt(tmp_path / "receipt.json")
    assert receipt["status"] == "done"
    assert (receipt["pair"], receipt["run"], receipt["seed"], receipt["inverse_origin"]) == (
        "a__b",
        "fake",
        7,
        "method",
    )
    assert receipt["peak_memory_mb"] > 10
    assert set(receipt["outputs"]) == {
        "warp.nii.gz",
        "inverse_warp.nii.gz",
        "warped.nii.gz",
        "trace.tsv",
    }
    assert pd.read_csv(tmp_path / "trace.tsv", sep="\t")["loss"].tolist() == [1.0, 0.5]
    warped = io.read_image(tmp_path / "warped.nii.gz")
    expected = warp_image(task.moving_scan, io.read_displacement(tmp_path / "warp.nii.gz"), GRID)
    np.testing.assert_allclose(warped.data, expected.data, atol=1e-5)


# -------------------------------------------------------------------------------------------- costs


def test_seconds_are_those_of_the_method_alone(task, clock, tmp_path):
    assert register(Waiting(clock), task, Machine()).seconds == 5
    assert register_to_folder(FakeRun(Waiting(clock, 7.25)), task, Machine(), tmp_path, {})
    assert read_receipt(tmp_path / "receipt.json")["seconds"] == 7.25


def test_seconds_of_processors_are_counted_in_the_process_and_its_children(task, tmp_path):
    """Both compute for 0.3 s; the rest is the start of Python, and that the system counts in
    hundredths.
    """
    before = os.times()
    found = register(Working(0.3), task, Machine()).cpu_seconds
    used = sum(os.times()[:4]) - sum(before[:4])
    assert 0.58 <= found <= used + 0.05
    assert register_to_folder(FakeRun(Working(0.3)), task, Machine(), tmp_path, {})
    assert read_receipt(tmp_path / "receipt.json")["cpu_seconds"] >= 0.58


def peaks_mb(methods):
    """Peak memory of one method after the other."""
    return [register(method, a_task(), Machine()).peak_memory_mb for method in methods]


@pytest.fixture(scope="module")
def fresh_process():
    """Call a function in a process of its own, whose allocator holds no memory of earlier tests."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        yield lambda call, *given: pool.submit(call, *given).result(timeout=600)


@pytest.mark.parametrize("heavy", [Allocating(300), AllocatingInAChild(300)])
def test_peak_memory_shows_what_a_method_allocated(fresh_process, heavy):
    before, during = fresh_process(peaks_mb, [Stepping(), heavy])
    assert 280 < during - before < 450


def test_memory_freed_by_one_method_is_not_charged_to_the_next(fresh_process):
    heavy, light = fresh_process(peaks_mb, [Allocating(400), Stepping()])
    assert light < heavy - 300


def test_importing_packages_is_not_on_the_clock(task, tmp_path, monkeypatch, clock):
    (tmp_path / "slow_to_import.py").write_text(
        "import warnings\nfrom diffeode.registration.harness import time\n"
        "time.now += 1000; warnings.simplefilter('ignore')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(Waiting, "needs", Needs(packages=("slow_to_import",)))
    filters = list(warnings.filters)
    seconds = register(Waiting(clock), task, Machine()).seconds
    assert clock.now == 1105
    assert seconds == 5
    assert list(warnings.filters) == filters, "what a package does to the warnings is undone"


# -------------------------------------------------------------------------------------------- seeds


def test_same_seed_makes_a_random_method_repeat_itself(task):
    """There is no alignment here, which would mix the three components and so the three
    generators.
    """
    unaligned = Task(task.fixed, task.fixed, task.fixed, Affine())
    first, again, other = (
        register(Wandering(), unaligned, Machine(seed=s)).warp.displacement_mm for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(first, again)
    step = other[0, 0, 0] - first[0, 0, 0]
    assert (np.abs(step) > 1e-3).all(), "each of the three generators was seeded"


# ----------------------------------------------------------------------------------------- failures


@pytest.mark.parametrize(
    ("method", "reason"),
    [
        (Raising(RegistrationError("The images do not overlap.")), "The images do not overlap."),
        (Raising(InputError("Parameter x is 3; it must be 4.")), "Parameter x is 3; it must be 4."),
        (Raising(ValueError("bad shape\nsecond line")), "ValueError: bad shape"),
        (
            Raising(MemoryError()),
            "Out of memory (MemoryError); give it more memory or coarser scans.",
        ),
        (
            Raising(RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")),
            "Out of memory (CUDA out of memory. Tried to allocate 2.00 GiB.); give it more memory "
            "or coarser scans.",
        ),
        (
            Raising(RuntimeError("std::bad_alloc")),
            "Out of memory (std::bad_alloc); give it more memory or coarser scans.",
        ),
        (
            Returning(np.nan),
            "A displacement field has NaN or infinite vectors; the registration that made it "
            "failed.",
        ),
        (
            Returning(np.inf),
            "A displacement field has NaN or infinite vectors; the registration that made it "
            "failed.",
        ),
    ],
)
def test_a_failure_is_a_receipt_with_its_reason_and_no_files(
    task, tmp_path, method, reason, capsys
):
    assert not register_to_folder(FakeRun(method), task, Machine(), tmp_path, {"pair": "a__b"})
    receipt = read_receipt(tmp_path / "receipt.json")
    assert receipt["status"] == "failed"
    assert receipt["reason"].strip() == reason.strip()
    assert receipt["outputs"] == {}
    assert receipt["pair"] == "a__b"
    assert [p.name for p in tmp_path.iterdir()] == ["receipt.json"]
    assert "Traceback" in capsys.readouterr().err, "the log keeps where it failed"


def test_an_empty_brain_is_a_failure_of_the_pair(task, tmp_path):
    empty = Task(
        task.fixed, Image(np.zeros(GRID.shape), GRID), task.moving_scan, task.moving_to_scan
    )
    assert not register_to_folder(FakeRun(Stepping()), empty, Machine(), tmp_path, {})
    assert "brain mask is empty" in read_receipt(tmp_path / "receipt.json")["reason"]


@pytest.mark.parametrize(
    ("how", "reason"), [("killed", "memory runs out"), ("hangs", "time limit of 0.02 minutes")]
)
def test_a_process_that_dies_or_hangs_is_a_failed_pair(task, tmp_path, how, reason):
    (tmp_path / "warp.nii.gz").write_text("half a file")
    assert not register_to_folder(
        FakeRun(Dying(how)),
        task,
        Machine(),
        tmp_path,
        {},
        limit_minutes={"killed": None, "hangs": 0.02}[how],
    )
    receipt = read_receipt(tmp_path / "receipt.json")
    assert (receipt["status"], receipt["outputs"]) == ("failed", {})
    assert reason in receipt["reason"]
    assert [p.name for p in tmp_path.iterdir()] == ["receipt.json"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(signal.SIGTERM)])
def test_an_interruption_is_not_taken_for_a_failed_registration(task, tmp_path, error):
    with pytest.raises(type(error)):
        register_to_folder(FakeRun(Raising(error)), task, Machine(), tmp_path, {})
    assert list(tmp_path.iterdir()) == [], "so the unit is made again"


def test_a_method_that_leaves_by_itself_is_a_failed_pair(task, tmp_path):
    assert not register_to_folder(FakeRun(Raising(SystemExit(3))), task, Machine(), tmp_path, {})
    assert (
        read_receipt(tmp_path / "receipt.json")["reason"]
        == "It called sys.exit(3) before it was done."
    )


def test_unknown_hyper_parameter_in_a_run_is_a_failure_with_a_sentence(task, tmp_path):
    run = Run("mine", "ants-syn", "Mine", {"binz": 3})
    assert not register_to_folder(run, task, Machine(), tmp_path, {})
    assert "did you mean 'bins'" in read_receipt(tmp_path / "receipt.json")["reason"]
